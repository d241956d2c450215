"""Real clients against the proxy in front of a backend that speaks no OpenAI: each suite runs in the client's own home.

`./test.sh --all` runs them; their environments are made once, under `.venv-clients`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from clients.backend import KEY, Parrot
from clients.environments import HERE, PLACE, Counts, counts, environment, node_modules, run, run_pytest
from support import listening

from oaiproxy.loader import Loader

pytestmark = pytest.mark.thorough

SUITES = {
    "openai-1": "openai_python",
    "openai-2": "openai_python",
    "openai-3": "openai_python",
    "langchain": "langchain_standard",
    "pydantic-ai": "pydantic_ai_agents",
    "openai-agents": "openai_agents",
    "instructor": "instructor_modes",
    "anthropic": "anthropic_python",
}
"""Environments, and the suite that runs in each."""
NODE = sorted(path.name for path in (HERE / "node").glob("*.test.mjs"))
"""The suites for Node."""


@pytest.fixture
async def variables(proxy: Any) -> AsyncIterator[dict[str, str]]:
    """What a suite is told: where the proxy and the backend are."""
    async with listening(Parrot().app()) as backend:
        loader = Loader({"RULES_URL": backend, "RULES_KEY": KEY})
        ((mapping, _),) = loader.load([("rules", HERE / "rules.yaml")])[0]
        running = await proxy(mapping)
        yield {"PROXY_URL": running.url, "BACKEND_URL": backend}


def judged(made: Counts, record_property: Callable[[str, object], None], name: str) -> None:
    """Fail with what failed; the counts stand in the report of the run."""
    record_property("clients", f"{name}: {made}")
    assert not made.failed, "\n".join((*made.failed, made.output[-8000:]))
    assert made.passed > 0, made.output


@pytest.mark.parametrize("name", SUITES)
async def test_a_python_client(
    name: str, variables: dict[str, str], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """All of its suite passes."""
    python = await asyncio.to_thread(environment, name)
    judged(await run_pytest(python, SUITES[name], tmp_path / "report.xml", variables), record_property, name)


@pytest.mark.parametrize("name", NODE)
async def test_a_node_client(
    name: str, variables: dict[str, str], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """All of its suite passes; skipped where there is no Node, or its packages cannot be had."""
    if (reason := await asyncio.to_thread(node_modules)) is not None:
        record_property("clients", f"{name}: skipped, {reason}")
        pytest.skip(reason)
    report = tmp_path / "report.xml"
    command = ["node", "--test", "--test-reporter=junit", f"--test-reporter-destination={report}", name]
    output = await run(*command, variables=variables, cwd=PLACE / "node")
    judged(counts(report, output), record_property, name)
