"""`oaiproxy completion`: the script that completes commands, options and values in a shell."""

from __future__ import annotations

import argparse
import sys

from oaiproxy.bundled import shipped_mappings
from oaiproxy.catalog import CATALOG
from oaiproxy.cli.shells import SHELLS, Command, Option, Values


def run(arguments: argparse.Namespace) -> int:
    """Print; always 0."""
    from oaiproxy.cli import parser  # which imports this module

    sys.stdout.write(SHELLS[arguments.shell](commands_of(parser())))
    return 0


def commands_of(made: argparse.ArgumentParser) -> list[Command]:
    """What there is to complete: the commands of a parser, with what each takes; the first has no name."""
    (commands,) = (action for action in made._actions if isinstance(action, argparse._SubParsersAction))
    summaries = {action.dest: action.help or "" for action in commands._choices_actions}
    return [
        _command("", "", made),
        *(_command(name, summaries[name], command) for name, command in commands.choices.items()),
    ]


def _command(name: str, summary: str, made: argparse.ArgumentParser) -> Command:
    options: list[Option] = []
    positionals: list[Values] = []
    for action in made._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        values = None if action.nargs == 0 else _values(action)
        if action.option_strings:
            options.append(Option(tuple(action.option_strings), _told(action, made), values))
        elif values:
            positionals.append(values)
    return Command(name, summary, tuple(options), tuple(positionals))


def _values(action: argparse.Action) -> Values:
    """What may stand for an argument, by its choices, or by what it is called."""
    if action.choices is not None:
        return Values(words=tuple(map(str, action.choices)))
    name = str(action.metavar or action.dest).upper()
    several = action.nargs in ("*", "+")
    if name in ("MAPPING", "PATH"):
        return Values(words=tuple(shipped_mappings()), files="yaml", several=several)
    if name == "CODE":
        return Values(words=tuple(CATALOG), several=several)
    if name == "FILE":
        return Values(files="yaml" if action.dest == "config" else "any", several=several)
    return Values(several=several)


def _told(action: argparse.Action, made: argparse.ArgumentParser) -> str:
    """The help of an option in one line, its default written out."""
    return " ".join(made._get_formatter()._expand_help(action).split()) if action.help else ""
