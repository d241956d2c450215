"""`oaiproxy healthcheck`: whether a running proxy is ready, as an exit code, for containers without curl."""

from __future__ import annotations

import argparse
import urllib.error
import urllib.request

from oaiproxy.cli.output import complain

TIMEOUT_SECONDS = 3


def run(arguments: argparse.Namespace) -> int:
    """Ask; 0 when it is ready, 1 when it is not, 2 when the address is none."""
    if not arguments.url.startswith(("http://", "https://")):
        complain(f"`{arguments.url}` is not an http address")
        return 2
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(arguments.url, timeout=TIMEOUT_SECONDS) as reply:
            return 0 if reply.status == 200 else 1
    except urllib.error.HTTPError as error:
        complain(f"{arguments.url} answered {error.code}")
    except (OSError, ValueError) as error:
        complain(f"{arguments.url} cannot be reached: {getattr(error, 'reason', error)}")
    return 1
