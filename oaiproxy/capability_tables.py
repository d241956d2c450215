"""Capabilities of mappings to tables for readers: text for terminals, Markdown for pages."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from oaiproxy.capabilities import Calls, Capabilities, Conversation, Replies, Served
from oaiproxy.columns import aligned
from oaiproxy.features import WORDS

WIDTH = 100
_SYSTEM = {"apart": "a field of its own", "message": "among the messages", "prompt": "in the prompt"}
_FATES = {"used": "yes", "emulated": "emulated", "dropped": "dropped", "ignored": "ignored", "refused": "no"}
_TOOLS = {"pieces": "arguments streamed as they are made", "whole": "streamed call by call"}
_USAGE = {"backend": "told by the backend", "partly": "told by the backend in part", "counted": "counted by the proxy"}
_STREAMS = {"native": "yes", "simulated": "simulated", "none": "no"}
COLUMNS = (
    "Mapping",
    "Endpoints",
    "Streaming",
    "Tools",
    "Images",
    "Audio",
    "Files",
    "Reasoning",
    "Token counts",
    "Auth",
)

_HEAD = """# The mappings that ship

What clients can expect of each, made by `oaiproxy describe` from the mappings themselves: `oaiproxy describe MAPPING`
says the same of yours. Streams that the backend does not have are simulated from whole answers; token counts that it
does not tell are counted by the proxy. Fields that are dropped are left out and named in the header
`x-oaiproxy-dropped`, ignored ones are left out, and refused ones are a 400."""


def text(found: Capabilities) -> str:
    """All that is known of one mapping, in lines that fit a terminal."""
    lines = [_filled(label, said, 15) for label, said in _rows(found)]
    for block, table in found.features.items():
        lines += ["", block, *(_filled(word, ", ".join(names), 11) for word, names in table.items())]
    return "\n".join(lines)


def markdown(found: Capabilities) -> str:
    """All that is known of one mapping, as two tables."""
    rows = [[label, _quoted(label, said)] for label, said in _rows(found) if label != "mapping"]
    rows = [["description", found.description], *rows] if found.description else rows
    words = [word for word in WORDS if any(word in table for table in found.features.values())]
    fields = [
        [f"`{block}`", *(", ".join(f"`{name}`" for name in table.get(word, ())) for word in words)]
        for block, table in found.features.items()
    ]
    return "\n\n".join(
        (_table(["", f"`{found.mapping}`"], rows), _table(["Fields of", *map(str.capitalize, words)], fields))
    )


def comparison(every: Sequence[Capabilities]) -> list[list[str]]:
    """The rows of a table of several mappings, with `COLUMNS`."""
    return [_row(found) for found in every]


def page(every: Sequence[Capabilities]) -> str:
    """docs/mappings.md: the mappings that ship, compared, and one by one."""
    parts = [_HEAD, markdown_comparison(every), *(f"## {each.mapping}\n\n{markdown(each)}" for each in every)]
    return "\n\n".join(parts) + "\n"


def text_comparison(every: Sequence[Capabilities]) -> str:
    """Several mappings, a line each."""
    return aligned([[name.lower() for name in COLUMNS], *comparison(every)])


def markdown_comparison(every: Sequence[Capabilities]) -> str:
    """Several mappings, a row each."""
    return _table(COLUMNS, [[f"`{name}`", *rest] for name, *rest in comparison(every)])


def _rows(found: Capabilities) -> list[tuple[str, str]]:
    """What is known, each with what it is called; what does not apply is left out."""
    main = found.endpoints[0]
    said = found.conversation
    rows = [
        ("mapping", f"{found.mapping}: {found.description}" if found.description else found.mapping),
        ("model", found.model),
        ("models", _models(found)),
        *(("endpoint", _served(each)) for each in found.endpoints),
    ]
    if main.replies.usage_stream:
        rows += [("whole answers", _whole(main.replies)), ("streaming", _streaming(main.replies))]
    if said:
        rows += [
            ("tools", _tools(said)),
            ("images", _images(said, found.image_hosts)),
            ("audio", _FATES[said.audio]),
            ("files", _FATES[said.files]),
            ("system text", _SYSTEM.get(said.system) or _FATES[said.system]),
            ("reasoning", "told apart from the answer" if said.reasoning else "not told apart"),
        ]
    known = ", ".join(f"{word} is {reason or 'not the end'}" for word, reason in found.finish_reasons.items())
    told = "told by the backend" if main.replies.finish_reason else "assumed"
    rows += [
        ("token counts", _usage(main.replies)),
        ("finish reasons", f"{told}; {known}" if known else told),
        *(("calls", f"{each.endpoint}: {told}") for each in _blocks(found) if (told := _calls(each.calls))),
        ("auth", found.auth),
        ("environment", ", ".join(each.name + " (required)" * each.required for each in found.environment)),
        ("files read", ", ".join(found.files)),
        ("hosts", ", ".join(found.hosts)),
        ("examples", str(found.examples)),
    ]
    return [(label, told) for label, told in rows if told]


def _row(found: Capabilities) -> list[str]:
    main, said = found.endpoints[0], found.conversation
    replies = main.replies
    framing = f" ({replies.framing})" if replies.framing else ""
    return [
        found.mapping,
        ", ".join(each.endpoint for each in _blocks(found)),
        _STREAMS[replies.stream] + framing,
        said.tools if said else "none",
        _FATES[said.images] + ", fetched" * (said.image_urls == "fetched") if said else "no",
        _FATES[said.audio] if said else "no",
        _FATES[said.files] if said else "no",
        "yes" if said and said.reasoning else "no",
        " / ".join(dict.fromkeys(each for each in (replies.usage_whole, replies.usage_stream) if each)),
        found.auth,
    ]


def _blocks(found: Capabilities) -> list[Served]:
    """The endpoints that have a block of their own."""
    return [each for each in found.endpoints if each.block == each.endpoint]


def _models(found: Capabilities) -> str:
    more = "those that the backend lists" if found.lists_models else ""
    return ", and ".join(each for each in (", ".join(found.models), more) if each)


def _served(served: Served) -> str:
    return f"{served.path}, made of `{served.block}`" if served.block != served.endpoint else served.path


def _whole(replies: Replies) -> str:
    return "gathered from the backend's stream" if replies.whole == "gathered" else "native"


def _streaming(replies: Replies) -> str:
    return "simulated from a whole answer" if replies.stream == "simulated" else f"native, {replies.framing}"


def _tools(said: Conversation) -> str:
    if said.tools == "none":
        return "none"
    several = "several in one answer" if said.parallel_tools else "one in an answer"
    return f"{said.tools}, {several}, {_TOOLS[said.streamed_tools]}"


def _images(said: Conversation, hosts: Sequence[str]) -> str:
    if said.images != "used":
        return _FATES[said.images]
    if said.image_urls == "fetched":
        return f"yes; those by address are fetched by the proxy, from {', '.join(hosts)}"
    return "yes, also by address" if said.image_urls == "used" else "yes, but not by address"


def _usage(replies: Replies) -> str:
    if replies.usage_stream in ("", replies.usage_whole):
        return _USAGE[replies.usage_whole]
    return f"{_USAGE[replies.usage_whole]}; in streams {_USAGE[replies.usage_stream]}"


def _calls(calls: Calls) -> str:
    steps = [
        f"{', '.join(calls.before)} before" if calls.before else "",
        "one for each input" if calls.each_input else "",
        "polled until it is done" if calls.poll else "",
        f"{', '.join(calls.after)} after" if calls.after else "",
        "cancelled when nobody waits" if calls.cancel else "",
    ]
    return "; ".join(filter(None, steps))


def _filled(label: str, said: str, margin: int) -> str:
    start = f"  {label}" if margin == 11 else label
    return textwrap.fill(
        said,
        WIDTH,
        initial_indent=start.ljust(margin) + " ",
        subsequent_indent=" " * (margin + 1),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _quoted(label: str, said: str) -> str:
    """Names as code."""
    if label in ("environment", "hosts", "files read"):
        return ", ".join(f"`{name}`{rest}" for each in said.split(", ") for name, _, rest in [_parted(each)])
    return said


def _parted(name: str) -> tuple[str, str, str]:
    plain = name.removesuffix(" (required)")
    return plain, "", name[len(plain) :]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)
