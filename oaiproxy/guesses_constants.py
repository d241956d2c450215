"""What of a sample belongs to that one call and would be sent with every other: sessions, moments, images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from oaiproxy.jsontext import Json
from oaiproxy.leaves import Path, inner, plain

_SESSIONS = frozenset(
    {
        *("sessionid", "session", "sessionhash", "sessionkey", "conversationid", "conversation", "chatid", "threadid"),
        *("dialogid", "dialogueid", "contextid", "parentmessageid", "parentid", "messageid", "conversationkey"),
    }
)
_CALLS = frozenset({"requestid", "traceid", "correlationid", "idempotencykey", "nonce", "transactionid", "callid"})
_MOMENTS = frozenset(
    {
        *("date", "time", "datetime", "timestamp", "now", "today", "ts", "currentdate", "currenttime", "createdat"),
        *("sentat", "requesttime", "requestdate", "localtime"),
    }
)
_MEDIA: Mapping[str, str] = {
    **dict.fromkeys(("image", "images", "imageurl", "imageurls", "img", "imagedata", "picture", "photo"), "images"),
    **dict.fromkeys(("imagebase64", "imageb64", "base64image", "inputimage"), "images"),
    **dict.fromkeys(("file", "files", "attachment", "attachments", "document", "uploads"), "files"),
    **dict.fromkeys(("audio", "audiourl", "audiodata", "inputaudio"), "audio"),
}
_DATA = re.compile(r"data:(image|audio)/.*|[A-Za-z0-9+/\s]{80,}={0,2}", re.DOTALL)


def passing(sample: Json, taken: Mapping[Path, Json]) -> Iterator[tuple[Path, str]]:
    """Where something of one call stands, and what to do about it; `taken` are the places that have templates."""
    found: list[Path] = []
    for path, holder in inner(sample):
        for key, value in holder.items() if isinstance(holder, dict) else ():
            place = (*path, key)
            above = [place[:length] for length in range(len(place) + 1)]
            if value in (None, "", [], {}) or isinstance(value, bool) or any(each in found for each in above):
                continue
            if any(each in taken for each in above) or any(each[: len(place)] == place for each in taken):
                continue
            if told := _told(key, value):
                found.append(place)
                yield place, told


def _told(key: str, value: Json) -> str:
    name = plain(key)
    single = isinstance(value, str | int | float)
    if name in _SESSIONS and single:
        return f"`{key}` is of the sample, and all clients would share it: leave it out, or write `{{{{ uuid }}}}`"
    if name in _CALLS and single:
        return f"`{key}` is of the sample's one call: leave it out, or write `{{{{ request_id }}}}`"
    if name in _MOMENTS and single:
        return f"`{key}` is the moment of the sample: leave it out, or make it of `{{{{ now }}}}`"
    if name in _MEDIA:
        return f"how `{key}` is made of the client's {_MEDIA[name]}: it stands here as in the sample"
    if isinstance(value, str) and _DATA.fullmatch(value) and " " not in value:
        return f"`{key}` is data of the sample, and stands here as it is: say what it is made of"
    return ""
