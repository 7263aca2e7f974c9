"""A server over HTTPS with its own authority, for samples that run."""

from endpoints.openapi.conftest import start_server

__all__ = ["start_server"]
