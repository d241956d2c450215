"""The echo of prompts: before whatever a choice says, and never in place of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import IDENTITY, events

from oaiproxy.endpoints import completions
from oaiproxy.endpoints.echo import Echo
from oaiproxy.errors import BackendError
from oaiproxy.events import Delta, Event, Finish, Head, ToolCallDelta


def texts(talk: list[Event], prompts: list[str], width: int = 1, *, stream: bool) -> dict[int, str]:
    """The text of each choice."""
    body = {"model": "m", "prompt": "p", "stream": stream}
    encoder = Echo(completions.encoder(completions.parse(body), IDENTITY), prompts, width)
    sent = b"".join(map(encoder.feed, talk)) + encoder.close(None)
    made: list[Any] = [json.loads(each) for each in events(sent) if each != "[DONE]"] if stream else [json.loads(sent)]
    found: dict[int, str] = {}
    for each in made:
        for choice in each["choices"]:
            found[choice["index"]] = found.get(choice["index"], "") + choice["text"]
    return found


TALKS: dict[str, tuple[list[Event], dict[int, str]]] = {
    "text": ([Head("i"), Delta("a"), Delta("b"), Finish("stop")], {0: "pab"}),
    "nothing": ([Finish("length")], {0: "p"}),
    "reasoning": ([Delta("hm", "reasoning_content"), Delta("a"), Finish("stop")], {0: "pa"}),
    "a refusal": ([Delta("no", "refusal"), Finish("stop")], {0: "pno"}),
    "text and a refusal": ([Delta("a"), Delta("no", "refusal"), Finish("stop")], {0: "pa"}),
    "another prompt": ([Delta("a"), Finish("stop"), Delta("b", choice=1), Finish("stop", 1)], {0: "pa", 1: "qb"}),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("talk", "wanted"), TALKS.values(), ids=TALKS)
def test_a_choice_begins_with_its_prompt(talk: list[Event], wanted: dict[int, str], stream: bool) -> None:
    """Once, whatever comes first."""
    assert texts(talk, ["p", "q"], stream=stream) == wanted


def test_choices_of_one_prompt_begin_alike() -> None:
    """As many as were asked for."""
    talk: list[Event] = [Finish("stop", choice) for choice in range(4)]
    assert texts(talk, ["p", "q"], 2, stream=False) == {0: "p", 1: "p", 2: "q", 3: "q"}


def test_what_cannot_be_told_still_cannot() -> None:
    """A tool call is a mismatch."""
    with pytest.raises(BackendError, match="called a tool"):
        texts([ToolCallDelta(0, "c", "f", "{}")], ["p"], stream=True)
