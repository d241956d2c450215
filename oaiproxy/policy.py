"""What a request uses and its mapping never reads: refused where it changes the answer's meaning, else named."""

from __future__ import annotations

from collections.abc import Mapping

from oaiproxy.canonical import Call
from oaiproxy.parameters import CHAT, COMPLETIONS, Field, Unread, unsupported

_FIELDS: Mapping[str, Mapping[str, Field]] = {"chat": CHAT, "completions": COMPLETIONS}
_MEDIA_READS = ("url", "base64", "media_type", "file_id", "images_base64")


def unread_fields(call: Call, reads: frozenset[str]) -> tuple[str, ...]:
    """The fields that are left out, by name. Raises ClientError for one that cannot be left out."""
    if "request.*" in reads:
        return ()
    dropped = []
    fields = _FIELDS[call.endpoint]
    choice = call.fields.get("tool_choice")
    for key in call.fields:
        field = fields[key]
        if (field.name or key) in reads or f"request.{key}" in reads or field.unread is Unread.IGNORE:
            continue
        if key in ("tools", "tool_choice") and (choice == "none" or "tools" not in call.fields):
            continue
        if field.unread is Unread.REFUSE:
            raise unsupported(key, call.model)
        if key != "messages":
            dropped.append(key)
    if not _reads_conversation(reads) and _has_more_than_is_read(call, reads):
        dropped.append("messages")
    _check_media(call, reads)
    return tuple(dropped)


def _reads_conversation(reads: frozenset[str]) -> bool:
    return bool(reads & {"messages", "turns", "request.messages"})


def _has_more_than_is_read(call: Call, reads: frozenset[str]) -> bool:
    earlier = call.messages[:-1]
    if "system" in reads:
        earlier = [message for message in earlier if message["role"] not in ("system", "developer")]
    return bool(earlier)


def _check_media(call: Call, reads: frozenset[str]) -> None:
    """Images, sound and files are never left out silently."""
    for path in reads:
        name, _, rest = path.partition(".")
        if name in ("messages", "turns", "request") and (
            path.endswith(".*") or rest.rpartition(".")[2] in _MEDIA_READS
        ):
            return
    for index, message in enumerate(call.messages):
        content = message.get("content")
        if not isinstance(content, list):
            continue
        for place, part in enumerate(content):
            if part["type"] not in ("text", "refusal"):
                raise unsupported(f"messages[{index}].content[{place}].type", call.model)
