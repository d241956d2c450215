"""An operation of an API's document to the call that it describes: address, headers, credentials and body."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode, urljoin, urlsplit

from oaiproxy import apiwords, jsontext
from oaiproxy.apioperations import Operation, parameters
from oaiproxy.apispecs import Spec, SpecError, items, mapping, pointer
from oaiproxy.apiwords import plain
from oaiproxy.flatschemas import Purpose
from oaiproxy.initial import name_of
from oaiproxy.jsontext import Json
from oaiproxy.nodes import short
from oaiproxy.samples import Sample
from oaiproxy.schemavalues import LEFT_OUT, Values

LOCAL = "http://localhost:8000"
"""The server of a document that names none, which is what frameworks on one's own machine write."""
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"

_IGNORED = {"accept", "content-type", "authorization"}
"""Header parameters that OpenAPI says are to be ignored."""
_SECRET = re.compile(
    "apikey|accesskey|subscriptionkey|secret|(^|api|auth|access|bearer|session)token$|^key$|authorization$|password|credential"
)


@dataclass(slots=True)
class _Parts:
    """What parameters and credentials add to a call."""

    path: str
    query: list[tuple[str, str]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    form: dict[str, Json] = field(default_factory=dict)
    body: Json = LEFT_OUT
    cookies: list[str] = field(default_factory=list)


def call(spec: Spec, operation: Operation, server: str | None, notes: list[str]) -> Sample:
    """The call, without its answers. `server` is the address that it is sent to where the document is not to say it.

    What a person should know is added to `notes`. Raises SpecError.
    """
    values = Values.of_document(spec, Purpose.REQUEST, notes)
    parts = _Parts(operation.path)
    base = _server(values, operation, server).rstrip("/")
    variable = re.sub("[^A-Z0-9]+", "_", api_name(spec, base).upper()).strip("_")
    key = f"${'API_' * variable[:1].isdigit()}{variable}_API_KEY"
    for parameter, place in parameters(spec, operation):
        _add(values, parameter, place, parts, key, operation)
    for name in re.findall(r"\{([^{}/]+)\}", parts.path):
        notes.append(f"the document does not say what `{short(name)}` in the path is: it is sent as it stands")
        parts.path = parts.path.replace("{" + name + "}", quote(plain(name), safe=""))
    _credentials(spec, operation, parts, key, notes)
    media, body = _body(values, operation, parts)
    if media:
        parts.headers["content-type"] = media
    if parts.cookies:
        parts.headers["cookie"] = "; ".join(parts.cookies)
    url = base + parts.path
    if parts.query:
        url += ("&" if "?" in url else "?") + "&".join(f"{_quoted(name)}={_quoted(text)}" for name, text in parts.query)
    return Sample(operation.method, url, tuple(parts.headers.items()), None if body is LEFT_OUT else body)


def streaming(sample: Json, spec: Spec, operation: Operation) -> Json:
    """The body that asks for the stream: the flag for it set, where there is one."""
    if not isinstance(sample, dict):
        return sample
    flag = next((name for name in sample if plain(name) in apiwords.STREAMS), None) or _flag(spec, operation)
    return {**sample, flag: True} if flag else sample


def _flag(spec: Spec, operation: Operation) -> str | None:
    """The property of the body that asks for the stream."""
    schema, place = _body_schema(Values.of_document(spec, Purpose.REQUEST), operation)
    properties = mapping(Values.of_document(spec, Purpose.REQUEST).flat(schema, place).get("properties"))
    return next((name for name in properties if plain(name) in apiwords.STREAMS), None)


def api_name(spec: Spec, url: str) -> str:
    """What to call the API: by its host, or by its title where that is one's own machine."""
    named = name_of(url)
    if named != name_of(LOCAL):
        return named
    words = [word for word in re.findall("[a-z0-9]+", spec.title.lower()) if word not in ("api", "rest", "http")]
    return "-".join(words)[:40].strip("-") or named


def _quoted(text: str) -> str:
    """Percent-encoded, but for what stands for a secret."""
    return text if re.fullmatch(r"\$[A-Z0-9_]+", text) else quote(text, safe="")


def _server(values: Values, operation: Operation, given: str | None) -> str:
    spec = values.schemas.spec
    if spec.swagger:
        address = _swagger_server(spec, operation)
    else:
        lists = (operation.node.get("servers"), operation.shared.get("servers"), spec.data.get("servers"))
        first = next((mapping(each[0]) for each in map(items, lists) if each), {})
        address = _filled(first)
    address = address if _splits(address) else ""
    if given is not None:
        relative = address if not urlsplit(address).netloc else ""
        return urljoin(given.rstrip("/") + "/", relative.lstrip("/")) if relative else given
    if urlsplit(address).scheme in ("http", "https") and urlsplit(address).netloc:
        return address
    if address.startswith("//"):
        return "https:" + address
    values.schemas.note(
        f"the document does not say where the API is: `{LOCAL}` is taken; change it, or give `--server`"
    )
    return urljoin(LOCAL, address if address.startswith("/") else "/")


def _splits(address: str) -> bool:
    """Whether it can be taken apart at all."""
    try:
        urlsplit(address)
    except ValueError:
        return False
    return True


def _swagger_server(spec: Spec, operation: Operation) -> str:
    host, base = spec.data.get("host"), spec.data.get("basePath")
    schemes = items(operation.node.get("schemes")) or items(spec.data.get("schemes"))
    scheme = "https" if "https" in schemes or not schemes else str(schemes[0])
    path = "/" + base.strip("/") if isinstance(base, str) else "/"
    return f"{scheme}://{host}{path}" if isinstance(host, str) and host else path


def _filled(server: dict[str, Json]) -> str:
    """A server's address with its variables' defaults."""
    address = server.get("url")
    if not isinstance(address, str) or len(address) > 2000:
        return ""
    for name, variable in [*mapping(server.get("variables")).items()][:50]:
        stated = mapping(variable)
        value = stated.get("default", next(iter(items(stated.get("enum"))), name))
        address = address.replace("{" + name + "}", str(value)[:200])
    return re.sub(r"[{}\s]", "", address)


def _add(values: Values, parameter: dict[str, Json], place: str, parts: _Parts, key: str, operation: Operation) -> None:
    name, where = parameter["name"], parameter["in"]
    if where == "body":
        return
    own = plain(name)
    if where == "header" and name.lower() in _IGNORED - {"authorization"}:
        return
    secret = bool(_SECRET.search(own)) and own not in apiwords.PARAMETERS
    wanted = parameter.get("required") is True or where == "path" or _known(own, operation)
    if not wanted and not (secret and where == "header"):
        return
    if secret and where in ("header", "query", "cookie"):
        text: Json = f"Bearer {key}" if own == "authorization" else key
    else:
        text = _parameter(values, parameter, place)
    if text is LEFT_OUT or text is None:
        return
    shown = _text(text)
    match where:
        case "path":
            parts.path = parts.path.replace("{" + name + "}", quote(shown, safe="") or own)
        case "query":
            parts.query += [(name, _text(each)) for each in (text if isinstance(text, list) else [text])]
        case "header":
            parts.headers[name.lower()] = re.sub(r"[\r\n]+", " ", shown)
        case "cookie":
            parts.cookies.append(f"{name}={shown}")
        case "formData":
            parts.form[name] = text


def _known(name: str, operation: Operation) -> bool:
    """Whether an optional parameter is one to try: the prompt, or one of generation."""
    if name in apiwords.PARAMETERS or name in (*apiwords.MODELS, *apiwords.SYSTEMS):
        return True
    return name in apiwords.PROMPTS and "requestBody" not in operation.node


def _parameter(values: Values, parameter: dict[str, Json], place: str) -> Json:
    content = [*mapping(parameter.get("content")).values()]
    described = mapping(content[0]) if content else parameter
    given = values.example(described, place)
    if given is not LEFT_OUT:
        return given
    schema = described.get("schema", parameter)
    if schema is parameter:  # Swagger 2.0 has the schema's words beside the name
        schema = {key: value for key, value in parameter.items() if key not in ("in", "name", "required", "$ref")}
    return values.of(schema, place, (parameter["name"],))


def _text(value: Json) -> str:
    match value:
        case str():
            return value
        case bool() | dict() | list() | None:
            return jsontext.dump(value).decode()
    return str(value)


def _credentials(spec: Spec, operation: Operation, parts: _Parts, key: str, notes: list[str]) -> None:
    """Add what is to be sent of credentials: those of the first requirement that asks for any."""
    stated = operation.node.get("security", spec.data.get("security"))
    wanted: Json = next((each for each in items(stated) if mapping(each)), {})
    holder = spec.data if spec.swagger else mapping(spec.data.get("components"))
    schemes = mapping(holder.get("securityDefinitions" if spec.swagger else "securitySchemes"))
    for number, name in enumerate([*mapping(wanted)][:10]):
        scheme = mapping(spec.follow(schemes.get(name), pointer("#/components/securitySchemes", name))[0])
        value = key if not number else f"{key}_{number + 1}"
        match scheme.get("type"):
            case "apiKey":
                _api_key(scheme, value, parts)
            case "http" | "basic":
                kind = str(scheme.get("scheme", "basic")).lower()
                shown = f"{value.removesuffix('_API_KEY')}_USER:{value.removesuffix('_API_KEY')}_PASSWORD"
                parts.headers.setdefault("authorization", f"{kind.capitalize()} {shown if kind == 'basic' else value}")
                if kind not in ("basic", "bearer"):
                    notes.append(f"the security scheme `{short(name)}` is `{short(kind)}`: it needs a mapping's `auth`")
            case "oauth2" | "openIdConnect":
                parts.headers.setdefault("authorization", f"Bearer {value}")
                notes.append(f"the security scheme `{short(name)}` gives tokens by OAuth 2: `{value}` is one of them")
            case kind:
                shown = f"is `{short(str(kind))}`" if kind else "is not in the document"
                notes.append(f"the security scheme `{short(name)}` {shown}: add what it needs to `backend.auth`")


def _api_key(scheme: dict[str, Json], value: str, parts: _Parts) -> None:
    name = scheme.get("name")
    if not isinstance(name, str) or not name:
        return
    match scheme.get("in"):
        case "query":
            parts.query = [each for each in parts.query if each[0] != name] + [(name, value)]
        case "cookie":
            parts.cookies.append(f"{name}={value}")
        case _:
            says = str(scheme.get("description", "")) + str(scheme.get("x-bearer-format", ""))
            bearer = name.lower() == "authorization" and "basic" not in says.lower()
            parts.headers[name.lower()] = f"Bearer {value}" if bearer else value


def _body_schema(values: Values, operation: Operation) -> tuple[Json, str]:
    """The schema of the request's body."""
    spec = values.schemas.spec
    if spec.swagger:
        for parameter, place in parameters(spec, operation):
            if parameter["in"] == "body":
                return parameter.get("schema", {}), pointer(place, "schema")
        return {}, ""
    _, content, place = _media(spec, operation)
    return content.get("schema", {}), pointer(place, "schema")


def _media(spec: Spec, operation: Operation) -> tuple[str, dict[str, Json], str]:
    """The media type of the request's body, what the document says of it, and where."""
    node, place = spec.follow(operation.node.get("requestBody"), pointer(operation.place, "requestBody"))
    content = mapping(mapping(node).get("content"))
    media = min(content, key=_preference, default="")
    return media.partition(";")[0].strip().lower(), mapping(content.get(media)), pointer(place, "content", media)


def _preference(media: str) -> int:
    name = media.partition(";")[0].strip().lower()
    if name == "application/json":
        return 0
    if name.endswith("+json") or name in ("*/*", "application/*"):
        return 1
    return {FORM: 2, MULTIPART: 3, "text/plain": 4}.get(name, 5)


def _body(values: Values, operation: Operation, parts: _Parts) -> tuple[str, Json]:
    """The media type and the body."""
    spec = values.schemas.spec
    if spec.swagger:
        consumes = items(operation.node.get("consumes")) or items(spec.data.get("consumes"))
        if parts.form:
            return (MULTIPART, parts.form) if MULTIPART in consumes else (FORM, urlencode(_flat(parts.form)))
        schema, place = _body_schema(values, operation)
        return ("application/json", values.of(schema, place)) if place else ("", LEFT_OUT)
    media, content, place = _media(spec, operation)
    if not media:
        return "", LEFT_OUT
    given = values.example(content, place)
    schema, where = content.get("schema", {}), pointer(place, "schema")
    body = given if given is not LEFT_OUT else values.of(schema, where)
    if isinstance(given, dict):
        body = _completed(values, given, schema, where)
    if body is LEFT_OUT:
        raise SpecError("the request's body could not be made from its schema", where, "; ".join(values.schemas.notes))
    if media in ("*/*", "application/*"):
        media = "application/json"
    if media == FORM and isinstance(body, dict):
        return media, urlencode(_flat(body))
    return media, _texts(body) if media == MULTIPART and isinstance(body, dict) else body


def _completed(values: Values, given: dict[str, Json], schema: Json, place: str) -> dict[str, Json]:
    """The document's example with the parameters of generation that it leaves out."""
    made = Values.of_document(values.schemas.spec, Purpose.REQUEST).of(
        {**values.flat(schema, place), "example": None}, place
    )
    if not isinstance(made, dict):
        return given
    had = {apiwords.PARAMETERS[plain(name)][0] for name in given if plain(name) in apiwords.PARAMETERS}
    more = {
        name: value
        for name, value in made.items()
        if name not in given and plain(name) in apiwords.PARAMETERS and apiwords.PARAMETERS[plain(name)][0] not in had
    }
    return {**given, **more}


def _flat(body: dict[str, Json]) -> list[tuple[str, str]]:
    return [
        (name, _text(each)) for name, value in body.items() for each in (value if isinstance(value, list) else [value])
    ]


def _texts(body: dict[str, Json]) -> dict[str, Json]:
    return {name: value if isinstance(value, str) else _text(value) for name, value in body.items()}
