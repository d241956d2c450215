"""Promises of guessing in addresses: the model is found where it stands, and a gap is told."""

from __future__ import annotations

import pytest

from oaiproxy.guesses_address import Address, address


@pytest.mark.parametrize(
    ("path", "models", "template", "model"),
    [
        ("/generate", [], "/generate", ""),
        ("", [], "/", ""),
        ("/v1/models/small:generate", [], "/v1/models/{{ model }}:generate", "small"),
        ("/model/a.b-v1%3A0/converse", [], "/model/{{ model }}/converse", "a.b-v1:0"),
        (
            "/v1/models/acme/large/predictions",
            ["acme/large"],
            "/v1/models/{{ model | split('/') }}/predictions",
            "acme/large",
        ),
        ("/run/@x/acme/large", ["@x/acme/large"], "/run/{{ model | split('/') }}", "@x/acme/large"),
        ("/large-2/say", ["large"], "/large-2/say", ""),
        ("/models", [], "/models", ""),
    ],
)
def test_the_model_in_a_path(path: str, models: list[str], template: str, model: str) -> None:
    """By the names that an answer or the user gives, else by the segment before it."""
    made = address(path, models, named=False)
    assert (made.template, made.model) == (template, model)
    assert made.path == (path or "/")


def test_the_path_stays_where_the_body_names_the_model() -> None:
    """One place is enough."""
    assert address("/models/small", ["small"], named=True) == Address("/models/small", "/models/small")


def test_variables_and_gaps() -> None:
    """A variable becomes a reference; a gap is for the reader to fill."""
    made = address("/accounts/$ACCOUNT_ID/{flow-id}/say", [], named=False)
    assert made.template == "/accounts/${ACCOUNT_ID:-account-id}/{flow-id}/say"
    assert made.missing == ("the path has a gap, `{flow-id}`: write there what stands in the address of your API",)
