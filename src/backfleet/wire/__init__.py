"""The RPC protocol as plain values. No I/O, and nothing of any product.

- `signing`: canonical strings and signatures, both directions, every version in one table.
- `parameters`: flat names <-> typed requests.
- `answers`: result or error -> JSON or XML body, status, request id.
- `shapes`: what answers look like.
- `errors`: ApiError, and the errors that every product shares.
- `credentials`: an access key, with a session's token.
"""
