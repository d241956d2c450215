"""The command line: arguments to one of the commands, each in a module of its own.

Exit codes: 0 all is well, 1 something was found wrong, 2 the command was used wrongly.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from oaiproxy import __version__

COMMANDS = {
    "serve": "serve OpenAI clients",
    "check": "check mapping files",
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
    given = parser().parse_args(arguments)
    command = import_module(f"oaiproxy.cli.{given.command}")
    try:
        return int(command.run(given))
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def _arguments(name: str, command: argparse.ArgumentParser) -> None:
    """The arguments of a command; here, so that no command's libraries are loaded for another's help."""
    if name == "serve":
        command.add_argument("--config", default="config.yaml", help="configuration file (default: %(default)s)")
        command.add_argument("--host", help="address to listen on, over the configuration's")
        command.add_argument(
            "--port", type=_port, help="port to listen on, over the configuration's; 0 is any free one"
        )
    elif name == "check":
        command.add_argument("paths", nargs="*", metavar="PATH", help="mapping files or folders (default: mappings)")
        command.add_argument("--format", choices=("text", "json"), default="text", help="form of the report")
        command.add_argument("--no-env", action="store_true", help="do not ask for environment variables and files")
    elif name == "mock":
        command.add_argument("mapping", metavar="MAPPING", help="a mapping file, or the name of a shipped mapping")
        command.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        command.add_argument("--port", type=_port, default=8001, help="port to listen on (default: %(default)s)")
    elif name == "healthcheck":
        command.add_argument("--url", default="http://127.0.0.1:8000/readyz", help="what to ask (default: %(default)s)")


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is not a port (0 to 65535)")
    return port
