"""Explanations of small mappings, for the tests of their parts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from support import ROOT, bases_in

from oaiproxy.check import Surroundings, trace_mapping
from oaiproxy.discretion import Discretion
from oaiproxy.explained_sends import Subject
from oaiproxy.explanation import Question, explain
from oaiproxy.steps import Answer
from oaiproxy.tracing import Record

SCHEMA = json.loads((ROOT / "schemas/mapping.schema.json").read_text())
HI: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
HEAD = "oaiproxy: 1\nmodels: [m]\n"


def explained_by(
    text: str,
    body: Mapping[str, Any] = HI,
    *answers: Answer,
    environment: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """The explanation of a request, and of its answers, by a mapping given as text."""
    environment = environment or {}
    surroundings = Surroundings(SCHEMA, environment, str, bases_in(ROOT / "mappings"))
    made = trace_mapping(text, "m.yaml", surroundings)
    assert made is not None
    subject = Subject(made.mapping, made.root, Discretion(made.mapping.secrets, [text], environment))
    return explain(subject, Record(made.trace), Question("chat", dict(body), headers or {}, answers))
