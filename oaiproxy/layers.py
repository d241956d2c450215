"""A mapping and those that it extends, laid over each other as YAML nodes: what is replaced is never resolved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from oaiproxy.composer import compose
from oaiproxy.diagnostics import Diagnostic, Span, did_you_mean
from oaiproxy.nodes import ListNode, MappingNode, Node, ScalarNode, SourceText, short

MAX_BASES = 8
"""Mappings that one starts from, each from the next."""
OWN = ("extends", "name", "examples")
"""Keys that a mapping never takes from another."""
WHOLE = (("models",), ("backend", "auth"))
"""Mappings of which another one takes the place whole."""
_BODIES = ("body", "body_text", "body_form", "body_multipart", "body_base64")
_FORMS = {"request": (_BODIES, ("path", "url")), "chat_template": (("name", "text", "file"),)}
"""Forms of one thing in a block, of which one takes the place of another."""
_NULLS = ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, slots=True)
class Base:
    """A mapping to start from: `file` is what findings call it, `key` tells it from all others however it is named."""

    file: str
    key: str
    text: str
    read_file: Callable[[str], str]
    bases: Bases


@dataclass(frozen=True, slots=True)
class Bases:
    """What one file can extend. `open` takes a name or path as it is written and raises OSError or ValueError."""

    open: Callable[[str], Base]
    shipped: Sequence[str] = ()


def _nowhere(name: str) -> Base:
    raise FileNotFoundError(2, "No such file or directory", name)


NO_BASES = Bases(_nowhere)
"""Where there is nothing to extend."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The file that a node stands in, and how the files are read that it names."""

    source: SourceText
    read_file: Callable[[str], str]


@dataclass(slots=True)
class Layers:
    """The nodes of all files as those of one. `origins` has the nodes of the bases, and of mappings made of two.

    `extended` tells by whom each base is extended. `broken` tells that a base is not usable, for reasons in `found`.
    """

    root: MappingNode
    origins: dict[Node, Origin] = field(default_factory=dict)
    extended: dict[str, str] = field(default_factory=dict)
    found: list[Diagnostic] = field(default_factory=list)
    broken: bool = False
    texts: dict[str, str] = field(default_factory=dict)
    """What the bases hold, by their files."""


def lay(root: MappingNode, source: SourceText, bases: Bases, key: str) -> Layers:
    """The root over what it extends, over what that extends, and so on."""
    layers = Layers(root)
    chain = [root]
    keys = [key]
    while (name := _extended(chain[-1])) is not None:
        place = source.span(name.start, name.end)
        base = _open(name, place, bases, keys, layers)
        if base is None:
            return layers
        layers.extended.setdefault(base.file, source.file)
        source, bases = SourceText(base.file, base.text.removeprefix("\ufeff")), base.bases
        layers.texts[base.file] = source.text
        below, found = compose(source)
        layers.found += found
        if not isinstance(below, MappingNode):
            if below is not None:
                message = f"`{base.file}` is no mapping file: its top level is not a mapping"
                layers.found.append(
                    Diagnostic("E107", message, place, "name another", "write `key: value` lines there")
                )
            layers.broken = True
            return layers
        origin = Origin(source, base.read_file)
        layers.origins.update((node, origin) for node in _nodes(below))
        chain.append(below)
        keys.append(base.key)
    merged = chain.pop()
    while chain:
        kept = {name: entry for name, entry in merged.entries.items() if name not in OWN}
        merged = _over(MappingNode(merged.start, merged.end, kept, merged.size, merged.height), chain.pop(), layers, ())
    layers.root = merged
    return layers


def attributed(found: Diagnostic, extended: Mapping[str, str]) -> Diagnostic:
    """The finding; one in a file that another extends says so."""
    by = extended.get(found.span.file) if found.span else None
    return replace(found, help=f"{found.help}\n`{by}` extends this file".strip()) if by else found


def _extended(root: MappingNode) -> ScalarNode | None:
    """The value of `extends`; what is no text is left to the schema."""
    _, node = root.entries.get("extends", (None, None))
    return node if isinstance(node, ScalarNode) and (node.style or node.text not in _NULLS) else None


def _open(name: ScalarNode, place: Span, bases: Bases, keys: Sequence[str], layers: Layers) -> Base | None:
    def refuse(code: str, message: str, label: str, help_: str = "") -> None:
        layers.found.append(Diagnostic(code, message, place, label, help_))
        layers.broken = True

    text = name.text
    shown = short(text)
    if "${" in text or "{{" in text:
        refuse("E107", f"`{shown}` is no name of a mapping", "write the name itself: nothing is replaced in it")
        return None
    if len(keys) > MAX_BASES:
        message = f"more than {MAX_BASES} mappings extend each other in a row"
        refuse("E108", message, "extend one of those before", "write what the last ones say into one file")
        return None
    try:
        base = bases.open(text)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or "it cannot be a path").lower()
        is_path = "/" in text or text.endswith((".yaml", ".yml"))
        message = f"the mapping `{shown}` cannot be read: {reason}" if is_path else f"no mapping `{shown}` ships"
        known = ", ".join(bases.shipped)
        help_ = "a path ends in `.yaml` and is relative to this file" + (
            f"; shipped mappings: {known}" if known else ""
        )
        label = did_you_mean(text.removesuffix(".yaml"), bases.shipped)
        refuse("E107", message, label, help_)
        return None
    if base.key in keys:
        refuse("E108", f"`{shown}` extends itself", "leave it out, or extend another mapping")
        return None
    return base


def _over(base: MappingNode, over: MappingNode, layers: Layers, path: tuple[str, ...]) -> MappingNode:
    """`over` laid on `base`: mappings merge deep, all else replaces, null deletes what is there."""
    replaced = _replaced(over, path)
    entries = {key: entry for key, entry in base.entries.items() if key not in replaced}
    for key, (key_node, node) in over.entries.items():
        below = entries.get(key)
        if below is not None and _is_null(node):
            del entries[key]
            continue
        at = (*path, key)
        if (
            below is not None
            and isinstance(node, MappingNode)
            and isinstance(below[1], MappingNode)
            and at not in WHOLE
        ):
            node = _over(below[1], node, layers, at)
        entries[key] = (key_node, node)
    children = [node for _, node in entries.values()]
    size = 1 + sum(1 + child.size for child in children)
    made = MappingNode(over.start, over.end, entries, size, 1 + max((child.height for child in children), default=0))
    if over in layers.origins:
        layers.origins[made] = layers.origins[over]
    return made


def _replaced(over: MappingNode, path: tuple[str, ...]) -> set[str]:
    """The keys below of whose thing this mapping gives another form."""
    given = {key for key, (_, node) in over.entries.items() if not _is_null(node)}
    inside = any(step in _BODIES or step == "variables" for step in path)
    forms = _FORMS.get(path[-1], ()) if path and not inside else ()
    return {key for group in forms if given & set(group) for key in group} - given


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and not (node.style or node.tag) and node.text in _NULLS


def _nodes(root: Node) -> Iterator[Node]:
    """The node and all below it, those of keys too; what stands in several places comes once."""
    seen: set[Node] = set()
    rest = [root]
    while rest:
        node = rest.pop()
        if node in seen:
            continue
        seen.add(node)
        yield node
        if isinstance(node, ListNode):
            rest.extend(node.items)
        elif isinstance(node, MappingNode):
            rest.extend(part for entry in node.entries.values() for part in entry)
