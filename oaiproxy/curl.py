"""A curl command to the call that it makes."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from oaiproxy.jsontext import Json, JsonError, parse
from oaiproxy.samples import Sample
from oaiproxy.shellwords import ShellError, Word, words

_ALIASES = {
    "-H": "--header", "-X": "--request", "-u": "--user", "-G": "--get", "-d": "--data", "-F": "--form",
    "-I": "--head", "-A": "--user-agent", "-b": "--cookie", "-e": "--referer", "-T": "--upload-file",
    "--data-ascii": "--data",
}  # fmt: skip
_IGNORED = {
    *("-s", "-S", "-L", "-N", "-k", "-v", "-i", "-f", "-g", "-#", "-0", "-1", "-2", "-4", "-6", "-j", "-O", "-J", "-n"),
    *(
        "--silent",
        "--show-error",
        "--location",
        "--no-buffer",
        "--insecure",
        "--verbose",
        "--include",
        "--fail",
        "--globoff",
    ),
    *("--compressed", "--http1.0", "--http1.1", "--http2", "--http2-prior-knowledge", "--http3", "--progress-bar"),
    *(
        "--fail-with-body",
        "--fail-early",
        "--location-trusted",
        "--tlsv1.2",
        "--tlsv1.3",
        "--ipv4",
        "--ipv6",
        "--no-keepalive",
    ),
    *(
        "--remote-name",
        "--path-as-is",
        "--raw",
        "--tcp-nodelay",
        "--no-progress-meter",
        "--buffer",
        "--trace-time",
        "--ssl-reqd",
    ),
}
_IGNORED_WITH_VALUE = {
    *("-o", "-m", "-w", "-x", "-E", "-c", "-r", "-y", "-Y", "-D"),
    *(
        "--output",
        "--max-time",
        "--connect-timeout",
        "--write-out",
        "--proxy",
        "--cert",
        "--key",
        "--cacert",
        "--retry",
    ),
    *("--retry-delay", "--retry-max-time", "--cookie-jar", "--resolve", "--interface", "--limit-rate", "--dump-header"),
    *("--trace", "--trace-ascii", "--stderr", "--max-redirs", "--ciphers", "--keepalive-time", "--noproxy"),
}
_WITH_VALUE = {
    *(
        "--header",
        "--request",
        "--user",
        "--data",
        "--data-raw",
        "--data-binary",
        "--data-urlencode",
        "--json",
        "--form",
    ),
    *(
        "--form-string",
        "--url",
        "--user-agent",
        "--cookie",
        "--referer",
        "--oauth2-bearer",
        "--upload-file",
        "--url-query",
    ),
}
_FLAGS = {"--get", "--head"}


class CurlError(ValueError):
    """The command cannot be read. `position` is the place in its text, where one is known."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position


@dataclass(slots=True)
class _Command:
    url: str = ""
    method: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    form: dict[str, Json] = field(default_factory=dict)
    json: bool = False
    get: bool = False


def parse_curl(text: str, read_file: Callable[[str], str]) -> Sample:
    """The call that a command makes, as https://curl.se/docs/manpage.html has it.

    `read_file` gives the text of a file that `@name` means, and raises OSError. Variables such as `$KEY` stay as they
    are written. Credentials of `--user` become the header that they are sent in. Raises CurlError.
    """
    try:
        given = words(text)
    except ShellError as error:
        raise CurlError(str(error), error.position) from error
    while given and (
        re.fullmatch(r"[A-Za-z_]\w*=.*", given[0].text, re.DOTALL) or given[0].text in ("$", "sudo", "time")
    ):
        given.pop(0)
    if not given:
        raise CurlError("there is no command: give a curl command, as an API's documentation shows it", 0)
    if given[0].text.rsplit("/", 1)[-1] not in ("curl", "curl.exe"):
        raise CurlError(f"this is no curl command: it begins with `{given[0].text[:40]}`", given[0].position)
    made = _Command()
    for option, word, value in _options(given[1:]):
        _apply(made, option, word, value, read_file)
    return _sample(made)


def _options(given: list[Word]) -> list[tuple[str, Word, str]]:
    """The options in their order, each by its long name with its value; an address is `--url`."""
    made: list[tuple[str, Word, str]] = []
    rest = list(given)
    while rest:
        word = rest.pop(0)
        text = word.text
        if word.quoted or not text.startswith("-") or text == "-":
            made.append(("--url", word, text))
        elif text.startswith("--"):
            name, equals, value = text.partition("=")
            name = _ALIASES.get(name, name)
            if name in _WITH_VALUE | _IGNORED_WITH_VALUE:
                made.append((name, word, value if equals else _value(name, word, rest)))
            elif name in _FLAGS:
                made.append((name, word, ""))
            elif name not in _IGNORED and not name.startswith("--no-"):
                raise CurlError(
                    f"the option `{name}` is not known here: leave it out if the call works without it", word.position
                )
        else:
            made += _letters(word, rest)
    return made


def _letters(word: Word, rest: list[Word]) -> list[tuple[str, Word, str]]:
    made = []
    letters = word.text[1:]
    while letters:
        short, letters = f"-{letters[0]}", letters[1:]
        name = _ALIASES.get(short, short)
        if name in _WITH_VALUE | _IGNORED_WITH_VALUE:
            made.append((name, word, letters or _value(short, word, rest)))
            break
        if name in _FLAGS:
            made.append((name, word, ""))
        elif name not in _IGNORED:
            raise CurlError(
                f"the option `{short}` is not known here: leave it out if the call works without it", word.position
            )
    return made


def _value(name: str, word: Word, rest: list[Word]) -> str:
    if not rest:
        raise CurlError(f"the option `{name}` has no value: the command ends behind it", word.position)
    return rest.pop(0).text


def _apply(made: _Command, option: str, word: Word, value: str, read_file: Callable[[str], str]) -> None:
    match option:
        case "--url" if not made.url:
            made.url = value
        case "--url" if value.strip():
            raise CurlError(
                f"there are two addresses, the second is `{value[:60]}`: is a quote or a `\\` missing before it?",
                word.position,
            )
        case "--request":
            made.method = value.upper()
        case "--header":
            name, colon, told = value.partition(":")
            if colon and told.strip():
                made.headers.append((name.strip().lower(), told.strip()))
        case "--user":
            made.headers.append(
                ("authorization", "Basic " + (value if "$" in value else b64encode(value.encode()).decode()))
            )
        case "--oauth2-bearer":
            made.headers.append(("authorization", f"Bearer {value}"))
        case "--user-agent" | "--referer" | "--cookie":
            made.headers.append((option.removeprefix("--"), value))
        case "--data" | "--data-binary" | "--json" | "--upload-file":
            file = value if option == "--upload-file" else value[1:] if value.startswith("@") else None
            text = value if file is None else _read(file, word, read_file)
            made.data.append(
                re.sub(r"[\r\n]", "", text) if option == "--data" and file is not None and not _is_json(text) else text
            )
            made.json |= option == "--json"
        case "--data-raw":
            made.data.append(value)
        case "--data-urlencode" | "--url-query":
            name, equals, told = value.partition("=")
            made.data.append(
                f"{name}={quote(told, safe='')}" if equals and name else quote(told if equals else value, safe="")
            )
            made.get |= option == "--url-query"
        case "--form" | "--form-string":
            name, _, told = value.partition("=")
            made.form[name] = _read(told[1:], word, read_file) if told.startswith(("<",)) else told
        case "--get":
            made.get = True
        case "--head":
            made.method = "HEAD"


def _is_json(text: str) -> bool:
    try:
        parse(text)
    except JsonError:
        return False
    return True


def _read(name: str, word: Word, read_file: Callable[[str], str]) -> str:
    try:
        return read_file(name)
    except OSError as error:
        reason = (error.strerror or "it is not there").lower()
        raise CurlError(f"the file `{name}` that the command sends cannot be read: {reason}", word.position) from error


def _sample(made: _Command) -> Sample:
    if not made.url:
        raise CurlError("the command has no address: it needs `https://...`")
    url = made.url if "://" in made.url else f"http://{made.url}" if not made.url.startswith("$") else made.url
    headers = dict(made.headers)
    if made.json:
        headers = {"content-type": "application/json", "accept": "application/json"} | headers
    if made.get:
        url += ("&" if urlsplit(url).query else "?") * bool(made.data) + "&".join(made.data)
        return Sample(made.method or "GET", url, tuple(headers.items()))
    if made.form:
        return Sample(
            made.method or "POST", url, tuple((headers | {"content-type": "multipart/form-data"}).items()), made.form
        )
    if not made.data:
        return Sample(made.method or "GET", url, tuple(headers.items()))
    text = "".join(made.data) if made.json else "&".join(made.data)
    return Sample(made.method or "POST", url, tuple(headers.items()), _body(text, headers))


def _body(text: str, headers: dict[str, str]) -> Json:
    """The body: JSON where it is, or is said to be; else text. What is to be a form is marked so, as curl does."""
    kind = headers.get("content-type", "")
    try:
        value = parse(text)
        if isinstance(value, dict | list) and "x-www-form-urlencoded" not in kind:
            return value
        if isinstance(value, str) and "json" in kind:
            return value
    except JsonError as error:
        if "json" in kind or text.lstrip().startswith(("{", "[")):
            raise CurlError(f"the body is not JSON: {error}") from error
    headers.setdefault("content-type", "application/x-www-form-urlencoded")
    return text
