"""The arguments of all commands, apart from what runs them: help and completion load none of their libraries."""

from __future__ import annotations

import argparse

from oaiproxy.cli.arguments import add_client_header, add_mapping, header, host, key_name, port
from oaiproxy.cli.files import STANDARD
from oaiproxy.cli.shells import SHELLS

FORMS = ("text", "json", "github", "sarif", "junit")
"""Of the report of `check`."""
KINDS = ("mapping", "extension", "config", "explain")
"""Of schemas: of mappings, of those that extend another, of the configuration, of what `explain` prints as JSON."""
ENDPOINTS = ("chat", "completions", "embeddings", "rerank", "moderations", "images", "speech", "transcriptions")
"""What a mapping serves."""
ENTRANCES = ("responses", "messages")
"""What its `chat` serves besides."""


def add_arguments(name: str, command: argparse.ArgumentParser) -> None:
    """Add what the command of this name takes."""
    _ADD[name](command)


def _serve(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config", metavar="FILE", default="config.yaml", help="configuration file (default: %(default)s)"
    )
    command.add_argument("--host", type=host, help="address to listen on, over the configuration's")
    command.add_argument("--port", type=port, help="port to listen on, over the configuration's; 0 is any free one")
    command.add_argument(
        "--watch", action="store_true", help="reload when the configuration, a mapping or a file of theirs changes"
    )
    told = "listen although anybody who reaches the address may use the backends, without a key"
    command.add_argument("--insecure", action="store_true", help=told)


def _check(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="files, folders, names of shipped mappings, or `-` for standard input (default: config.yaml and mappings)",
    )
    command.add_argument("--format", choices=FORMS, default="text", help="form of the report")
    command.add_argument("--junit", metavar="FILE", help="write a JUnit report to a file besides")
    command.add_argument("--strict", action="store_true", help="exit with 1 for warnings too")
    command.add_argument("--no-env", action="store_true", help="do not ask for environment variables and files")
    command.add_argument("--explain", metavar="CODE", help="say what a code of a finding means, and check nothing")
    command.add_argument(
        "--update", action="store_true", help="write what comes out into the examples that differ, and show it"
    )
    command.add_argument(
        "--live", action="store_true", help="ask the real backends too, as small as can be; that may cost money"
    )


def _init(command: argparse.ArgumentParser) -> None:
    command.add_argument("--curl", metavar="FILE", help="a curl command that calls the API (default: standard input)")
    command.add_argument("--response", metavar="FILE", help="what it was answered, with or without its headers")
    command.add_argument("--stream", metavar="FILE", help="what it was answered as a stream, byte for byte")
    command.add_argument("--stream-curl", metavar="FILE", help="the curl command of the stream, where it is another")
    command.add_argument("--name", help="what to call the API (default: after its host)")
    command.add_argument("--model", help="what clients call the model (default: as the sample does)")
    command.add_argument("--prompt", metavar="TEXT", help="the text in the command that is the prompt")
    command.add_argument("--from-openapi", metavar="FILE", help="an OpenAPI document in place of the curl command")
    command.add_argument("--operation", metavar="ID", help="its operation, by id or as `POST /path`")
    command.add_argument("--server", metavar="URL", help="the API's address, where the document does not have it")
    command.add_argument("-o", "--output", metavar="FILE", help="where to write the mapping (default: standard output)")
    command.add_argument("--force", action="store_true", help="write over a file that is there")


def _record(command: argparse.ArgumentParser) -> None:
    told = "a mapping file; with `--dry-run`, also the name of a shipped mapping"
    command.add_argument("mapping", metavar="MAPPING", help=told)
    command.add_argument("--request", metavar="FILE", help="the client's request as JSON; `-` is standard input")
    command.add_argument("--endpoint", choices=ENDPOINTS, default="", help="which endpoint (default: the first)")
    way = command.add_mutually_exclusive_group()
    way.add_argument("--stream", action="store_true", default=None, help="streamed only (default: both, if it streams)")
    way.add_argument("--no-stream", dest="stream", action="store_false", help="not streamed only")
    command.add_argument("--name", help="what the example is called")
    command.add_argument("--model", help="which model (default: the mapping's first)")
    add_client_header(command)
    command.add_argument("--message", metavar="TEXT", help="what to say, in place of a small greeting")
    command.add_argument("--tools", action="store_true", help="offer a tool, and ask for something that needs it")
    command.add_argument("--expect-error", action="store_true", help="keep the answer that tells of a failure")
    command.add_argument("--dry-run", action="store_true", help="print the examples, and write nothing")
    command.add_argument("--force", action="store_true", help="write the examples also where they do not pass")


def _explain(command: argparse.ArgumentParser) -> None:
    add_mapping(command)
    what = command.add_mutually_exclusive_group()
    what.add_argument("--request", metavar="FILE", help="the client's request, as JSON; `-` is standard input")
    what.add_argument("--example", metavar="NAME", help="request and replies of one of the mapping's examples")
    command.add_argument(
        "--reply",
        metavar="FILE",
        action="append",
        help="what the backend answered; once for each call, in order",
    )
    command.add_argument(
        "--endpoint", choices=(*ENDPOINTS, *ENTRANCES), help="where the fields of the request do not tell it"
    )
    command.add_argument("--status", type=int, default=200, help="of the (last) reply (default: %(default)s)")
    command.add_argument(
        "--header", metavar="NAME: VALUE", action="append", default=[], type=header, help="of the replies"
    )
    add_client_header(command)
    command.add_argument(
        "--stream", action=argparse.BooleanOptionalAction, help="whether the client streams, whatever its request says"
    )
    command.add_argument("--format", choices=("text", "json"), default="text", help="form of the explanation")


def _describe(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "mappings",
        nargs="+",
        metavar="MAPPING",
        help="mapping files, names of shipped mappings, or `-` for standard input; several are compared",
    )
    command.add_argument("--model", default="", help="one of its models (default: those without words of their own)")
    command.add_argument("--format", choices=("text", "json", "markdown"), default="text", help="form of the table")


def _list(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", metavar="FILE", help="configuration file (default: config.yaml, if there is one)")
    command.add_argument("--format", choices=("text", "json"), default="text", help="form of the list")


def _schema(command: argparse.ArgumentParser) -> None:
    command.add_argument("kind", nargs="?", choices=KINDS, default="mapping", help="of what (default: %(default)s)")
    command.add_argument(
        "-o", "--output", metavar="FILE", default=STANDARD, help="where to write it (default: standard output)"
    )


def _completion(command: argparse.ArgumentParser) -> None:
    command.add_argument("shell", choices=sorted(SHELLS), help="for which shell")


def _mock(command: argparse.ArgumentParser) -> None:
    add_mapping(command)
    command.add_argument("--host", type=host, default="127.0.0.1", help="address to listen on (default: %(default)s)")
    command.add_argument("--port", type=port, default=8001, help="port to listen on (default: %(default)s)")


def _key(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", nargs="?", metavar="NAME", type=key_name, default="app", help="whose key it is")
    command.add_argument("--stdin", action="store_true", help="take the key from standard input, and make none")


def _healthcheck(command: argparse.ArgumentParser) -> None:
    command.add_argument("--url", default="http://127.0.0.1:8000/readyz", help="what to ask (default: %(default)s)")
    command.add_argument("--socket", metavar="PATH", help="the Unix socket on which to ask, as `server.socket`")
    command.add_argument("--certificate", metavar="FILE", help="what to show where client certificates are asked for")
    command.add_argument("--key", metavar="FILE", help="its private key")


_ADD = {
    "serve": _serve,
    "check": _check,
    "init": _init,
    "record": _record,
    "explain": _explain,
    "describe": _describe,
    "list": _list,
    "schema": _schema,
    "completion": _completion,
    "mock": _mock,
    "key": _key,
    "healthcheck": _healthcheck,
}
