"""Promises of `oaiproxy check --update` over all shipped mappings: one broken expectation comes right again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import ROOT

from oaiproxy.cli.update import run_updates
from oaiproxy.loader import Loader
from oaiproxy.rewriting import RewriteError, put

MAPPINGS = sorted((ROOT / "mappings").glob("*.yaml"))


def broken(text: str, replies: list[dict[str, object]]) -> str:
    """The text with another text in the replies of the first example that can be edited so."""
    for index, each in enumerate(replies):
        if isinstance(each.get("text"), str):
            try:
                return put(text, ("examples", index, "replies", "text"), "wrong")
            except RewriteError:
                continue
    raise AssertionError("no example tells a text")


SHARED = {
    "dify": ("text: Rome.\n      finish_reason: stop\n", "Rome.", "text", "said", 2),
    "cloudflare-workers-ai": ("replies: &calls\n", "get_weather, arguments: {city: Rome}", "tool_calls", "calls", 4),
}
"""Of mappings whose examples share what comes out: where, what of it is broken, in which part, the anchor, its uses."""


@pytest.mark.parametrize("name", SHARED)
def test_what_is_shared_is_left_alone(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For every example that shares it, with the line where it is to be edited; as often as it is asked for."""
    place, right, part, anchor, uses = SHARED[name]
    path = tmp_path / f"{name}.yaml"
    text = (ROOT / f"mappings/{name}.yaml").read_text()
    before, found, after = text.partition(place)
    assert found
    rest = found + after
    path.write_text(before + rest.replace(right, right.replace("Rome", "Oslo"), 1))
    wrong = path.read_text()
    line = next(number for number, each in enumerate(wrong.splitlines(), 1) if f"&{anchor}" in each)
    for _ in range(2):
        run_updates([path], Loader({}), environment=False)
        shown = capsys.readouterr()
        told = shown.err.splitlines()
        assert (shown.out, path.read_text(), len(told)) == ("", wrong, uses)
        for each in told:
            assert f"`{path}`: not updated: `examples." in each
            assert f".replies.{part}" in each
            assert f"it is the anchor `&{anchor}` of line {line}, which others share" in each


@pytest.mark.parametrize("name", [path.stem for path in MAPPINGS])
def test_one_broken_expectation_is_mended(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Once and for all: a second time there is nothing to do."""
    folder = Path(shutil.copytree(ROOT / "mappings", tmp_path / "mappings"))
    path = folder / f"{name}.yaml"
    mapping = Loader({}).check(path, environment=False, examples=False).mapping
    assert mapping is not None
    path.write_text(broken(path.read_text(), [{**each.replies} for each in mapping.examples]))
    before = path.read_text()
    codes = {found.code for found in Loader({}).check(path, environment=False).diagnostics}
    assert codes == {"E502"}
    run_updates([path], Loader({}), environment=False)
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "wrong" not in path.read_text()
    assert not Loader({}).check(path, environment=False).diagnostics
    mended = path.read_text()
    assert len(mended.splitlines()) == len(before.splitlines())
    run_updates([path], Loader({}), environment=False)
    shown = capsys.readouterr()
    assert (shown.out, shown.err, path.read_text()) == ("", "", mended)
