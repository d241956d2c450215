"""A sample of an API's call to a mapping with examples, and to what could not be found in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from oaiproxy.guesses_address import Address, address, spoken
from oaiproxy.guesses_answer import Answered, answered, assistant_of
from oaiproxy.guesses_auth import access, reference, secret_leaves, variables
from oaiproxy.guesses_examples import Call, examples
from oaiproxy.guesses_failure import failure, is_failure, shown
from oaiproxy.guesses_names import ANSWERED
from oaiproxy.guesses_request import Asked, asked
from oaiproxy.guesses_stream import Streamed, streamed
from oaiproxy.jsontext import Json, JsonError, parse_lenient
from oaiproxy.leaves import leaves, plain, rebuilt
from oaiproxy.overlays import laid
from oaiproxy.samples import Received, Sample
from oaiproxy.yamlwriter import Block, Note, Remark, to_yaml

HIDDEN = "REDACTED"
"""What stands in examples for a secret of the sample."""


_EDITORS = "Editors complete it by its schema: `oaiproxy schema --output mapping.schema.json`, and docs/editors.md."


@dataclass(frozen=True, slots=True)
class Proposal:
    """A mapping as YAML, and what is to be done in it by hand: each is a `# TODO:` in the text as well."""

    text: str
    missing: tuple[str, ...]


def name_of(url: str) -> str:
    """What to call an API by its address, such as `acme` for `https://api.acme.com/v1`."""
    host = (urlsplit(url).hostname or "").removeprefix("www.")
    labels = [
        label for label in host.split(".") if label not in ("api", "localhost", "inference", "llm", "chat", "gateway")
    ]
    if not labels or not host or re.fullmatch(r"[\d.:a-f]+|\$.*", host):
        return "my-api"
    return re.sub(r"[^a-z0-9-]", "-", labels[-2] if len(labels) > 1 else labels[0])


def propose(sample: Sample, name: str, *, model: str = "", prompt: str = "", schema: str = "") -> Proposal:
    """The mapping of an API, made of one call.

    `model` is what clients ask for, by default the model of the sample, or `name`. `prompt` is the text of the sample's
    request that is the prompt, for where it cannot be found. `schema` is the path of the schema of mappings, seen from
    the mapping, for editors.
    """
    return _Proposer(sample, name, model, prompt, schema).propose()


class _Proposer:
    def __init__(self, sample: Sample, name: str, model: str, prompt: str, schema: str) -> None:
        self._sample = sample
        self._name = name
        self._prompt = prompt
        self._schema = schema
        self._prefix = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_") or "MY_API"
        if self._prefix[0].isdigit():
            self._prefix = f"API_{self._prefix}"
        self._model = model
        self._answer = _parsed(sample.answer)
        self._models = _models(self._answer)
        self._missing: list[str] = []
        self._secrets: list[str] = []

    def propose(self) -> Proposal:
        sample = self._sample
        whole = self._call(sample.url, sample.body, [sample.stream_body])
        other = None
        if sample.stream is not None and (sample.stream_body is not None or sample.stream_url):
            body = sample.body if sample.stream_body is None else sample.stream_body
            other = self._call(sample.stream_url or sample.url, body, [sample.body])
            self._secrets += access(sample.stream_headers, "", self._prefix).secrets
        said = _last(whole.asked)
        failed = sample.answer is not None and is_failure(self._answer, sample.answer.status)
        response = None if failed else self._response(sample.answer, said)
        spoken = response.replies.get("text") if response is not None else ""
        stream = None
        if sample.stream is not None:
            stream = streamed(sample.stream.data, sample.stream.media_type, prompt=said, answer=str(spoken or ""))
        model = self._model or whole.asked.model or self._name
        headline = self._headline(whole)
        tree: dict[Any, Any] = {}
        if self._schema:
            tree[Remark(f"yaml-language-server: $schema={self._schema}")] = None
            tree[Remark(f"\n{headline}")] = None
        else:
            tree[Remark(f"{headline}\n{_EDITORS}")] = None
        tree["oaiproxy"] = 1
        tree["models"] = {model: whole.asked.model} if whole.asked.model not in ("", model) else [model]
        tree["backend"] = self._backend(whole)
        chat = self._chat(whole, other, response, stream)
        errors, message = failure(self._answer) if failed else ({}, "")
        if failed and sample.answer is not None:
            message = message or sample.answer.data.decode("utf-8", "replace")
            told = f"the sample of an answer is an error (`{shown(message)}`)"
            chat[Remark(self._todo(f"{told}: give one that went well with `--response`"))] = None
        elif response is None and stream is None:
            told = "no sample of an answer was given: give one with `--response`, or say what `text` is"
            chat[Remark(self._todo(told))] = None
        tree["chat"] = chat
        if errors:
            tree["errors"] = errors
        words: dict[str, str | None] = {}
        for found in (response, stream):
            words |= found.finish_reasons if found is not None else {}
        if words:
            tree["finish_reasons"] = Block(
                {
                    word: Note(ours, "guessed") if ours else Note(None, "not finished yet")
                    for word, ours in words.items()
                }
            )
        rounds = examples(sample, whole, other, response, stream)
        if rounds:
            tree[Remark("")] = None
            tree["examples"] = rounds
        text = self._hidden(to_yaml(tree))
        return Proposal(text.replace("# \n", "#\n"), tuple(dict.fromkeys(map(self._hidden, self._missing))))

    def _hidden(self, text: str) -> str:
        """The text without the secrets of the sample."""
        for secret in sorted({each for each in self._secrets if len(each) > 3}, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return text

    def _todo(self, told: str) -> str:
        self._missing.append(told)
        return f"TODO: {told}"

    def _headline(self, whole: Call) -> str:
        host = urlsplit(self._sample.url).hostname or "an API"
        return f"{self._name}: {self._sample.method} {whole.address.path} of {host}, as one call of it showed."

    def _call(self, url: str, body: Json, others: list[Json]) -> Call:
        sample = self._sample
        parts = urlsplit(_bare(url))
        told = access(sample.headers, parts.query, self._prefix)
        self._secrets += told.secrets
        form, body = _form(body, dict(sample.headers).get("content-type", ""))
        hidden = secret_leaves(body)
        place, found = self._asked(parts.path, {"query": told.query, "body": body}, others)
        found.model = found.model or place.model
        for each in (*found.missing, *found.noted, *told.missing, *place.missing):
            self._missing += [each] if each not in self._missing else []
        for at_, value in hidden:
            written = reference(value, self._prefix, self._secrets)
            found.tree["body"] = rebuilt(found.tree["body"], {at_: written}, lambda leaf: leaf)
            body = rebuilt(body, {at_: _Raw(written)}, lambda leaf: leaf)
        return Call(place, told.query, body, form, found, told)

    def _asked(self, path: str, sample: dict[str, Json], others: list[Json]) -> tuple[Address, Asked]:
        """What the address holds, and what else is sent."""
        more = [{"query": {}, "body": each} for each in others]
        given = (self._sample.answer, self._sample.stream)
        spelled = assistant_of(*(each.data for each in given if each is not None))
        found = asked(sample, prompt=self._prompt, others=more, spelled=spelled)
        segment = "" if found.request.get("messages") else spoken(path, self._prompt)
        if segment:
            found = asked({"path": {"prompt": unquote(segment)}, **sample}, others=more, spelled=spelled)
        place = address(path, [*self._models, self._model], named=bool(found.model))
        if segment:
            place = replace(place, template=place.template.replace(f"/{segment}", "/{{ prompt }}", 1))
        return place, found

    def _backend(self, whole: Call) -> dict[str, Json]:
        parts = urlsplit(self._sample.url)
        base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        if variable := re.match(r"\$\{?([A-Za-z_]\w*)", self._sample.url):
            made = Block(url=f"${{{variable[1]}:-mock:}}")
        else:
            made = Block(url="${" + f"{self._prefix}_BASE_URL:-{base}" + "}")
        if whole.access.auth is not None:
            made["auth"] = whole.access.auth
        headers = {
            name: value if value.startswith("${") else variables(value)
            for name, value in whole.access.headers.items()
            if not (name == "accept" or (name == "content-type" and whole.form != "body_text"))
        }
        if headers:
            made["headers"] = headers
        return made

    def _response(self, answer: Received | None, said: str) -> Answered | None:
        if answer is None:
            return None
        try:
            body = parse_lenient(answer.data)
        except JsonError:
            made = Answered({"data": "text", "text": "@"})
            made.replies["text"] = answer.data.decode("utf-8", "replace")
            return made
        return answered(body, prompt=said)

    def _chat(self, whole: Call, other: Call | None, response: Answered | None, stream: Streamed | None) -> Block:
        chat = Block(request=self._request(whole, stream is not None))
        if response is not None:
            told = Block(response.sinks)
            for each in response.missing:
                told = Block({Remark(self._todo(each)): None, **told})
            if "text" not in told:
                state = response.replies.pop("state", None)
                later = f"the answer seems to come later (`{state}`): say how to wait for it as `poll`" if state else ""
                what = "which text of the answer is the generated one: write its selector as `text`"
                told = Block({Remark(self._todo(later or what)): None, **told})
            chat["response"] = told
        if stream is not None:
            chat["stream"] = self._stream(whole, other, response, stream)
        return chat

    def _request(self, whole: Call, streams: bool) -> Block:
        made = Block()
        if self._sample.method != "POST":
            made["method"] = self._sample.method
        made["path"] = whole.address.template
        tree = whole.asked.tree
        if tree["query"]:
            made["query"] = tree["query"]
        body = self._body(whole, streams)
        for told in (
            *whole.address.missing,
            *whole.asked.missing,
        ):
            made[Remark(f"TODO: {told}")] = None
        if body is not None:
            made[whole.form] = Block(body) if isinstance(body, dict) and body else body
        return made

    def _body(self, call: Call, streams: bool) -> Json:
        """The body's template. A flag that asks for a stream of which nothing is known stays as it is."""
        path = call.asked.stream
        if path is None or streams:
            return call.asked.tree["body"]
        return rebuilt(call.asked.tree, {path: False}, lambda leaf: leaf)["body"]

    def _stream(self, whole: Call, other: Call | None, response: Answered | None, stream: Streamed) -> Block:
        made = Block()
        changed = self._changed(whole, other)
        if changed:
            made["request"] = changed
        elif whole.asked.stream is None and response is not None:
            told = "nothing in the sample asks for the stream: say what does as `request: {body: {stream: true}}`"
            made[Remark(self._todo(told))] = None
        for told in stream.missing:
            made[Remark(self._todo(told))] = None
        inherited = response.sinks if response is not None else {}
        for key, value in stream.keys.items():
            if key in inherited and inherited[key] == value and "events" not in stream.keys:
                continue
            value = Note(value, stream.comments[key]) if key in stream.comments else value
            if key == "events":
                made[key] = value if isinstance(value, Note) else Block(value) if isinstance(value, dict) else value
            else:
                made[key] = value
        return made

    def _changed(self, whole: Call, other: Call | None) -> dict[str, Json]:
        """What the request for the stream has otherwise."""
        made: dict[str, Json] = {}
        if other is not None:
            if other.address.template != whole.address.template:
                made["path"] = other.address.template
            query = laid(whole.asked.tree["query"], other.asked.tree["query"])
            if query:
                made["query"] = query
            theirs = other.asked.tree["body"]
            flag = other.asked.stream
            if flag is not None and whole.asked.stream is None:
                theirs = rebuilt(other.asked.tree, {flag: True}, lambda leaf: leaf)["body"]
            body = laid(whole.asked.tree["body"], theirs)
            if body:
                made[whole.form] = body
        headers = access(self._sample.stream_headers, "", self._prefix).headers
        headers = {name: variables(value) for name, value in headers.items() if name != "content-type"}
        if headers and headers.get("accept") not in ("*/*", "application/json"):
            made["headers"] = headers
        return made


def _parsed(answer: Received | None) -> Json:
    """An answer as data; None where it is none."""
    try:
        return parse_lenient(answer.data) if answer is not None else None
    except JsonError:
        return None


def _models(body: Json) -> list[str]:
    """The models that an answer names."""
    found = [value for path, value in leaves(body) if path and plain(str(path[-1])) in ANSWERED]
    return [each for each in found if isinstance(each, str) and each]


class _Raw(str):
    """Text that stands as it is, also where references are escaped."""

    __slots__ = ()

    def replace(self, *_: Any) -> str:
        return str(self)


def _bare(url: str) -> str:
    """An address whose host is a variable, as one that can be read."""
    return re.sub(r"^\$\{?\w+\}?", "https://host", url)


def _last(found: Asked) -> str:
    """The text of the last message."""
    content = (found.request.get("messages") or [{}])[-1].get("content", "")
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _form(body: Json, media_type: str) -> tuple[str, Json]:
    """The form of a body, and the body as a tree."""
    if isinstance(body, str) and "x-www-form-urlencoded" in media_type:
        return "body_form", dict(parse_qsl(body, keep_blank_values=True))
    if isinstance(body, dict) and "multipart/form-data" in media_type:
        return "body_multipart", body
    return ("body_text" if isinstance(body, str) and "json" not in media_type else "body"), body
