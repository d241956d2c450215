"""The targets of fuzz/run.py run, and find nothing in a short time; that they can find something is shown too."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import pytest
from hypothesis import strategies as st
from support import ROOT

RUN = ROOT / "fuzz/run.py"


@pytest.fixture(scope="module")
def fuzz() -> Any:
    """The module, which is in no package."""
    spec = importlib.util.spec_from_file_location("fuzz_run", RUN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.thorough
@pytest.mark.parametrize(
    "target", ["framings", "bodies", "requests", "selectors", "templates", "mappings", "configs", "replies"]
)
def test_a_target_finds_nothing(fuzz: Any, target: str) -> None:
    """In a few seconds; a longer run is for a quiet machine."""
    assert fuzz.run(target, 2, 1) > 0


def test_what_fails_is_found(fuzz: Any) -> None:
    """An error that is not ours comes out, after it was made as small as can be."""
    seen = []

    def broken(case: int) -> None:
        seen.append(case)
        if case >= 1000:
            raise KeyError(case)

    fuzz.TARGETS["broken"] = (broken, st.integers(0, 10**6))
    try:
        with pytest.raises(KeyError, match="1000"):
            fuzz.run("broken", 60)
    finally:
        del fuzz.TARGETS["broken"]
    assert seen[-1] == 1000


def test_what_takes_too_long_is_found(fuzz: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A case that does not end is broken off."""

    def endless(case: int) -> None:
        while True:
            pass

    monkeypatch.setitem(fuzz.TARGETS, "endless", (endless, st.just(0)))
    monkeypatch.setattr(fuzz, "SECONDS_OF_A_CASE", 0.1)
    with pytest.raises(fuzz.TooLongError):
        fuzz.run("endless", 60)


def test_an_unknown_target_is_told(
    fuzz: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With those that there are."""
    monkeypatch.setattr(sys, "argv", [str(RUN), "nothing"])
    with pytest.raises(SystemExit, match=r"^2$"):
        fuzz.main()
    told = capsys.readouterr().err
    assert all(name in told for name in fuzz.TARGETS)
