"""The event loop: uvloop where the platform has a safe one, else asyncio's own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from aiohttp.http_parser import HttpRequestParser

LEAST_UVLOOP = (0, 23, 0)
"""Older ones can close another connection's socket when a connect is cancelled (MagicStack/uvloop#645)."""


class LoopError(RuntimeError):
    """The loop that was asked for cannot be had."""


def unfit() -> str:
    """Why this interpreter cannot be trusted to serve; "" when it can."""
    if sys.flags.optimize:
        return "Python was told to leave out checks on which libraries rely: start it without `-O` and PYTHONOPTIMIZE"
    if HttpRequestParser.__module__ != "aiohttp._http_parser":
        return (
            "aiohttp lacks its parser in C, and the other one takes what may be smuggled: install a wheel of aiohttp, "
            "and unset AIOHTTP_NO_EXTENSIONS"
        )
    return ""


def loop_factory(wanted: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the loop for `auto`, `uvloop` or `asyncio`. Raises LoopError."""
    if wanted == "asyncio":
        return asyncio.new_event_loop
    try:
        import uvloop
    except ImportError:
        if wanted == "uvloop":
            raise LoopError("uvloop is not installed: install it, or set `server.loop: asyncio`") from None
        return asyncio.new_event_loop
    installed: str = vars(uvloop)["__version__"]
    version = tuple(int(part) for part in installed.split(".")[:3] if part.isdigit())
    if version < LEAST_UVLOOP:
        least = ".".join(map(str, LEAST_UVLOOP))
        raise LoopError(f"uvloop {installed} is not safe: install {least} or newer, or set `server.loop: asyncio`")
    return uvloop.new_event_loop
