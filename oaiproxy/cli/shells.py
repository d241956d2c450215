"""Commands, with what each takes, to scripts that complete them in bash, zsh and fish.

https://www.gnu.org/software/bash/manual/html_node/Programmable-Completion.html,
https://zsh.sourceforge.io/Doc/Release/Completion-System.html, https://fishshell.com/docs/current/completions.html
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

PROGRAM = "oaiproxy"
_HEAD = f"# Completion of {PROGRAM}'s commands, made by `{PROGRAM} completion`.\n"


@dataclass(frozen=True, slots=True)
class Values:
    """What may stand for an argument: words, and files with a YAML ending or any; with neither, any text."""

    words: tuple[str, ...] = ()
    files: Literal["", "yaml", "any"] = ""
    several: bool = False


@dataclass(frozen=True, slots=True)
class Option:
    """An option by all its names; `values` is None for one that takes none."""

    names: tuple[str, ...]
    told: str
    values: Values | None


@dataclass(frozen=True, slots=True)
class Command:
    """A command with its options and its arguments in order; the one without a name is the program itself."""

    name: str
    told: str
    options: tuple[Option, ...]
    arguments: tuple[Values, ...]


# bash, from version 3.2 on, which macOS has

_BASH = """\
_oaiproxy_values() {
    local IFS=$'\\n' found
    COMPREPLY=()
    case $2 in
    yaml)
        found=$(compgen -f -X '!*.yaml' -- "$cur"; compgen -f -X '!*.yml' -- "$cur"; compgen -d -- "$cur")
        compopt -o filenames 2>/dev/null ;;
    any)
        found=$(compgen -f -- "$cur")
        compopt -o filenames 2>/dev/null ;;
    esac
    COMPREPLY=($(IFS=' '; compgen -W "$1" -- "$cur") $found)
}
_oaiproxy() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= at=0 word skip=
    # bash takes the `=` of `--option=value` for a word of its own
    if [[ $cur == = ]]; then cur=; elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        if [[ $word == = ]]; then skip=1; continue; fi
        if [[ $skip ]]; then skip=; continue; fi
        if [[ ! $command ]]; then
            [[ $word == -* ]] || command=$word
        else
            case " $(_oaiproxy_taking "$command") " in
            *" $word "*) skip=1 ;;
            *) [[ $word == -* ]] || at=$((at + 1)) ;;
            esac
        fi
    done
"""


def bash(commands: Sequence[Command]) -> str:
    """A script for bash."""
    lines = [_HEAD, "_oaiproxy_taking() {\n    case $1 in\n"]
    for each in commands[1:]:
        taking = [name for option in each.options if option.values for name in option.names]
        lines.append(f"    {each.name}) echo {shlex.quote(' '.join(taking))} ;;\n")
    lines += ["    esac\n}\n", _BASH, "    case $command:$prev in\n"]
    for each in commands:
        for option in each.options:
            if option.values:
                patterns = "|".join(f"{each.name}:{name}" for name in option.names)
                lines.append(f"    {patterns}) {_bash_values(option.values)}; return ;;\n")
    lines += ["    esac\n", "    if [[ $cur == -* ]]; then\n        case $command in\n"]
    for each in commands:
        names = " ".join(name for option in each.options for name in option.names)
        lines.append(f"        {shlex.quote(each.name)}) _oaiproxy_values {shlex.quote(names)} ;;\n")
    lines.append("        esac\n        return\n    fi\n    case $command:$at in\n")
    names = " ".join(each.name for each in commands[1:])
    lines.append(f"    :*) _oaiproxy_values {shlex.quote(names)} ;;\n")
    for each in commands[1:]:
        for index, values in enumerate(each.arguments):
            place = "*" if values.several else str(index)
            lines.append(f"    {each.name}:{place}) {_bash_values(values)} ;;\n")
    lines.append(f"    esac\n}}\ncomplete -F _oaiproxy {PROGRAM}\n")
    return "".join(lines)


def _bash_values(values: Values) -> str:
    return f"_oaiproxy_values {shlex.quote(' '.join(values.words))} {values.files}".rstrip()


# zsh


def zsh(commands: Sequence[Command]) -> str:
    """A script for zsh: to be sourced, or a file `_oaiproxy` in a folder of `fpath`."""
    lines = [f"#compdef {PROGRAM}\n", _HEAD, "_oaiproxy() {\n", "    local curcontext=$curcontext state line\n"]
    lines.append("    _arguments -C \\\n")
    lines += [f"        {shlex.quote(spec)} \\\n" for option in commands[0].options for spec in _zsh_option(option)]
    lines.append("        '1:command:->command' '*::argument:->arguments' && return\n    case $state in\n")
    told = " ".join(shlex.quote(f"{each.name}:{each.told}") for each in commands[1:])
    lines.append(f"    command)\n        local -a commands=({told})\n        _describe command commands ;;\n")
    lines.append("    arguments)\n        case $words[1] in\n")
    for each in commands[1:]:
        specs = [spec for option in each.options for spec in _zsh_option(option)]
        specs += [
            f"{'*' if values.several else index}:argument:{_zsh_values(values)}"
            for index, values in enumerate(each.arguments, 1)
        ]
        arguments = " \\\n            ".join(map(shlex.quote, specs))
        lines.append(f"        {each.name}) _arguments \\\n            {arguments} ;;\n")
    lines.append("        esac ;;\n    esac\n}\n")
    lines.append(f"if [[ $funcstack[1] == _oaiproxy ]]; then _oaiproxy; else compdef _oaiproxy {PROGRAM}; fi\n")
    return "".join(lines)


def _zsh_option(option: Option) -> list[str]:
    told = option.told.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    others = f"({' '.join(option.names)})" if len(option.names) > 1 else ""
    value = "" if option.values is None else f":value:{_zsh_values(option.values)}"
    return [f"{others}{name}{'=' * bool(value and name.startswith('--'))}[{told}]{value}" for name in option.names]


def _zsh_values(values: Values) -> str:
    words = f"({' '.join(values.words)})"
    files = {"yaml": '_files -g "*.(yaml|yml)"', "any": "_files", "": ""}[values.files]
    if not files:
        return words if values.words else " "
    if not values.words:
        return files
    pattern = " -g '*.(yaml|yml)'" if values.files == "yaml" else ""
    return f'{{_alternative "names:name:{words}" "files:file:_files{pattern}"}}'


# fish


def fish(commands: Sequence[Command]) -> str:
    """A script for fish."""
    lines = [_HEAD, f"complete -c {PROGRAM} -f\n"]
    first = "__fish_use_subcommand"
    for option in commands[0].options:
        lines.append(f"complete -c {PROGRAM} -n {first} {_fish_option(option)}\n")
    for each in commands[1:]:
        told = _fish_quoted(each.told)
        lines.append(f"complete -c {PROGRAM} -n {first} -a {each.name} -d {told}\n")
    for each in commands[1:]:
        seen = f"'__fish_seen_subcommand_from {each.name}'"
        lines += [f"complete -c {PROGRAM} -n {seen} {_fish_option(option)}\n" for option in each.options]
        for values in each.arguments:
            lines.append(f"complete -c {PROGRAM} -n {seen} {_fish_values(values)}\n")
    return "".join(lines)


def _fish_option(option: Option) -> str:
    names = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names]
    value = "" if option.values is None else f" -r {_fish_values(option.values)}"
    return f"{' '.join(names)} -d {_fish_quoted(option.told)}{value}"


def _fish_values(values: Values) -> str:
    words = " ".join(values.words)
    if values.files == "any":
        return f"-F -a {_fish_quoted(words)}" if words else "-F"
    if values.files == "yaml":
        words = f"{words} (__fish_complete_suffix .yaml; __fish_complete_suffix .yml)".strip()
    return f"-f -a {_fish_quoted(words)}" if words else "-f"


def _fish_quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


SHELLS: Mapping[str, Callable[[Sequence[Command]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
