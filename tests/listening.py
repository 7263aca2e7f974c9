"""End an aiohttp server in a test so that no connection of it is left."""

import asyncio

from aiohttp import web

TURNS_SECONDS = 0.02  # enough for the loop's next turns, in which connections are made and closed


async def end_of(runner: web.AppRunner) -> None:
    """Close the listeners, clean up, and cut what is still open: a client may have stopped reading long ago."""
    server = runner.server
    for site in list(runner.sites):
        await site.stop()
    await asyncio.sleep(TURNS_SECONDS)  # what was accepted already becomes a connection that cleaning up knows of
    transports = [connection.transport for connection in server.connections] if server is not None else []
    await runner.cleanup()
    for transport in transports:
        if transport is not None:
            transport.abort()
    await asyncio.sleep(TURNS_SECONDS)
