"""The models of the backends that are asked for them: fetched at the start, now and then, and when one is unknown."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Dict
from dataclasses import replace
from types import MappingProxyType
from typing import TypeAlias

from oaiproxy.canonical import Call, Identity
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import ApiError, BackendError
from oaiproxy.exchange import BackendRequest, Exchange
from oaiproxy.failures import redact
from oaiproxy.formats import WHOLE
from oaiproxy.logs import Log
from oaiproxy.mapping import Endpoint, Mapping, Operation
from oaiproxy.modellist import ModelList
from oaiproxy.picks import Envelope
from oaiproxy.sender import Sender
from oaiproxy.sinks import Plan

Lists: TypeAlias = Dict[tuple[str, str], list[str]]
"""The models of backends, by the files of their mappings and their addresses."""
MAX_BYTES = 8 << 20
"""Of an answer."""
TIMEOUT_SECONDS = 30.0
"""For a whole answer; a mapping's own limit counts where it is shorter."""
START_SECONDS = 10.0
"""How long a start waits for the first lists."""
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 60.0
AGAIN_SECONDS = 10.0
"""How long no list is asked for because of an unknown model, after one was."""
_CALL = Call("chat", "", stream=False, include_usage=False, messages=[], fields={})
_PLAN = Plan(lambda value, envelope: (), streamed=False)


class Discovery:
    """Keeps the lists of these mappings. `publish` is given all mappings whenever a list changes.

    The last good list stays when a backend fails. A name that two mappings have is the earlier one's, and one that a
    mapping writes down is never another's. Lists that are `known` from before stand until they come anew.
    """

    def __init__(
        self,
        mappings: Sequence[Mapping],
        sender: Sender,
        log: Log,
        publish: Callable[[list[Mapping]], None],
        known: Lists = MappingProxyType({}),
    ) -> None:
        self._mappings = list(mappings)
        self._written = {name for mapping in mappings for name in mapping.models}
        self._sender = sender
        self._log = log
        self._publish = publish
        self._found = {
            index: known[mapping.file, mapping.backend.url]
            for index, mapping in enumerate(mappings)
            if mapping.model_list is not None and (mapping.file, mapping.backend.url) in known
        }
        self._tasks: list[asyncio.Task[None]] = []
        self._again: asyncio.Task[None] | None = None
        self._asked = -AGAIN_SECONDS

    async def start(self) -> None:
        """Fetch all lists once, and then from time to time until `close`."""
        listed = [(index, mapping.model_list) for index, mapping in enumerate(self._mappings)]
        firsts = []
        if self._found:
            self._publish(self._merged())
        for index, models in listed:
            if models is not None:
                first = asyncio.Event()
                if index not in self._found:
                    firsts.append(asyncio.create_task(first.wait()))
                self._tasks.append(asyncio.create_task(self._keep(index, models, first)))
        if firsts:
            _, late = await asyncio.wait(firsts, timeout=START_SECONDS)
            for task in late:
                task.cancel()

    def lists(self) -> Lists:
        """The lists that it has."""
        mappings = self._mappings
        return {(mappings[index].file, mappings[index].backend.url): names for index, names in self._found.items()}

    async def close(self) -> None:
        """Stop asking."""
        tasks = [*self._tasks, *([self._again] if self._again else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def look_again(self) -> None:
        """Fetch all lists, for a model that is unknown; whoever asks meanwhile waits for the same answers."""
        now = asyncio.get_running_loop().time()
        if self._again is None or self._again.done():
            if now - self._asked < AGAIN_SECONDS:
                return
            self._asked = now
            self._again = asyncio.create_task(self._fetch_all())
        await asyncio.shield(self._again)

    async def _fetch_all(self) -> None:
        listed = [(index, mapping.model_list) for index, mapping in enumerate(self._mappings)]
        await asyncio.gather(*(self._fetch(index, models) for index, models in listed if models is not None))

    async def _keep(self, index: int, models: ModelList, first: asyncio.Event) -> None:
        retry = FIRST_RETRY_SECONDS
        while True:
            good = await self._fetch(index, models)
            first.set()
            wait = models.every if good else min(retry, models.every)
            retry = FIRST_RETRY_SECONDS if good else min(retry * 2, LAST_RETRY_SECONDS)
            await asyncio.sleep(wait)

    async def _fetch(self, index: int, models: ModelList) -> bool:
        """Whether the list came; it is published if it is another one."""
        mapping = self._mappings[index]
        try:
            names = await self._names(mapping, models)
        except (ApiError, ValueError, TimeoutError) as error:
            reason = str(error) or "no answer in time"
            if isinstance(error, ApiError) and error.detail:
                reason += f": {error.detail}"
            self._log.write("warning", "models_list", mapping=mapping.name, error=redact(reason, mapping.secrets))
            return False
        if names != self._found.get(index):
            self._found[index] = names
            self._publish(self._merged())
            self._log.write("info", "models_list", mapping=mapping.name, models=len(names))
        return True

    async def _names(self, mapping: Mapping, models: ModelList) -> list[str]:
        timeouts = mapping.backend.timeouts
        async with asyncio.timeout(min(TIMEOUT_SECONDS, timeouts.total)):
            reply = await self._sender.send(request_of(mapping, models), mapping.backend)
            data = b""
            try:
                while piece := await reply.read():
                    data += piece
                    if len(data) > MAX_BYTES:
                        raise ValueError("the answer is too large")
            finally:
                reply.close()
        if not 200 <= reply.status < 300:
            raise BackendError(f"the backend answered {reply.status}")
        return models.names(data, Envelope(reply.status, reply.headers))

    def _merged(self) -> list[Mapping]:
        taken = set(self._written)
        merged = []
        for index, mapping in enumerate(self._mappings):
            new = [name for name in self._found.get(index, ()) if name not in taken]
            taken.update(new)
            merged.append(replace(mapping, models={**mapping.models, **{name: name for name in new}}))
        return merged


def request_of(mapping: Mapping, models: ModelList) -> BackendRequest:
    """What asks for the list: made as other requests are, of names that are absent. Raises ApiError."""
    endpoint = Endpoint(Operation(models.request, _PLAN, WHOLE), None, frozenset(("request.*",)))
    token = os.urandom(16).hex()
    uuid = f"{token[:8]}-{token[8:12]}-4{token[13:16]}-a{token[17:20]}-{token[20:]}"
    identity = Identity(f"req_{token}", token, uuid, time.time())
    asked = replace(mapping, endpoints={_CALL.endpoint: endpoint}, backend=replace(mapping.backend, websocket=False))
    return Exchange(asked, _CALL, DOORS[_CALL.endpoint].encoder(_CALL, identity), identity).backend_request()
