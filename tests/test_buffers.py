"""Promises of `oaiproxy.buffers`: what the kernel keeps of a stream is bounded, on both sides of the proxy."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from oaiproxy.buffers import RECEIVING, SENDING, bound_sending, to_backend

OVERHEAD = 2
"""How many times what was asked for is taken at most: Linux doubles it (socket(7))."""


def test_a_window_is_bounded_before_it_is_told() -> None:
    """The socket is not connected yet."""
    address: Any = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 9))
    with to_backend(address) as made:
        assert (made.family, made.type) == (socket.AF_INET, socket.SOCK_STREAM)
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= OVERHEAD * RECEIVING


@pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
async def test_what_is_kept_for_a_client_is_bounded() -> None:
    """On both loops, which give sockets of their own kinds."""
    sizes: list[int] = []

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bound_sending(writer.transport, 9)
        sizes.append(writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF))
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        writer.close()
    assert SENDING <= sizes[0] <= OVERHEAD * SENDING


def test_a_client_that_has_left_already() -> None:
    """Is no failure: who serves it finds out."""
    gone = socket.socket()
    gone.close()
    for sock in (gone, None):
        transport: Any = SimpleNamespace(get_extra_info={"socket": sock}.get)
        bound_sending(transport, 9)
    bound_sending(None, 9)
