"""The echo of prompts for backends that have none: each text of an answer begins with what it completes."""

from __future__ import annotations

from collections.abc import Sequence

from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.errors import ApiError
from oaiproxy.events import Delta, Event, Finish, Logprobs, ToolCallDelta, Usage


class Echo(Encoder):
    """Puts prompts before what an encoder writes: each stands before `width` choices, in their order."""

    def __init__(self, encoder: Encoder, prompts: Sequence[str], width: int) -> None:
        self._encoder = encoder
        self.streams = encoder.streams
        self.wants_usage = encoder.wants_usage
        self._prompts = prompts
        self._width = width
        self._begun: set[int] = set()
        self._spoke: set[int] = set()
        self._refusals: dict[int, list[str]] = {}

    def over(self, encoder: Encoder) -> Echo:
        """Puts the same prompts before what another encoder writes."""
        return Echo(encoder, self._prompts, self._width)

    @property
    def content_type(self) -> str:  # type: ignore[override]
        """That of the encoder, which may learn it late."""
        return self._encoder.content_type

    def feed(self, event: Event) -> bytes:
        """The bytes that the event makes. A refusal waits for the end: it stands for what is not there."""
        if not isinstance(event, Delta | Finish | Logprobs | ToolCallDelta):
            return self._encoder.feed(event)
        data, choice = b"", event.choice
        if choice not in self._begun:
            self._begun.add(choice)
            prompt = self._prompts[min(choice // self._width, len(self._prompts) - 1)]
            data = self._encoder.feed(Delta(prompt, choice=choice)) if prompt else b""
        match event:
            case Delta(text=text, kind="refusal"):
                self._refusals.setdefault(choice, []).append(text)
                return data
            case Delta(kind="content"):
                self._spoke.add(choice)
            case Finish() if choice not in self._spoke and (refused := "".join(self._refusals.get(choice, ()))):
                data += self._encoder.feed(Delta(refused, choice=choice))
        return data + self._encoder.feed(event)

    def close(self, usage: Usage | None) -> bytes:
        """The bytes that end the answer."""
        return self._encoder.close(usage)

    def fail(self, error: ApiError) -> bytes:
        """The bytes that tell of a failure."""
        return self._encoder.fail(error)
