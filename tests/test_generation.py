"""Promises of `oaiproxy.generation`: mappings are served by what runs for them, and all of that ends with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Proxy
from scripted import REQUEST, Backend, Client, answer, fetch, mapping, request
from support import ROOT

from oaiproxy.backends import MOCK_URL
from oaiproxy.generation import Generation
from oaiproxy.loader import Loader
from oaiproxy.routes import Routes
from oaiproxy.state import State

EXAMPLE = ROOT / "mappings/example.yaml"
LISTED = 'models_list: {path: /models, models: "data[].id"}'


@pytest.fixture
async def state(proxy: Proxy) -> State:
    """What serves beside it."""
    return (await proxy(mapping("http://backend.test"))).state


async def test_a_mock_lives_as_long_as_its_mapping(state: State) -> None:
    """It is a backend of its own."""
    loaded, _ = Loader({}).load([("example", EXAMPLE)])
    generation = Generation(loaded, 1)
    assert generation.mocked == {"example"}
    await generation.open(state.sender, state.log)
    url = generation.routes.resolve("your-model").backend.url
    assert url != MOCK_URL
    await generation.leave()
    asked = request({"prompt": "x"}, "/generate")
    assert (await fetch(url, asked)).status == 200
    await generation.close()
    with pytest.raises(ConnectionError):
        await Client.connect(url)


async def test_lists_that_are_known_stand_until_they_come_anew(state: State) -> None:
    """A backend that does not answer now takes no model away; who follows is given each new table."""
    tables: list[Routes] = []
    listed = answer({"data": [{"id": "one"}, {"id": "two"}]})
    async with Backend([REQUEST, listed, REQUEST, answer({}, 503)]) as backend:
        served = [(mapping(backend.url, more=LISTED), Path("test.yaml"))]
        first = Generation(served, 1)
        await first.open(state.sender, state.log)
        first.follow(tables.append)
        assert first.discovery is not None
        assert tables[-1].names() == {"m", "one", "two"}
        second = Generation(served, 1)
        await second.open(state.sender, state.log, first.discovery.lists())
        assert second.routes.names() == {"m", "one", "two"}
        await backend.asked(2)
        assert second.routes.names() == {"m", "one", "two"}
        await first.close()
        await second.close()
