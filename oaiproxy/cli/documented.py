"""An API's document on the command line, to the call that it describes: `init --from-openapi`."""

from __future__ import annotations

import argparse
import re

from oaiproxy.apisamples import Described, described
from oaiproxy.apispecs import SpecError


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
