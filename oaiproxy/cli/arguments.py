"""What arguments of several commands have in common."""

from __future__ import annotations

import argparse


def add_mapping(command: argparse.ArgumentParser) -> None:
    """Add the mapping that a command is about."""
    command.add_argument("mapping", metavar="MAPPING", help="a mapping file, or the name of a shipped mapping")


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
