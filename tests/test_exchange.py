"""A client's request becomes the backend's: what is sent to the backend."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import HI, IDENTITY, ask, chat, example, load

from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import ClientError, ProxyError
from oaiproxy.exchange import Exchange


def test_the_request_is_what_the_mapping_describes() -> None:
    """Method, address, credentials and body of the example API."""
    request = ask(example(), temperature=0.7).backend_request()
    assert (request.method, request.url) == ("POST", "https://backend.test/api/generate")
    assert request.headers == {
        "Content-Type": "application/json",
        "Authorization": "Bearer key-of-the-operator",
    }
    assert request.body == b'{"prompt":"hi","params":{"temp":0.7}}'


def test_a_stream_is_asked_for_where_the_mapping_says() -> None:
    """The stream's own request is laid over the endpoint's."""
    assert ask(example(), stream=True).backend_request().url == "https://backend.test/api/generate/stream"


def test_a_body_of_which_all_is_absent_is_the_empty_object() -> None:
    """A backend that is sent JSON gets JSON."""
    mapping = chat(response="{text: t}", request="{path: /g, body: {temp: '{{ temperature }}'}}")
    request = ask(mapping).backend_request()
    assert (request.body, request.headers) == (b"{}", {"Content-Type": "application/json"})


def test_a_text_body_is_sent_as_it_is_rendered() -> None:
    """`body_text` is not JSON: it is text in UTF-8, where the mapping does not say otherwise."""
    mapping = chat(response="{text: t}", request="{path: /g, body_text: 'say: {{ prompt }}'}")
    request = ask(mapping).backend_request()
    assert (request.body, request.headers) == (b"say: hi", {"Content-Type": "text/plain; charset=utf-8"})
    mapping = chat(response="{text: t}", request="{path: /g, headers: {content-type: a/b}, body_text: x}")
    assert ask(mapping).backend_request().headers == {"content-type": "a/b"}


@pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE"])
def test_the_mappings_content_type_stands(name: str) -> None:
    """There is one content type, however the mapping writes its name."""
    mapping = chat(response="{text: t}", request=f"{{path: /g, headers: {{{name}: a/b}}, body: {{p: 1}}}}")
    assert ask(mapping).backend_request().headers == {name: "a/b"}


TOOL = {"type": "function", "function": {"name": "f"}}


HEADERS = {
    "{X-Version: '2'}": {"X-Version": "2"},
    "{x-version: '2', x-b: c}": {"x-version": "2", "x-b": "c"},
    "{X-VERSION: ~}": {},
    "{}": {"x-Version": "1"},
}


@pytest.mark.parametrize(("headers", "sent"), HEADERS.items())
@pytest.mark.parametrize("stream", [False, True])
def test_headers_merge_whatever_the_case_of_their_names(headers: str, sent: dict[str, str], stream: bool) -> None:
    """A request's header stands in place of the backend's, and a stream's in place of both; `~` deletes."""
    backend = "{url: 'http://b', headers: {x-Version: '1'}}"
    if stream:
        blocks = {"stream": f"{{format: sse, text: t, request: {{headers: {headers}}}}}"}
        mapping = chat(**blocks, request="{path: /g, query: {q: '{{ prompt }}'}}", backend=backend)
    else:
        request = f"{{path: /g, query: {{q: '{{{{ prompt }}}}'}}, headers: {headers}}}"
        mapping = chat(response="{text: t}", request=request, backend=backend)
    assert ask(mapping, stream=stream).backend_request().headers == sent


def test_credentials_are_laid_over_everything() -> None:
    """No template replaces or doubles the header or the query parameter of a credential."""
    request = "{path: /g, headers: {AUTHORIZATION: '{{ user }}', x-a: 1}, query: {key: '{{ user }}', b: 2}}"
    mapping = chat(response="{text: t}", request=request, backend="{url: 'http://b', auth: {bearer: secret}}")
    assert ask(mapping, user="me").backend_request().headers == {"x-a": "1", "Authorization": "Bearer secret"}
    mapping = chat(response="{text: t}", request=request, backend="{url: 'http://b', auth: {query: key, value: s&t}}")
    assert ask(mapping, user="me").backend_request().url == "http://b/g?key=s%26t&b=2"


def test_a_request_does_not_print_its_secrets() -> None:
    """Neither headers nor body are in the representation, which may end in a log."""
    shown = repr(ask(example()).backend_request())
    assert "key-of-the-operator" not in shown
    assert "hi" not in shown


PATHS = {
    "a/b": "a%2Fb",
    "ä?#": "%C3%A4%3F%23",
    "..%2f": "..%252f",
    "a b": "a%20b",
    "x:y@z": "x%3Ay@z",
}


@pytest.mark.parametrize(("value", "segment"), PATHS.items())
def test_a_value_in_a_path_stays_one_segment(value: str, segment: str) -> None:
    """What a client writes cannot lead to another address."""
    mapping = chat(response="{text: t}", request="{path: '/u/{{ user }}/g', body: {a: 1}}")
    assert ask(mapping, user=value).backend_request().url == f"https://backend.test/v1/u/{segment}/g"


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_a_value_that_is_no_segment_is_refused(value: str) -> None:
    """Empty and dotted segments change the address: the client is told."""
    mapping = chat(response="{text: t}", request="{path: '/u/{{ user }}/g', body: {a: 1}}")
    with pytest.raises(ClientError, match="segment"):
        ask(mapping, user=value).backend_request()


def test_a_path_whose_pieces_make_dots_is_refused() -> None:
    """However the mapping puts them together."""
    path = "/u/{% if user == 'up' %}..{% endif %}/g"
    with pytest.raises(ClientError, match="path"):
        ask(chat(response="{text: t}", request=f'{{path: "{path}", body: {{a: 1}}}}'), user="up").backend_request()


def test_what_a_path_needs_and_the_client_left_out_is_named() -> None:
    """A field without which the address cannot be made is a missing parameter."""
    mapping = chat(response="{text: t}", request="{path: '/u/{{ user }}', body: {a: 1}}")
    with pytest.raises(ClientError) as caught:
        ask(mapping).backend_request()
    assert (caught.value.param, caught.value.code) == ("user", "missing_required_parameter")


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "\0", "\x7f"])
def test_a_header_value_with_a_control_character_is_refused(value: str) -> None:
    """A client cannot add headers."""
    mapping = chat(response="{text: t}", request="{path: /g, headers: {x-user: '{{ user }}'}, body: {a: 1}}")
    with pytest.raises(ClientError, match="x-user"):
        ask(mapping, user=value).backend_request()


def test_the_query_is_encoded_and_repeats_lists() -> None:
    """Names and values are percent-encoded; a list is one pair for each item; absent and null pairs are left out."""
    request = "{path: /g, query: {'a b': '{{ prompt }}', s: '{{ stop }}', t: '{{ temperature }}', z: '{{ none }}'}}"
    url = ask(chat(response="{text: t}", request=request), stop=["x&y", "é"]).backend_request().url
    assert url == "https://backend.test/v1/g?a%20b=hi&s=x%26y&s=%C3%A9"


def test_a_static_path_is_made_an_address() -> None:
    """What is not allowed in an address is encoded in the mapping's own text too."""
    url = ask(chat(response="{text: t}", request="{path: /génial g, body: {a: 1}}")).backend_request().url
    assert url == "https://backend.test/v1/g%C3%A9nial%20g"


@pytest.mark.parametrize("body", ["{a: '{{ namespace(x=1) }}'}", "'{{ namespace() }}'"])
def test_a_body_that_is_not_json_is_the_mappings_fault(body: str) -> None:
    """A template that makes other things than data fails as a 500 that is not worth a retry."""
    with pytest.raises(ProxyError) as caught:
        ask(chat(response="{text: t}", request=f"{{path: /g, body: {body}}}")).backend_request()
    assert (caught.value.status, caught.value.code, caught.value.retry) == (500, "mapping_error", False)


def test_an_endpoint_that_the_mapping_does_not_have_is_named() -> None:
    """A model asked at the wrong door is not found there, and the right door is told."""
    mapping = load(
        "oaiproxy: 1\nmodels: [m]\nbackend: {url: 'http://b'}\ncompletions: {request: {}, response: {text: t}}"
    )
    with pytest.raises(ClientError) as caught:
        ask(mapping)
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "model_not_found", "model")
    assert "completions" in caught.value.message


def test_the_choice_of_no_tool_keeps_the_tools_back() -> None:
    """A backend that is not told of `tool_choice: none` is not told of the tools either."""
    tools = [{"type": "function", "function": {"name": "f"}}]
    mapping = chat(response="{text: t}", request="{path: /g, body: {p: '{{ prompt }}', t: '{{ tools }}'}}")
    assert ask(mapping, tools=tools, tool_choice="none").backend_request().body == b'{"p":"hi"}'
    mapping = chat(response="{text: t}", request="{path: /g, body: {c: '{{ tool_choice.mode }}', t: '{{ tools }}'}}")
    body = json.loads(ask(mapping, tools=tools, tool_choice="none").backend_request().body or b"")
    assert body == {"c": "none", "t": [{"name": "f"}]}


def test_the_choice_of_no_tool_keeps_them_back_from_the_raw_request_too() -> None:
    """`request.tools` shows no more than `tools`."""
    tools = [{"type": "function", "function": {"name": "f"}}]
    mapping = chat(response="{text: t}", request="{path: /g, body: {p: '{{ prompt }}', t: '{{ request.tools }}'}}")
    assert b"tools" not in (ask(mapping, tools=tools, tool_choice="none").backend_request().body or b"")
    body = ask(mapping, tools=tools, tool_choice="none").backend_request().body
    assert json.loads(body or b"") == {"p": "hi"}


def test_the_terms_of_an_answer_are_rendered_once() -> None:
    """What `strip` reads of the request, and the strings that the proxy stops at."""
    mapping = chat(
        response="{text: t, strip: {prefix: 'Q: {{ prompt }}', suffix: '{{ seed }}'}}", more="emulate: [stop]"
    )
    exchange = ask(mapping, stop=["a", ""], n=None)
    exchange.backend_request()
    whole = mapping.endpoints["chat"].whole
    assert whole is not None
    terms = exchange.terms(whole.plan)
    assert (terms.prefix, terms.suffix, terms.stop, terms.choices) == ("Q: hi", "", ("a",), 1)
    assert exchange.terms(whole.plan) is terms


def test_a_prefix_that_cannot_be_rendered_is_told_before_anything_is_sent() -> None:
    """As any other template."""
    mapping = chat(response="{text: t, strip: {prefix: 'Q: {{ seed }}'}}")
    with pytest.raises(ClientError) as caught:
        ask(mapping).backend_request()
    assert caught.value.param == "seed"


OF_THE_CLIENT = "{url: 'https://backend.test', client_headers: [X-User]}"
USES = """{path: /x, headers: {x-u: "{{ headers['x-user'] }}"}, body: {h: '{{ headers }}', p: '{{ prompt }}'}}"""


def with_headers(headers: dict[str, str]) -> Exchange:
    mapping = chat(response="{text: t}", backend=OF_THE_CLIENT, request=USES)
    call = DOORS["chat"].parse(HI)
    return Exchange(mapping, call, DOORS["chat"].encoder(call, IDENTITY), IDENTITY, headers)


def test_templates_see_the_listed_headers_of_the_client() -> None:
    """By their lower-case names, and no others."""
    request = with_headers({"x-user": "someone", "x-other": "secret"}).backend_request()
    assert request.headers["x-u"] == "someone"
    assert json.loads(request.body or b"")["h"] == {"x-user": "someone"}


def test_a_header_that_was_not_sent_is_absent() -> None:
    """What is made of it is left out."""
    request = with_headers({}).backend_request()
    assert "x-u" not in request.headers
    assert json.loads(request.body or b"")["h"] == {}


def test_a_header_that_is_no_text_is_made_one() -> None:
    """Bytes that are not UTF-8 come as surrogates, which JSON cannot hold."""
    request = with_headers({"x-user": "caf\udce9"}).backend_request()
    assert request.headers["x-u"] == "caf\ufffd"


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\x00"])
def test_a_header_cannot_bring_in_another(value: str) -> None:
    """Nor any control character."""
    with pytest.raises(ClientError) as caught:
        with_headers({"x-user": value}).backend_request()
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"tools": []}, {}),
        ({"tools": [], "tool_choice": "auto", "parallel_tool_calls": True}, {}),
        ({"tools": [TOOL], "parallel_tool_calls": False}, {"tools": [TOOL], "parallel_tool_calls": False}),
    ],
)
def test_no_tools_are_not_sent_on(fields: dict[str, Any], sent: dict[str, Any]) -> None:
    """An empty list is as good as none, also where the body goes out as it came: backends refuse it."""
    mapping = chat(response="{text: t}", request="{path: /g, body: '{{ request }}'}")
    body = json.loads(ask(mapping, **fields).backend_request().body or b"")
    assert {key: body[key] for key in body.keys() - {"model", "messages"}} == sent
