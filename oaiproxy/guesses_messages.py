"""A list of messages in a sample to the loop that makes such a list, and to OpenAI's messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from oaiproxy.guesses_names import CONTENT, HISTORY, ROLE, ROLES
from oaiproxy.jsontext import Json
from oaiproxy.leaves import Path, inner, plain
from oaiproxy.yamlwriter import Note, escaped


@dataclass(frozen=True, slots=True)
class Conversation:
    """A list of messages in a request."""

    path: Path
    role: str
    """The key of the role."""
    content: str
    """The key of the text."""
    items: Sequence[dict[str, Json]]
    spelled: Mapping[str, str]
    """OpenAI's roles, as far as the sample shows how the API calls them."""
    history: bool = False
    """Whether the last message stands elsewhere."""

    def like(self, others: Sequence[Mapping[str, str]]) -> Conversation:
        """The same, with the roles that other samples of the API show."""
        known = dict(self.spelled)
        for each in others:
            known = dict(each) | known
        return replace(self, spelled=known)

    @property
    def messages(self) -> list[Json]:
        """The messages as OpenAI has them."""
        made = []
        for item in self.items:
            texts = _texts(item[self.content])
            content: Json = [{"type": "text", "text": each} for each in texts] if len(texts) > 1 else texts[0]
            made.append({"role": ROLES[plain(item[self.role])], "content": content})
        return made

    def tree(self, *, separate: bool) -> tuple[Json, list[str]]:
        """The templates of the list, and what is not known. `separate` says that system text stands elsewhere."""
        alone = separate and "system" not in self.spelled
        source = "messages[:-1]" if self.history else "messages"
        loop = f"m in {source} if m.role != 'system'" if alone else f"m in {source}"
        role, missing = self._role(() if alone else ("system",))
        first = self.items[0]
        rest = {
            key: role if key == self.role else self._content() if key == self.content else _constant(value)
            for key, value in first.items()
        }
        return [{"$for": loop, **rest}], missing

    def _role(self, more: Sequence[str]) -> tuple[Json, list[str]]:
        wanted = ("user", "assistant", *more)
        guessed = {each: self.spelled.get(each) or self._guess(each) for each in wanted}
        unknown = [each for each in wanted if each not in self.spelled]
        if all(ours == theirs for ours, theirs in guessed.items()):
            return "{{ m.role }}", []
        table = ", ".join(f"'{ours}': '{theirs}'" for ours, theirs in guessed.items())
        written = f"{{{{ m.role | map_to({{{table}}}) }}}}"
        if not unknown:
            return written, []
        named = " and ".join(f"`{each}`" for each in unknown)
        told = f"what the API calls the role{'s' if len(unknown) > 1 else ''} {named}: the sample does not show it"
        return Note(written, f"TODO: {told}; this is a guess"), [told]

    def _guess(self, role: str) -> str:
        """What a role that the sample does not show is called, after what it shows."""
        user = self.spelled.get("user", "user")
        if self.content == "parts":
            word = {"assistant": "model", "system": user}[role]
        else:
            word = role
        return word.upper() if user.isupper() else word.capitalize() if user.istitle() else word

    def _content(self) -> Json:
        shapes = [item[self.content] for item in self.items]
        first = shapes[0]
        if isinstance(first, str):
            return "{{ m.text }}"
        part = next(each for each in first if _text(each) is not None)
        if isinstance(part, str):
            return ["{{ m.text }}"]
        key = _text_key(part)
        several = any(len(_texts(each)) > 1 for each in shapes)
        rest = {
            name: "{{ p.text }}" if several and name == key else "{{ m.text }}" if name == key else _constant(value)
            for name, value in part.items()
        }
        return [{"$for": "p in m.parts if p.type == 'text'", **rest}] if several else [rest]


def conversation(sample: Json) -> Conversation | None:
    """The list of messages in a request, if there is one."""
    found = [made for path, value in inner(sample) if (made := _conversation(path, value)) is not None]
    whole = [each for each in found if not each.history]
    return max(whole or found, key=lambda each: len(each.items), default=None)


def _conversation(path: Path, value: Json) -> Conversation | None:
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
        return None
    by_name = {plain(key): key for key in value[0]}
    content = next((by_name[name] for name in CONTENT if name in by_name), None)
    role = next((by_name[name] for name in ROLE if name in by_name and by_name[name] != content), None)
    if role is None or content is None:
        return None
    spelled: dict[str, str] = {}
    for item in value:
        word, said = item.get(role), item.get(content)
        if not isinstance(word, str) or plain(word) not in ROLES or not _texts(said):
            return None
        spelled.setdefault(ROLES[plain(word)], word)
    name = next((plain(step) for step in reversed(path) if isinstance(step, str)), "")
    history = name in HISTORY and ROLES[plain(value[-1][role])] != "user"
    return Conversation(path, role, content, value, spelled, history)


def _texts(content: Json) -> list[str]:
    """The texts of a message; none where it holds something else too."""
    parts = content if isinstance(content, list) else [content]
    texts = [_text(each) for each in parts]
    return [each for each in texts if each is not None] if None not in texts else []


def _text(part: Json) -> str | None:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and (key := _text_key(part)):
        return str(part[key])
    return None


def _text_key(part: dict[str, Json]) -> str:
    return next((key for key in ("text", "content", "value") if isinstance(part.get(key), str)), "")


def _constant(value: Json) -> Json:
    return escaped(value) if isinstance(value, str) else value
