"""Promises of the bodies that are not JSON: forms, parts and bytes, as any server reads them, and nothing injected."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Client
from support import IDENTITY, ask, chat, findings_of, load, serving

from oaiproxy.bodies import BODIES, Body, UnfitError, decoded, texts
from oaiproxy.canonical import Names
from oaiproxy.check import Surroundings, check_mapping
from oaiproxy.endpoints import chat as chat_endpoint
from oaiproxy.errors import ApiError, ClientError
from oaiproxy.exchange import BackendRequest
from oaiproxy.loader import mapping_schema
from oaiproxy.scopes import RenderError, Scope

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n\xff--oaiproxy-" + b"t" * 24).decode()


def sent(body: str, **fields: Any) -> BackendRequest:
    """The request with a body, which is given as the keys of a flow mapping."""
    return ask(chat(request=f"{{path: /g, {body}}}", response="{text: t}"), **fields).backend_request()


def encode(key: str, value: Any, token: str = "t") -> tuple[bytes, str]:
    scope = Scope(
        Names(
            chat_endpoint.parse({"model": "m", "messages": [{"role": "user", "content": "hi"}]}),
            IDENTITY,
            model="m",
            stream=False,
        )
    )
    return Body(key, lambda scope: value).encode(scope, token)


async def received(request: BackendRequest) -> list[tuple[str, str | None, str | None, bytes]]:
    """The parts as an HTTP server reads them: name, file name, content type, content."""
    found: list[tuple[str, str | None, str | None, bytes]] = []

    async def handle(incoming: web.Request) -> web.Response:
        async for part in await incoming.multipart():
            assert not isinstance(part, web.BaseRequest)
            found.append((part.name or "", part.filename, part.headers.get("Content-Type"), bytes(await part.read())))
        return web.Response()

    assert request.body is not None
    async with serving(handle) as url, await Client.connect(url) as client:
        head = f"POST /g HTTP/1.1\r\nHost: a\r\nContent-Type: {request.headers['Content-Type']}\r\n"
        await client.send(f"{head}Content-Length: {len(request.body)}\r\n\r\n".encode() + request.body)
        assert (await client.answer()).status == 200
    return found


def test_a_form_is_encoded_as_browsers_do() -> None:
    """Lists repeat their field, what is absent or null is left out, numbers and booleans are text."""
    fields = "q: '{{ prompt }}', temp: '{{ temperature }}', seed: '{{ seed }}', s: '{{ stop }}', x: true, z: [1, a]"
    body = f"body_form: {{{fields}, n: '{{{{ none }}}}'}}"
    request = sent(body, messages=[{"role": "user", "content": "é & b=c+d\r\n~*"}], temperature=0.5, stop=["a", "b"])
    assert request.body == b"q=%C3%A9+%26+b%3Dc%2Bd%0D%0A%7E*&temp=0.5&s=a&s=b&x=true&z=1&z=a"
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_a_form_may_be_empty() -> None:
    """Nothing is sent then."""
    assert sent("query: {q: '{{ prompt }}'}, body_form: {s: '{{ seed }}'}").body == b""


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=4))
def test_every_form_comes_back(fields: dict[str, str]) -> None:
    """Whatever stands in it."""
    data, content_type = encode("body_form", fields)
    assert dict(parse_qsl(data.decode(), keep_blank_values=True, strict_parsing=bool(fields))) == fields
    assert decoded(data, content_type) == fields


def test_parts_arrive_as_they_were_sent() -> None:
    """Text, numbers, and files with their names and types."""
    body = (
        "body_multipart: {model: '{{ model }}', temp: '{{ temperature }}', seed: '{{ seed }}', lang: [de, en], "
        "file: {filename: a.png, media_type: image/png, base64: '{{ extra.data }}'}, "
        "meta: {media_type: application/json, text: '{{ stop | json }}'}, raw: {base64: '{{ extra.data }}'}}"
    )
    request = sent(body, temperature=0.5, stop=["é"], data=PNG, messages=[{"role": "user", "content": "x"}])
    parts = asyncio.run(received(request))
    assert parts == [
        ("model", None, None, b"m"),
        ("temp", None, None, b"0.5"),
        ("lang", None, None, b"de"),
        ("lang", None, None, b"en"),
        ("file", "a.png", "image/png", base64.b64decode(PNG)),
        ("meta", None, "application/json", '["é"]'.encode()),
        ("raw", None, "application/octet-stream", base64.b64decode(PNG)),
    ]


def test_the_boundary_is_the_calls_and_stands_in_no_part() -> None:
    """The same in each retry."""
    data, content_type = encode("body_multipart", {"a": {"base64": PNG}}, "t" * 24)
    assert content_type == "multipart/form-data; boundary=oaiproxy-" + "t" * 24 + "-"
    assert (data, content_type) == encode("body_multipart", {"a": {"base64": PNG}}, "t" * 24)
    assert data.count(b"\r\n--oaiproxy-" + b"t" * 24 + b"-") == 1


@settings(max_examples=50)
@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=3), st.binary(), st.text())
def test_every_part_comes_back(fields: dict[str, str], file: bytes, name: str) -> None:
    """Names too, but for quotes and line ends, which are escaped."""
    unescaped = {key: value for key, value in fields.items() if not set(key) & set('"\r\n')}
    given_ = unescaped | {
        "file?": {"filename": name.translate({34: "", 10: "", 13: ""}), "base64": base64.b64encode(file).decode()}
    }
    data, content_type = encode("body_multipart", given_)
    made = decoded(data, content_type)
    content = made.pop("file?")
    assert made == {key: value for key, value in unescaped.items() if key != "file?"}
    assert content.get("text", "").encode() == file or base64.b64decode(content["base64"]) == file


@pytest.mark.parametrize("hostile", ['a"; filename="b', "a\r\nX-Evil: 1\r\n\r\n", "a\nb", "é\u2028"])
def test_nothing_is_injected_through_names(hostile: str) -> None:
    """Quotes and line ends are escaped in names of fields and files."""
    body = "body_multipart: {$merge: ['{{ {extra.k: prompt} }}'], f: {filename: '{{ extra.k }}', text: x}}"
    parts = asyncio.run(received(sent(body, k=hostile)))
    assert [(part[0], part[3]) for part in parts] == [(_escaped(hostile), b"hi"), ("f", b"x")]
    data, _ = encode("body_multipart", {hostile: "v", "f": {"filename": hostile, "text": "x"}})
    assert b"\r\nX-Evil" not in data
    assert data.count(b'"; filename="') == 1


def _escaped(name: str) -> str:
    return name.replace("%", "%").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


@pytest.mark.parametrize("media_type", ["a/b\r\nX: 1", "text", "a b/c", "a/b;\x00"])
def test_a_media_type_that_is_none_is_the_clients_mistake(media_type: str) -> None:
    """400."""
    with pytest.raises(ClientError) as caught:
        sent("body_multipart: {p: '{{ prompt }}', f: {media_type: '{{ extra.t }}', text: x}}", t=media_type)
    assert caught.value.code == "invalid_value"


def test_bytes_are_sent_as_they_are() -> None:
    """With the content type that the mapping says."""
    request = sent("query: {q: '{{ prompt }}'}, body_base64: '{{ extra.data }}'", data=PNG[:8] + "\n" + PNG[8:])
    assert request.body == base64.b64decode(PNG)
    assert request.headers["Content-Type"] == "application/octet-stream"
    request = sent("headers: {content-type: audio/wav, x-q: '{{ prompt }}'}, body_base64: '{{ extra.data }}'", data=PNG)
    assert request.headers["content-type"] == "audio/wav"
    assert "Content-Type" not in request.headers
    assert sent("query: {q: '{{ prompt }}'}, body_base64: '{{ extra.data }}'").body == b""


@pytest.mark.parametrize(
    "body", ["body_base64: '{{ extra.data }}'", "body_multipart: {f: {base64: '{{ extra.data }}'}}"]
)
def test_what_is_not_base64_is_the_clients_mistake(body: str) -> None:
    """400; what it is instead is not told."""
    with pytest.raises(ClientError) as caught:
        sent(f"query: {{q: '{{{{ prompt }}}}'}}, {body}", data="not base64!")
    assert (caught.value.code, caught.value.status) == ("invalid_value", 400)
    assert "!" not in caught.value.message


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("body_form", {"a": {"b": 1}}, "the form's field `a` is text, not an object"),
        ("body_form", {"a": [[1]]}, "not a list"),
        ("body_form", "text", "a form is an object, not a string"),
        ("body_multipart", {"a": {"b": 1}}, "the part `a` has a key `b`"),
        ("body_multipart", {"a": {"base64": "", "text": ""}}, "needs `base64` or `text`"),
        ("body_multipart", {"a": {"filename": "x"}}, "needs `base64` or `text`"),
        ("body_multipart", {"a": {"base64": 1}}, "is base64 text, not a number"),
        ("body_base64", {"a": 1}, "is base64 text, not an object"),
    ],
)
def test_what_fits_in_no_body_is_an_error(key: str, value: Any, words: str) -> None:
    """Nothing is left out, and nothing is turned into something else."""
    with pytest.raises(RenderError, match=words) as caught:
        encode(key, value)
    assert not isinstance(caught.value, UnfitError)


def test_a_request_that_cannot_be_built_is_ours() -> None:
    """500."""
    with pytest.raises(ApiError) as caught:
        sent("body_form: {q: '{{ prompt }}', m: '{{ extra }}'}", mood="calm")
    assert (caught.value.status, caught.value.code) == (500, "mapping_error")


@pytest.mark.parametrize(
    ("data", "content_type", "body"),
    [
        (b'{"a":1}', "application/json", {"a": 1}),
        (b"a=1&a=2&b=", "application/x-www-form-urlencoded; charset=utf-8", {"a": ["1", "2"], "b": ""}),
        (b"a", "text/plain", "a"),
        (b"\xff", "application/octet-stream", "/w=="),
        (b"x", "multipart/form-data; boundary=b", {}),
    ],
)
def test_bodies_are_told_as_what_they_are(data: bytes, content_type: str, body: Any) -> None:
    """As examples compare them."""
    assert decoded(data, content_type) == body


def test_texts_are_all_strings() -> None:
    """Of every depth."""
    assert list(texts({"a": ["b", {"c": "d"}], "e": 1})) == ["b", "d"]


MAPPING = """
oaiproxy: 1
models: [m]
backend: {url: "https://api.example.com"}
chat:
  request: {path: /g, body: {q: "{{ prompt }}"}}
  response: {text: t}
  stream:
    request: {path: /s, body_form: {q: "{{ prompt }}"}}
    format: text
    text: "@"
examples:
  - request: {messages: [{role: user, content: hi}], stream: true}
    sends: {method: POST, path: /s, headers: {content-type: application/x-www-form-urlencoded}, body: {q: hi}}
    backend: {stream: a}
    replies: {text: a}
"""


def test_a_body_of_another_form_takes_the_place_of_the_one_below() -> None:
    """In `stream.request`; and examples see forms as objects."""
    assert check_mapping(MAPPING, "m.yaml", Surroundings(mapping_schema(), {}, str)).diagnostics == ()
    mapping = load(MAPPING)
    assert ask(mapping).backend_request().body == b'{"q":"hi"}'
    assert ask(mapping, stream=True).backend_request().body == b"q=hi"


def test_a_wrong_example_of_a_form_is_told() -> None:
    """By its field."""
    text = MAPPING.replace("body: {q: hi}", "body: {q: ho}")
    (found,) = check_mapping(text, "m.yaml", Surroundings(mapping_schema(), {}, str)).diagnostics
    assert (found.code, found.label) == ("E501", 'body.q: "ho" expected, "hi" came')


@pytest.mark.parametrize("one", BODIES)
def test_there_is_one_body(one: str) -> None:
    """Two are refused, whichever they are."""
    values = {key: "a: b" if key in ("body", "body_form", "body_multipart") else "a" for key in BODIES}
    for other in BODIES[BODIES.index(one) + 1 :]:
        both = ", ".join(f"{key}: {json.dumps({'a': 'b'}) if ':' in values[key] else 'a'}" for key in (one, other))
        chat_ = f"chat: {{request: {{{both}}}, response: {{text: t}}}}\n"
        text = f"oaiproxy: 1\nmodels: [m]\nbackend: {{url: 'https://b.test'}}\n{chat_}"
        _, found = findings_of(text)
        assert [(each.code, each.message) for each in found] == [
            ("E105", f"`chat.request` cannot hold `{one}` and `{other}` together")
        ]
