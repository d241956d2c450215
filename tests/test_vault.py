"""Promises of the vault: it knows what was learned, forgets the oldest, and prints nothing."""

from __future__ import annotations

from oaiproxy.failures import redact
from oaiproxy.vault import MAX_LEARNED, Vault


def test_what_it_holds_is_redacted() -> None:
    """What was there from the beginning, and what came later."""
    vault = Vault(["of-the-file", ""])
    vault.learn("a-token", None, "")
    assert redact("of-the-file a-token other", vault) == "*** *** other"
    assert (sorted(vault), len(vault), "a-token" in vault) == (["a-token", "of-the-file"], 2, True)


def test_it_is_bounded_and_keeps_what_is_used() -> None:
    """The file's own secrets stay, and of the others the newest."""
    vault = Vault(["of-the-file"])
    vault.learn("first", "second")
    vault.learn(*(f"token-{number}" for number in range(MAX_LEARNED - 2)))
    vault.learn("first")
    vault.learn("one more")
    assert len(vault) == MAX_LEARNED + 1
    assert {"of-the-file", "first", "one more"} <= set(vault)
    assert "second" not in vault


def test_it_does_not_print_itself() -> None:
    """Not in a traceback either."""
    assert "of-the-file" not in f"{Vault(['of-the-file'])!r} {Vault(['of-the-file'])}"
