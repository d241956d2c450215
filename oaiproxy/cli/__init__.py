"""The command line: arguments to one of the commands, each in a module of its own.

Exit codes: 0 all is well, 1 something was found wrong, 2 the command was used wrongly; 130 it was interrupted.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from oaiproxy import __version__
from oaiproxy.cli.output import complain, discard_output

COMMANDS = {
    "serve": "serve OpenAI clients",
    "check": "check mapping files",
    "describe": "say what becomes of OpenAI's fields with a mapping",
    "mock": "serve a mapping's examples as its backend",
    "healthcheck": "ask a running proxy whether it is ready",
}


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    made = argparse.ArgumentParser(prog="oaiproxy", description="Let any OpenAI client talk to any LLM HTTP API.")
    made.add_argument("--version", action="version", version=f"oaiproxy {__version__}")
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        _arguments(name, command)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code."""
    _secure_streams()
    given = parser().parse_args(arguments)
    try:
        code = int(import_module(f"oaiproxy.cli.{given.command}").run(given))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except OSError as error:  # commands handle their own; this is standard output's
        discard_output()
        if not isinstance(error, BrokenPipeError):
            complain(f"cannot print: {error.strerror}")
        return 1
    return code


def _secure_streams() -> None:
    """Give closed standard streams a place: what is opened next would take their number, and what is printed.

    What the encoding of standard output lacks is escaped, as on standard error.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            setattr(sys, name, open(opened, "w" if number else "r"))  # noqa: SIM115 - for the life of the process
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _arguments(name: str, command: argparse.ArgumentParser) -> None:
    """The arguments of a command; here, so that no command's libraries are loaded for another's help."""
    if name == "serve":
        command.add_argument("--config", default="config.yaml", help="configuration file (default: %(default)s)")
        command.add_argument("--host", type=_host, help="address to listen on, over the configuration's")
        command.add_argument(
            "--port", type=_port, help="port to listen on, over the configuration's; 0 is any free one"
        )
    elif name == "check":
        command.add_argument(
            "paths", nargs="*", metavar="PATH", help="files, folders, or names of shipped mappings (default: mappings)"
        )
        command.add_argument("--format", choices=("text", "json"), default="text", help="form of the report")
        command.add_argument("--no-env", action="store_true", help="do not ask for environment variables and files")
    elif name == "describe":
        command.add_argument("mapping", metavar="MAPPING", help="a mapping file, or the name of a shipped mapping")
        command.add_argument(
            "--model", default="", help="one of its models (default: those without words of their own)"
        )
        command.add_argument("--format", choices=("text", "json"), default="text", help="form of the table")
    elif name == "mock":
        command.add_argument("mapping", metavar="MAPPING", help="a mapping file, or the name of a shipped mapping")
        command.add_argument(
            "--host", type=_host, default="127.0.0.1", help="address to listen on (default: %(default)s)"
        )
        command.add_argument("--port", type=_port, default=8001, help="port to listen on (default: %(default)s)")
    elif name == "healthcheck":
        command.add_argument("--url", default="http://127.0.0.1:8000/readyz", help="what to ask (default: %(default)s)")


def _host(text: str) -> str:
    if not text:  # which sockets take for all addresses
        raise argparse.ArgumentTypeError("the address is empty (all are 0.0.0.0 or ::)")
    return text


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"`{text}` is not a port (0 to 65535)")
    return int(text)
