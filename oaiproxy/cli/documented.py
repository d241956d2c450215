"""An API's document on the command line, to the call that it describes: `init --from-openapi`."""

from __future__ import annotations

import argparse
import re

from oaiproxy.apisamples import Described, described
from oaiproxy.apispecs import SpecError


def add_document(command: argparse.ArgumentParser) -> None:
    """Add what says which call of which document is meant."""
    command.add_argument("--from-openapi", metavar="FILE", help="an OpenAPI document in place of the curl command")
    command.add_argument("--operation", metavar="ID", help="its operation, by id or as `POST /path`")
    command.add_argument("--server", metavar="URL", help="the API's address, where the document does not have it")


def documented(data: bytes, arguments: argparse.Namespace) -> Described:
    """What the document says of the call. Raises SpecError."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"the document is not UTF-8 text: byte {error.start} is wrong") from error
    server = arguments.server
    if server is not None and not re.match(r"https?://[^/\s]", server):
        raise SpecError(f"`--server {server}` is no address", fix="write `https://host/path`")
    return described(text, arguments.operation, server)
