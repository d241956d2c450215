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
from types import ModuleType

from oaiproxy import __version__
from oaiproxy.cli.interrupts import INTERRUPTED, ending_at_once
from oaiproxy.cli.options import add_arguments
from oaiproxy.cli.output import complain, discard_output
from oaiproxy.diagnostics import did_you_mean

COMMANDS = {
    "serve": "serve OpenAI clients",
    "check": "check mapping files",
    "init": "write a mapping from a curl command and samples of its answers",
    "record": "ask the live backend, and keep the answers as examples",
    "explain": "say what becomes of a request and a reply with a mapping, field by field",
    "describe": "say what becomes of OpenAI's fields with a mapping",
    "list": "list the mappings that there are",
    "schema": "print the JSON Schema of mappings, or of the configuration",
    "completion": "print what completes commands in a shell",
    "mock": "serve a mapping's examples as its backend",
    "key": "make a key for a client, and the lines of the configuration that let it in",
    "healthcheck": "ask a running proxy whether it is ready",
}


def parser() -> argparse.ArgumentParser:
    """The parser of all commands. None of their libraries are loaded for it."""
    made = argparse.ArgumentParser(prog="oaiproxy", description="Let any OpenAI client talk to any LLM HTTP API.")
    made.add_argument("--version", action="version", version=f"oaiproxy {__version__}")
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        add_arguments(name, commands.add_parser(name, help=summary, description=summary))
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code."""
    _secure_streams()
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        hint = did_you_mean(arguments[0], COMMANDS) or f"commands: {', '.join(COMMANDS)}"
        complain(f"there is no command `{arguments[0]}`; {hint}")
        return 2
    try:
        with ending_at_once():
            given = parser().parse_args(arguments)
            module = _module(given.command)
        code = int(module.run(given))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:  # commands handle their own; this is standard output's
        discard_output()
        if not isinstance(error, BrokenPipeError):
            complain(f"cannot print: {error.strerror}")
        return 1
    return code


def _module(name: str) -> ModuleType:
    return import_module(f"oaiproxy.cli.{name}")


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
