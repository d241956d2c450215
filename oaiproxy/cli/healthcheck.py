"""`oaiproxy healthcheck`: whether a running proxy is ready, as an exit code, for containers without curl."""

from __future__ import annotations

import argparse
import urllib.error
import urllib.request
from http.client import HTTPException
from urllib.parse import urlsplit

from oaiproxy.cli.output import complain

TIMEOUT_SECONDS = 3


def run(arguments: argparse.Namespace) -> int:
    """Ask; 0 when it is ready, 1 when it is not, 2 when the address is none."""
    if not _is_address(arguments.url):
        complain(f"`{arguments.url}` is not an http address")
        return 2
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(arguments.url, timeout=TIMEOUT_SECONDS) as reply:
            if reply.status == 200:
                return 0
            complain(f"{arguments.url} answered {reply.status}")
    except urllib.error.HTTPError as error:
        complain(f"{arguments.url} answered {error.code}")
    except (OSError, ValueError, HTTPException) as error:
        complain(f"{arguments.url} cannot be reached: {getattr(error, 'reason', error)}")
    return 1


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0  # the port is read here, and may be none
    except ValueError:
        return False
    return named and parts.scheme in ("http", "https") and url.isascii() and url.isprintable() and " " not in url
