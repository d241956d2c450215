"""How many mistakes in the shipped mappings `check` finds.

`python tests/mutations.py [--edits N] [--seed S] [MAPPING...]` prints the figures; with `--every` those of all edits of
the simplest kinds, which takes an hour.
Each mistake is one random edit of a file. It is
- caught: `check` reports it, in the right line;
- harmless: the mapping does the same with it, as far as `behaviour` can tell;
- legal: it says plainly that the mapping is to do another thing, and no example could know better (`LEGAL`);
- escaped: the mapping does another thing, and nothing is reported.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from mutators import Edit, Text, edits, every  # noqa: E402
from mutators import Path as Path_  # noqa: E402
from support import bases_in  # noqa: E402

from oaiproxy.check import Checked, Surroundings, check_document  # noqa: E402
from oaiproxy.diagnostics import Diagnostic  # noqa: E402
from oaiproxy.document import Document, load_document  # noqa: E402
from oaiproxy.endpoints.doors import DOORS  # noqa: E402
from oaiproxy.errors import ApiError  # noqa: E402
from oaiproxy.example_answers import answer_of, parse_example, rounds  # noqa: E402
from oaiproxy.exchange import Exchange  # noqa: E402
from oaiproxy.jsontext import Json  # noqa: E402
from oaiproxy.mapping import Example, Mapping  # noqa: E402
from oaiproxy.nodes import ListNode, MappingNode, Node  # noqa: E402
from oaiproxy.probes import IDENTITY, _different, _Probe  # noqa: E402
from oaiproxy.rehearsal import rehearse, requests_of, sample_replies  # noqa: E402
from oaiproxy.sinks import FINISH_REASONS, FinishReasons  # noqa: E402
from oaiproxy.source import Source  # noqa: E402
from oaiproxy.steps import Answer  # noqa: E402

SCHEMA = json.loads((ROOT / "schemas/mapping.schema.json").read_text())
MAPPINGS = sorted((ROOT / "mappings").glob("*.yaml"))
STATUSES = (400, 401, 403, 404, 408, 413, 422, 429, 500, 503, 529)
OUTCOMES = ("caught", "harmless", "legal", "escaped", "wrong line", "traceback")

LEGAL = {
    r"backend (timeouts|allow_hosts|retry)\b.*": (
        "how long to wait, what to try again, and which other hosts to trust is the operator's to say"
    ),
    r"backend auth\b.*": "examples never show what proves to the backend who asks",
    r"(backend|.* request) headers \S+": "an example tells headers that must be there; more of them are the operator's",
    r"backend( url)?": "examples have no server, so no address is wrong; the path below it they do hold to account",
    r"models_list\b.*|models( \S+( id)?)?|\w+ chat_template": (
        "which models there are, what they are called, and how they want a conversation written, only the backend knows"
    ),
    r"\w+ cancel\b.*": "no example has a client that goes away",
}
"""Places whose values no example could hold to account, and why."""

Question: TypeAlias = Callable[[Mapping], str]
SETTINGS: dict[str, Callable[[Mapping, Document], str]] = {
    "backend": lambda mapping, _: repr(
        (replace(mapping.backend, auth=None), mapping.backend.headers, mapping.backend.query)
    ),
    "auth": lambda _, document: json.dumps((document.data.get("backend") or {}).get("auth")),
    "more": lambda mapping, _: repr((mapping.name, sorted(mapping.client_headers))),
    **{
        key: lambda _, document, key=key: json.dumps(document.data.get(key))  # type: ignore[misc]
        for key in ("models_list", "on_unsupported")
    },
    "models": lambda _, document: json.dumps(_without_vars(document.data.get("models"))),
}
"""What a mapping says plainly; it does another thing when it says another."""
_EFFORTS: list[dict[str, Json]] = [
    {"messages": [{"role": "user", "content": "hi"}], "reasoning_effort": effort}
    for effort in ("none", "minimal", "medium", "high", "xhigh")
]
"""What the variables of a model often tell of."""


@dataclass(frozen=True)
class Verdict:
    edit: Edit
    outcome: str
    told: str = ""


class Subject:
    """A shipped mapping whose edits are judged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text()
        self.environment = {name: _value(name) for name in re.findall(r"(?<!\$)\$\{(\w+)\}", self._layers())}
        self._bases = bases_in(path.parent)
        self._surroundings = Surroundings(SCHEMA, self.environment, self._read_file, self._bases, path.name)
        document, found = self.load(self.text)
        assert document is not None, found
        checked = self.check(document, found, thorough=True)
        assert checked.mapping is not None
        assert not checked.diagnostics
        self.mapping = checked.mapping
        self._document = document
        self._data = _told_to_the_proxy(document)
        self._done: dict[str, str] = {}
        """What the mapping does, as far as that was asked."""

    def _layers(self) -> str:
        """Its text and that of its base."""
        found = re.search(r"^extends: (\S+)", self.text, re.MULTILINE)
        return self.text + ((self.path.parent / f"{found[1]}.yaml").read_text() if found else "")

    def _read_file(self, name: str) -> str:
        return (self.path.parent / name).read_text()

    def load(self, text: str) -> tuple[Document | None, list[Diagnostic]]:
        return load_document(
            text,
            file=self.path.name,
            environment=self.environment,
            read_file=self._read_file,
            bases=self._bases,
            key=self.path.name,
        )

    def check(self, document: Document | None, found: list[Diagnostic], *, thorough: bool) -> Checked:
        return check_document(document, found, self.path.name, self._surroundings, thorough=thorough)

    def judge(self, edit: Edit) -> Verdict:
        """What becomes of an edit.

        The answers of its examples are delivered in every way only to what would escape: that takes the longest.
        """
        text = edit.apply(self.text)
        try:
            document, found = self.load(text)
            if document is not None and not found and _told_to_the_proxy(document) == self._data:
                if _references(text) != _references(self.text):
                    return Verdict(edit, "legal", "which variable holds a value is the operator's to say")
                return Verdict(edit, "harmless", "the same document")
            checked = self.check(document, found, thorough=False)
            if not checked.diagnostics:
                assert document is not None
                assert checked.mapping is not None
                changed = self._change(checked.mapping, document)
                if not changed:
                    return Verdict(edit, "harmless", "the same behaviour")
                place = " ".join(map(str, edit.path))
                legal = next((why for pattern, why in LEGAL.items() if re.fullmatch(pattern, place)), "")
                if legal:
                    return Verdict(edit, "legal", legal)
                checked = self.check(document, found, thorough=True)
                if not checked.diagnostics:
                    return Verdict(edit, "escaped", changed)
        except Exception:
            return Verdict(edit, "traceback", traceback.format_exc())
        wrong = [each for each in checked.diagnostics if not self._is_right(each, edit, text, document)]
        if wrong:
            return Verdict(edit, "wrong line", "\n".join(map(_shown, wrong)))
        return Verdict(edit, "caught", " ".join(each.code for each in checked.diagnostics))

    def _is_right(self, found: Diagnostic, edit: Edit, text: str, document: Document | None) -> bool:
        """Whether a finding is where a reader looks for it.

        That is the edited lines, or a neighbour of theirs; the key that holds what is missing; an example that comes
        out otherwise; or another line that names what the edit took away.
        """
        if found.span is None:
            return False
        if found.span.file != self.path.name:  # the base is found to be at fault, with what is laid over it
            return f"{self.path.name}" in found.help + found.message or document is not None
        first = text.count("\n", 0, edit.start) + 1
        last = first + edit.new.count("\n")
        line = found.span.line
        if edit.kind == "break an indentation":
            first, last = self._moved(first, text, edit)
        if edit.kind == "misspell a key":  # and with it what the key makes of its value
            last = self._document.span(edit.path).end_line
        if edit.path[:1] == ("extends",):  # the file is then read as if it stood alone
            first, last = 1, text.count("\n")
        if first - 1 <= line <= last + 1 or line in self._holders(edit):
            return True
        if re.search(rf"\bline {first}\b", found.label):
            return True
        if found.code.startswith(("E5", "W5")):
            return line > text[: text.find("\nexamples:") + 1].count("\n")
        lost = {*re.findall(r"\w+", self.text[edit.start : edit.end]), *map(str, edit.path[-1:])}
        named = re.findall(r"\w+", f"{found.message} {found.label} {found.help}")
        if lost & {*named, *re.findall(r"\w+", text.split("\n")[line - 1])}:
            return True
        if found.code == "E105" and "nothing reads" in found.message and "request" in edit.path:
            return True  # what is edited reads it no more
        if found.code == "E205" and first <= line <= last + 4:
            return True  # of two keys that cannot stand together, the other one
        return found.code.startswith("E4") and str(edit.path[0]) in ("vars", "backend", "chat", "completions")

    def _moved(self, line: int, text: str, edit: Edit) -> tuple[int, int]:
        """The lines of what is indented otherwise, and of what it came to stand in."""
        lines, first = text.split("\n"), line
        while first > 1 and (_depth(lines[first - 1]) >= len(edit.new) or not lines[first - 1].strip()):
            first -= 1
        return first, self._document.span(edit.path).end_line

    def _holders(self, edit: Edit) -> set[int]:
        """The lines of the keys around an edit, and around each alias of what is edited."""
        paths = [edit.path]
        target = self._document._find(edit.path)[1]
        places: list[tuple[Path_, Node]] = [((), self._document._root)]
        while places:
            path, node = places.pop()
            paths += [path] * (node is target)
            match node:
                case MappingNode(entries=entries):
                    places += [((*path, name), child) for name, (_, child) in entries.items()]
                case ListNode(items=items):
                    places += [((*path, index), child) for index, child in enumerate(items)]
        return {
            self._document.span(path[:length], key=True).line for path in paths for length in range(1, len(path) + 1)
        }

    @cache  # noqa: B019
    def _bodies(self) -> list[tuple[str, dict[str, Json]]]:
        """Requests for every endpoint of the mapping: those of probes, and of all examples of all mappings."""
        found = []
        root = Source(self._document, (), self._document.data)
        for name, endpoint in self.mapping.endpoints.items():
            for model in _different(self.mapping):
                asked = _Probe(self.mapping, name, endpoint, root[name], model)
                bodies = [*asked._bodies(), *_EFFORTS] if name == "chat" else asked._bodies()
                for body in bodies:
                    found += [(name, {"model": model, **body, "stream": stream}) for stream in (False, True)]
            found += [(name, body) for body in _asked(name)]
        model = next(iter(self.mapping.models))
        return [(name, {"model": model, **body}) for name, body in found]

    def _change(self, mapping: Mapping, document: Document) -> str:
        """The first thing that an edited mapping does otherwise; "" when there is none."""
        if change := self._otherwise_ended(document):
            return change
        told = [name for name, ask in SETTINGS.items() if ask(mapping, document) != ask(self.mapping, self._document)]
        if told:
            return told[0]
        other = _otherwise(self._document.data, document.data)
        inner = {key for each in other for key in _otherwise(self._document.data.get(each), document.data.get(each))}
        idle = ""
        """The questions to which nothing that is otherwise gives the answer."""
        if other <= DOORS.keys() and inner == {"request"} and _reads(mapping) == _reads(self.mapping):
            idle = "replies"
        elif other <= DOORS.keys() and inner == {"response"}:
            idle = "sends"
        for name, endpoint, ask in self._questions():
            blocks = {endpoint, _block(mapping, endpoint), _block(self.mapping, endpoint)}
            if (idle and name.startswith(idle)) or (other <= DOORS.keys() and not other & blocks):
                continue
            if name not in self._done:
                self._done[name] = ask(self.mapping)
            new = ask(mapping)
            if new != self._done[name]:
                return f"{name}\n{_difference(self._done[name], new)}"
        return ""

    def _otherwise_ended(self, document: Document) -> str:
        """The first of the backend's reasons for an end that an edited mapping takes for another."""
        old, new = (each.data.get("finish_reasons") or {} for each in (self._document, document))
        for word in [*old, *FINISH_REASONS, "unlisted"]:
            was, is_ = (self._end(FinishReasons(table).resolve(word)[0]) for table in (old, new))
            if was != is_:
                return f"finish_reasons: `{word}` was {was}, and is {is_}"
        return ""

    def _end(self, reason: str | None) -> str | None:
        """What a reason comes to: "not yet" is another thing than an end where nothing else marks that of a stream."""
        streams = [each.stream for each in self.mapping.endpoints.values() if each.stream is not None]
        waits = any(each.plan.goes_on for each in streams)
        return "stop" if reason == "auto" or (reason is None and not waits) else reason

    @cache  # noqa: B019
    def _questions(self) -> list[tuple[str, str, Question]]:
        """What tells what a mapping does, each with its name and endpoint: what it sends, and makes of answers."""
        found: list[tuple[str, str, Question]] = [
            (f"sends {number} {json.dumps(body)[:150]}", name, partial(_sent, name, body))
            for number, (name, body) in enumerate(self._bodies())
        ]
        found += [
            (f"replies {number} {example.name}", example.endpoint, partial(_told, example, answers))
            for number, (example, answers) in enumerate(self._rounds())
        ]
        return found

    @cache  # noqa: B019
    def _rounds(self) -> list[tuple[Example, list[Answer]]]:
        """The examples, as they are and with their answers changed: other failures, and values left out."""
        found: list[tuple[Example, list[Answer]]] = []
        errors = []
        for example in self.mapping.examples:
            answers = [answer_of(self.mapping, each, self._read_file) for each in rounds(example)]
            found.append((example, answers))
            if len(answers) == 1:
                found += [(example, [replace(answers[0], body=body)]) for body in _less(answers[0].body)]
            errors += [answer for answer in answers if answer.status >= 400]
        for example in {example.endpoint: example for example in reversed(self.mapping.examples)}.values():
            bodies = {answer.body for answer in errors} | {b"", b"<html>", b'{"error":"x"}'}
            for body in sorted(bodies):
                found += [
                    (example, [Answer(status, {"content-type": "application/json"}, body)]) for status in STATUSES
                ]
        return found


@cache
def _asked(endpoint: str) -> list[dict[str, Json]]:
    """The requests of all shipped examples of an endpoint."""
    found: dict[str, dict[str, Json]] = {}
    for path in MAPPINGS:
        document, _ = load_document(path.read_text(), file=path.name, environment={}, read_file=lambda name: "")
        for example in document.data["examples"] if document else ():
            if example.get("endpoint", "chat") == endpoint:
                request = {key: value for key, value in example["request"].items() if key != "model"}
                found[json.dumps(request, sort_keys=True)] = request
    return list(found.values())


def _less(data: bytes) -> Iterator[bytes]:
    """An answer without one of its values, each in turn."""
    try:
        whole = json.loads(data)
    except ValueError:
        lines = data.split(b"\n")
        yield from (b"\n".join(lines[:at] + lines[at + 1 :]) for at in range(min(len(lines), 30)) if lines[at])
        return
    yield from (json.dumps(less).encode() for less in list(_without(whole))[:60])


def _without(value: Json) -> Iterator[Json]:
    match value:
        case dict():
            for key, inner in value.items():
                yield {name: kept for name, kept in value.items() if name != key}
                yield from ({**value, key: less} for less in _without(inner))
        case list():
            for index, inner in enumerate(value[:4]):
                yield value[:index] + value[index + 1 :]
                yield from ([*value[:index], less, *value[index + 1 :]] for less in _without(inner))


def _sent(name: str, body: dict[str, Json], mapping: Mapping) -> str:
    if name not in mapping.endpoints:
        return ""
    try:
        call = DOORS[name].parse(body)
        exchange = Exchange(mapping, call, DOORS[name].encoder(call, IDENTITY), IDENTITY, {})
        made = requests_of(exchange, sample_replies(mapping, name, exchange.backend_streams))
    except ApiError as error:
        return f"{error.status} {error.message}"
    return repr([(each.method, each.url, dict(each.headers), _unordered(each.body)) for each in made])


def _unordered(body: bytes | None) -> bytes | str | None:
    """A body; if it is JSON, whose keys may stand in any order, in one of its own."""
    if body is None or body[:1] != b"{":
        return body
    return json.dumps(json.loads(body), sort_keys=True)


def _told(example: Example, answers: list[Answer], mapping: Mapping) -> str:
    try:
        call = parse_example(mapping, example)
        exchange = Exchange(mapping, call, DOORS[example.endpoint].encoder(call, IDENTITY), IDENTITY, example.headers)
        told = repr(asdict(rehearse(exchange, answers).outcome))
        return _SELECTORS.sub("was found", told)
    except ApiError as error:
        return f"{error.status} {error.message}"


_SELECTORS = re.compile(r"was found in the backend's answer \(.*?\)(?=['\"], 'type)")
"""What names selectors: with others, the failure is the same."""


def _without_vars(models: Json) -> Json:
    """What is said of models but for their variables, of which what is sent tells."""
    if not isinstance(models, dict):
        return models
    return {
        name: {key: inner for key, inner in said.items() if key != "vars"} if isinstance(said, dict) else said
        for name, said in models.items()
    }


def _told_to_the_proxy(document: Document) -> str:
    """The document with the order of its keys, without what is only for readers."""
    kept = {key: value for key, value in document.data.items() if key != "description" and key[:2] != "x-"}
    return json.dumps(kept, default=repr)


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _otherwise(old: Json, new: Json) -> set[str]:
    """The keys whose values differ; in what has none, one that stands for all."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return {"" for _ in range(old != new)}
    return {key for key in old.keys() | new.keys() if json.dumps(old.get(key)) != json.dumps(new.get(key))}


def _reads(mapping: Mapping) -> dict[str, object]:
    return {name: endpoint.reads for name, endpoint in mapping.endpoints.items()}


def _block(mapping: Mapping, endpoint: str) -> str:
    """The key of the block that serves an endpoint."""
    return endpoint if endpoint in mapping.endpoints else "chat"


def _difference(old: str, new: str) -> str:
    same = (index for index, (one, other) in enumerate(zip(old, new, strict=False)) if one != other)
    at = max(0, next(same, 0) - 40)
    return f"    {old[at : at + 160]}\n    {new[at : at + 160]}"


def _value(name: str) -> str:
    return "https://models.example.com" if name.endswith("_URL") else "other"


def _references(text: str) -> set[str]:
    return set(re.findall(r"(?<!\$)\$\{(\w+)", text))


def _shown(found: Diagnostic) -> str:
    place = f"{found.span.file}:{found.span.line}:{found.span.column}" if found.span else "nowhere"
    return f"{found.code} {place} {found.message} [{found.label}] {found.help}"


@cache
def subject(path: Path) -> Subject:
    return Subject(path)


def verdicts(path: Path, count: int | None, seed: str, *, examples: bool = False) -> list[Verdict]:
    """What becomes of so many edits of a mapping, or of `every`; `examples` are edited instead of what they are for."""
    judged = subject(path)
    text = Text(judged.text, examples=examples)
    found = []
    gc.freeze()  # what is there stays, and need not be looked at for each of the many edits
    gc.disable()  # of what they leave, little is in circles
    try:
        made = every(text) if count is None else edits(text, count, f"{seed} {path.stem}")
        for number, edit in enumerate(made):
            found.append(judged.judge(edit))
            if number % 20 == 0:
                gc.collect()
    finally:
        gc.enable()
    return found


def table(counted: Iterable[tuple[str, Counter[str]]]) -> str:
    """The figures, and their sums."""
    rows = list(counted)
    rows.append(("all", sum((counts for _, counts in rows), Counter())))
    lines = [f"{'mapping':24}{'edits':>7}" + "".join(f"{name:>12}" for name in OUTCOMES)]
    for name, counts in rows:
        lines.append(f"{name:24}{counts.total():7}" + "".join(f"{counts[key]:12}" for key in OUTCOMES))
    return "\n".join(lines)


def told(path: Path, verdict: Verdict, text: str) -> str:
    """An edit that went wrong, for a reader."""
    edit = verdict.edit
    line = text.count("\n", 0, edit.start) + 1
    place = ".".join(map(str, edit.path))
    old = text[edit.start : edit.end][:200]
    around = text[max(0, edit.start - 40) : edit.start].split("\n")[-1]
    where = f"{verdict.outcome}: {path.name}:{line} {place} ({edit.kind})"
    return f"{where}: {around}⟦{old!r} → {edit.new[:200]!r}⟧\n    {verdict.told}"


def _of_one(arguments: tuple[Path, int | None, str, bool]) -> list[Verdict]:
    path, count, seed, examples = arguments
    return verdicts(path, count, seed, examples=examples)


def main() -> int:
    parser = argparse.ArgumentParser(description="apply random edits to shipped mappings, and count what check finds")
    parser.add_argument("mapping", nargs="*", help="names of shipped mappings; all without")
    parser.add_argument("--edits", type=int, default=500, help="how many for each mapping")
    parser.add_argument("--seed", default="1", help="other edits for another seed")
    parser.add_argument("--every", action="store_true", help="no random edits, but all of the simplest kinds")
    parser.add_argument("--examples", action="store_true", help="edit the examples instead of what they are for")
    parser.add_argument("--show", default="escaped,wrong line,traceback", help="outcomes of which each edit is told")
    given = parser.parse_args()
    paths = [path for path in MAPPINGS if not given.mapping or path.stem in given.mapping]
    counts = []
    with ProcessPoolExecutor(2) as pool:
        count = None if given.every else given.edits
        jobs = [(path, count, given.seed, given.examples) for path in paths]
        for path, made in zip(paths, pool.map(_of_one, jobs), strict=True):
            counts.append((path.stem, Counter(each.outcome for each in made)))
            for each in made:
                if each.outcome in given.show.split(","):
                    print(told(path, each, path.read_text()), flush=True)
    print(table(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
