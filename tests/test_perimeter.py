"""Promises about who may come in, as a configuration says it: what is local, and what is open to all."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.perimeter import is_local, is_open


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *((each, True) for each in ("127.0.0.1", "127.8.9.1", "::1", "localhost", "LOCALHOST")),
        *(
            (each, False)
            for each in ("0.0.0.0", "::", "10.0.0.1", "fe80::1%eth0", "proxy", "localhost.example.com", "")
        ),
        *((each, False) for each in ("127.0.0.1.example.com", "127.1", "0")),
    ],
)
def test_what_is_local(host: str, local: bool) -> None:
    """What may be another machine's is taken for one."""
    assert is_local(host) is local


@pytest.mark.parametrize(
    ("server", "keys", "is_so"),
    [
        ({"host": "127.0.0.1"}, None, False),
        ({"host": "0.0.0.0"}, None, True),
        ({"host": "0.0.0.0", "tls": {"certificate": "c", "key": "k"}}, None, True),
        ({"host": "0.0.0.0", "tls": {"client_ca": "ca"}}, None, False),
        ({"host": "0.0.0.0"}, [{}], False),
        ({"host": "0.0.0.0", "socket": "s"}, None, False),
    ],
)
def test_what_is_open_to_all(server: Any, keys: Any, is_so: bool) -> None:
    """Others reach it, and neither a key nor a certificate is asked for."""
    assert is_open(server["host"], server.get("socket"), server.get("tls"), keys) is is_so
