"""How much the kernel keeps of a stream on its way through: what nobody reads must stop its backend soon.

Left alone, Linux lets a socket's buffers grow to megabytes, and a client that does not read fills all of them. A buffer
also bounds the speed of one connection, to its size for each round trip: these are 2.5 MB/s over 100 ms.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from aiohttp import AddrInfoType

SENDING = 128 * 1024
RECEIVING = 256 * 1024
"""Bytes to a client, and from a backend. What Linux takes is twice that, for its own overhead."""
GRACE_SECONDS = 1
"""How much later than who writes the kernel gives a client up."""
MAX_MILLISECONDS = 2**31 - 1


def bound_sending(transport: asyncio.BaseTransport | None, patience: float) -> None:
    """Bound what is kept for a client that has just connected, and for how many seconds it may take none of it.

    Who writes has a deadline of its own; this one is also for what is left when nobody writes any more, for which a
    connection that is closed would wait for ever (tcp(7), where there is such an option).
    """
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None:
        return
    with suppress(OSError):  # it has left already, or is no TCP
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENDING)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            milliseconds = min(int((patience + GRACE_SECONDS) * 1000), MAX_MILLISECONDS)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def to_backend(address: AddrInfoType) -> socket.socket:
    """The socket of a connection to come; its window is told in the first packet, so that is bounded before."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVING)
    return made
