"""The name of a host is looked up so that nothing is left of it once its caller has given up."""

from __future__ import annotations

import asyncio


async def look_up(host: str, port: int) -> None:
    """Raise OSError if a host is not found; call it before a connection to it is opened under a time-out.

    uvloop's `create_connection` leaves a look-up that fails later as a future that nobody asks, and the loop logs that
    as a failure of the server. An address is not looked up.
    """
    await asyncio.get_running_loop().getaddrinfo(host, port)
