"""A sample of a failure to the `errors` of a mapping that read it."""

from __future__ import annotations

from collections.abc import Mapping

from oaiproxy.failures import find_message
from oaiproxy.jsontext import Json
from oaiproxy.leaves import Path, at, leaves, plain, selector

_ABOUT = frozenset(
    {
        *("message", "msg", "error", "errors", "detail", "details", "title", "reason", "description", "type", "code"),
        *("status", "statuscode", "httpcode", "errorcode", "errortype", "errormessage", "requestid", "traceid", "id"),
        *("timestamp", "time", "path", "param", "params", "instance", "trace", "stack", "estimatedtime", "retryafter"),
        *("success", "ok", "result", "data", "messages", "hint", "help", "docs", "documentationurl"),
    }
)
"""Names of what failures are told by: an answer that has others too is none, but for what calls itself an error."""
_SAYS_SO = ("error", "failed", "failure", "fail", "exception")
_WHAT: Mapping[str, tuple[str, ...]] = {
    "message": ("message", "errormessage", "msg", "detail", "reason", "description", "title", "error"),
    "type": ("type", "errortype", "kind"),
    "code": ("code", "errorcode"),
    "retry_after": ("retryafter", "retrydelay", "estimatedtime"),
}


def is_failure(body: Json, status: int = 200) -> bool:
    """Whether an answer tells of a failure; where nothing says so, it is none."""
    if status >= 300:
        return True
    if not isinstance(body, dict):
        return False
    named = {plain(key): value for key, value in body.items()}
    word = next((named[key] for key in ("type", "status", "state") if isinstance(named.get(key), str)), "")
    if str(word).lower() in _SAYS_SO or (isinstance(named.get("error"), dict) and find_message(named["error"])):
        return True
    if not _ABOUT.issuperset(named) or not find_message(body):
        return False
    refused = any(named.get(key) is False for key in ("success", "ok"))
    coded = any(_is_code(named.get(key)) for key in ("code", "status", "statuscode", "httpcode", "errorcode"))
    return (
        refused or coded or bool(named.get("error") or named.get("errors")) or bool({"detail", "errortype"} & {*named})
    )


def _is_code(value: Json) -> bool:
    """Whether it is a code of a failure: a number of HTTP's failures, or a word in small or large letters alone."""
    if isinstance(value, str) and not value.isdecimal():
        return bool(value) and value.replace("_", "").isalnum() and value.lower() not in ("ok", "success", "completed")
    return not isinstance(value, bool) and str(value or "").isdecimal() and int(value) >= 300


def failure(body: Json) -> tuple[dict[str, str], str]:
    """The keys of `errors`, and the message that they find."""
    made: dict[str, str] = {}
    for sink, names in _WHAT.items():
        found = [(names.index(plain(str(path[-1]))), len(path), path) for path in _told(body, sink) if _is(path, names)]
        if found:
            made[sink] = selector(min(found)[2])
    return made, find_message(body)


def _is(path: Path, names: tuple[str, ...]) -> bool:
    return bool(path) and plain(str(path[-1])) in names


def _told(body: Json, sink: str) -> list[Path]:
    """Where something of that kind may stand."""
    kinds = str if sink in ("message", "type") else (str, int, float)
    found = [path for path, value in leaves(body) if value and isinstance(value, kinds) and not isinstance(value, bool)]
    return [path for path in found if sink != "type" or str(at(body, path)).lower() not in _SAYS_SO]


def shown(message: str) -> str:
    """A message as a comment has room for it."""
    line = " ".join(message.split()).replace("`", "'")
    return f"{line[:57]}..." if len(line) > 60 else line or "without a message"
