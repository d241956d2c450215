"""What arguments of several commands have in common."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oaiproxy.auth import Auth


def add_mapping(command: argparse.ArgumentParser) -> None:
    """Add the mapping that a command is about."""
    command.add_argument(
        "mapping", metavar="MAPPING", help="a mapping file, the name of a shipped mapping, or `-` for standard input"
    )


def host(text: str) -> str:
    """An address to listen on, which is not empty."""
    if not text:  # which sockets take for all addresses
        raise argparse.ArgumentTypeError("the address is empty (all are 0.0.0.0 or ::)")
    return text


def port(text: str) -> int:
    """A port."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"`{text}` is not a port (0 to 65535)")
    return int(text)


def add_client_header(command: argparse.ArgumentParser) -> None:
    """Add the headers of a client's request."""
    command.add_argument(
        "--client-header", metavar="NAME: VALUE", action="append", default=[], type=header, help="of the client"
    )


def header(text: str) -> tuple[str, str]:
    """A header's name and value."""
    name, colon, value = text.partition(":")
    if not (colon and name.strip()):
        raise argparse.ArgumentTypeError("a header is written `NAME: VALUE`")  # not shown: it may hold a secret
    return name.strip(), value.strip()


def credentials(headers: Iterable[tuple[str, str]], auth: Auth | None) -> Iterator[str]:
    """What a client proves itself by, here or to the backend, with the name of its scheme and without."""
    from oaiproxy.auth import Passthrough  # here, since no parser of arguments needs them
    from oaiproxy.secretwords import CREDENTIAL

    sent_on = auth.name if isinstance(auth, Passthrough) else ""
    for name, value in headers:
        if CREDENTIAL.fullmatch(name) or name.lower() == sent_on:
            yield from (value, value.rpartition(" ")[2])


def key_name(text: str) -> str:
    """A name as the configuration takes it for a key."""
    if not re.fullmatch(r"[A-Za-z0-9._@-]{1,64}", text):
        raise argparse.ArgumentTypeError("that is no name for a key (64 letters, digits, `.`, `_`, `@` and `-`)")
    return text
