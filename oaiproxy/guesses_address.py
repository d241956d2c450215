"""The path of a sample to the path of a request, with the model in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import unquote

from oaiproxy.guesses_auth import variables
from oaiproxy.guesses_names import MODEL_SEGMENTS
from oaiproxy.leaves import plain


@dataclass(frozen=True, slots=True)
class Address:
    """A path, and what was found in it."""

    path: str
    """As it is sent."""
    template: str
    model: str = ""
    missing: tuple[str, ...] = ()


def address(path: str, models: Sequence[str], *, named: bool) -> Address:
    """What a path holds. `models` are names that models may have; `named` says that the body names the model."""
    sent = variables(path or "/")
    gaps = re.findall(r"\{[\w .-]+\}|<[\w .-]+>", re.sub(r"\$\{[^}]*\}", "", sent))
    missing = tuple(f"the path has a gap, `{gap}`: write there what stands in the address of your API" for gap in gaps)
    if named:
        return Address(sent, sent, missing=missing)
    for model in models:
        for written in dict.fromkeys((model, model.replace("/", "%2F"), model.replace(":", "%3A"))):
            before, found, after = sent.partition(f"/{written}") if written else ("", "", "")
            if found and after[:1] in ("", "/", ":"):
                held = "{{ model | split('/') }}" if "/" in written else "{{ model }}"
                return Address(sent, f"{before}/{held}{after}", model, missing)
    for before, segment in pairwise(sent.split("/")):
        if plain(before) in MODEL_SEGMENTS and segment and "$" not in segment and segment not in gaps:
            written = segment.partition(":")[0]
            template = sent.replace(f"/{before}/{written}", f"/{before}/{{{{ model }}}}", 1)
            return Address(sent, template, unquote(written), missing)
    return Address(sent, sent, missing=missing)


def spoken(path: str, prompt: str) -> str:
    """The segment of a path that is a prompt, as it is written there: one of several words, or `prompt`."""
    for segment in path.split("/"):
        text = unquote(segment)
        if segment and (text == prompt or (not prompt and (" " in text.strip() or text.endswith("?")))):
            return segment
    return ""
