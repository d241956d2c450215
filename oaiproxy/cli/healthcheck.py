"""`oaiproxy healthcheck`: whether a running proxy is ready, as an exit code, for containers without curl."""

from __future__ import annotations

import argparse
import socket
import ssl
import urllib.error
import urllib.request
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from oaiproxy.cli.output import complain

TIMEOUT_SECONDS = 3


def run(arguments: argparse.Namespace) -> int:
    """Ask; 0 when it is ready, 1 when it is not, 2 when the address is none."""
    if not _is_address(arguments.url):
        complain(f"`{arguments.url}` is not an http address")
        return 2
    if (arguments.certificate is None) != (arguments.key is None):
        complain("`--certificate` and `--key` belong together")
        return 2
    try:
        context = _context(arguments)
    except OSError as error:
        complain(f"`{arguments.certificate}` cannot be used: {error.strerror or error}")
        return 2
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
    if arguments.socket is not None:
        handlers = [_SocketHandler(arguments.socket, context)]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay(), *handlers)
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


def _context(arguments: argparse.Namespace) -> ssl.SSLContext:
    """TLS to whoever answers: the question is whether it is ready, and tells nothing. Raises OSError."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if arguments.certificate is not None:
        context.load_cert_chain(arguments.certificate, arguments.key)
    return context


class _Stay(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else: that another server is ready says nothing of this one."""

    def redirect_request(self, *_: Any) -> None:
        """Take the answer as it is."""


class _SocketHandler(urllib.request.AbstractHTTPHandler):
    """Asks on a Unix socket, whatever the host of the address."""

    handler_order = 400  # before those of the library

    def __init__(self, path: str, context: ssl.SSLContext) -> None:
        super().__init__()
        self._path = path
        self._context = context

    def http_open(self, request: urllib.request.Request) -> Any:
        """Ask in plain HTTP."""
        return self.do_open(self._connection(None), request)

    def https_open(self, request: urllib.request.Request) -> Any:
        """Ask by TLS."""
        return self.do_open(self._connection(self._context), request)

    def _connection(self, context: ssl.SSLContext | None) -> type[HTTPConnection]:
        path = self._path

        class OnSocket(HTTPConnection):
            def connect(self) -> None:
                self.sock = socket.socket(socket.AF_UNIX)
                self.sock.settimeout(TIMEOUT_SECONDS)
                self.sock.connect(path)
                if context is not None:
                    self.sock = context.wrap_socket(self.sock)

        return OnSocket


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0  # the port is read here, and may be none
    except ValueError:
        return False
    return named and parts.scheme in ("http", "https") and url.isascii() and url.isprintable() and " " not in url
