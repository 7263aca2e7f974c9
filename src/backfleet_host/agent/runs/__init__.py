"""The ledger of the runs of clients that went through a shim: kept on the host, and sent to the server.

A shim sends one datagram before it becomes the client (`notes`). The end and the exit code come from the kernel's
process connector (`exits`); where that is not to be had, the end is seen in /proc and the result is not known.
`watching` puts both into the ledger (`ledger`), and `sending` sends what is new in it to the server.
"""
