"""`oaiproxy key`: a new key for a client, and the lines of the configuration that let it in."""

from __future__ import annotations

import argparse
import sys
from hashlib import sha256
from secrets import token_urlsafe

from oaiproxy.cli.output import complain
from oaiproxy.yamltext import inline

PREFIX = "sk-oaiproxy-"
RANDOM_BYTES = 32
SHORTEST = 16
"""Characters of a key that is given: a shorter one can be guessed from its hash."""


def run(arguments: argparse.Namespace) -> int:
    """Print them; 2 when the key on standard input is none."""
    key = PREFIX + token_urlsafe(RANDOM_BYTES)
    if arguments.stdin:
        key = sys.stdin.buffer.read().decode("utf-8", "surrogateescape").strip()
        if len(key) < SHORTEST or not key.isprintable() or " " in key:
            complain(f"standard input holds no key: one line without blanks, of {SHORTEST} characters or more")
            return 2
    lines = [
        "keys:",
        f"  - name: {inline(arguments.name, strict=True)}",
        f'    sha256: "{sha256(key.encode()).hexdigest()}"',
    ]
    if not arguments.stdin:
        lines = [f"# the key, which is shown this once: {key}", *lines]
    print("\n".join(lines))
    return 0
