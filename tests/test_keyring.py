"""Promises of the keys: who shows one is known by its hash, and gets what is theirs."""

from __future__ import annotations

from hashlib import sha256

import pytest
from multidict import CIMultiDict

from oaiproxy.config import Key
from oaiproxy.errors import ClientError
from oaiproxy.keyring import Keyring


def key(name: str, secret: str | bytes, **more: object) -> Key:
    data = secret if isinstance(secret, bytes) else secret.encode()
    return Key(name, sha256(data).hexdigest(), **more)  # type: ignore[arg-type]


RING = Keyring([key("one", "sk-one"), key("two", "sk-two", models=["m", "small-*"]), key("odd", b"sk-\xff")])


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ([("Authorization", "Bearer sk-one")], "one"),
        ([("authorization", "bearer sk-two")], "two"),
        ([("api-key", "sk-one")], "one"),
        ([("X-Api-Key", "sk-two")], "two"),
        ([("Authorization", "Bearer sk-one"), ("x-api-key", "sk-other")], "one"),
        ([("Authorization", "Bearer sk-one"), ("Authorization", "Bearer sk-one")], "one"),
        ([("Authorization", "Bearer sk-\udcff")], "odd"),
    ],
)
def test_a_key_is_known(headers: list[tuple[str, str]], name: str) -> None:
    """Wherever its client's library puts it."""
    assert RING.holder(CIMultiDict(headers)).name == name


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ([], 401, "missing_api_key"),
        ([("Authorization", "")], 401, "missing_api_key"),
        ([("Authorization", "Basic c2stb25l")], 401, "missing_api_key"),
        ([("Authorization", "Bearer sk-on")], 401, "invalid_api_key"),
        ([("Authorization", "Bearer sk-one sk-one")], 401, "invalid_api_key"),
        ([("Authorization", "Bearer \udcff\udcfe")], 401, "invalid_api_key"),
        ([("Authorization", "Bearer schlüssel")], 401, "invalid_api_key"),
        ([("Authorization", "Bearer x"), ("api-key", "sk-one")], 401, "invalid_api_key"),
        ([("Authorization", "Bearer sk-one"), ("Authorization", "Bearer sk-two")], 400, "invalid_request"),
        ([("Authorization", "Bearer sk-one"), ("Authorization", "")], 400, "invalid_request"),
        ([("x-api-key", "sk-one"), ("x-api-key", "sk-two")], 400, "invalid_request"),
    ],
)
def test_who_has_none_is_refused(headers: list[tuple[str, str]], status: int, code: str) -> None:
    """And what was shown is not told."""
    with pytest.raises(ClientError) as caught:
        RING.holder(CIMultiDict(headers))
    assert (caught.value.status, caught.value.code) == (status, code)
    assert "sk-" not in caught.value.message


@pytest.mark.parametrize(
    ("model", "allowed"),
    [("m", True), ("small-", True), ("small-a/b\n", True), ("mm", False), ("asmall-", False), ("", False)],
)
def test_a_key_opens_its_models(model: str, allowed: bool) -> None:
    """The whole name must fit."""
    holders = {holder.name: holder for holder in RING.holders.values()}
    assert holders["two"].allows(model) is allowed
    assert holders["one"].allows(model)


@pytest.mark.parametrize("pattern", ["a.c", "a+", "(a|b)", "[a]", "a\\"])
def test_only_the_star_is_a_pattern(pattern: str) -> None:
    """All else is itself."""
    (holder,) = Keyring([key("k", "s", models=[pattern])]).holders.values()
    assert holder.allows(pattern)
    assert not any(holder.allows(other) for other in ("abc", "aa", "a", "b"))


def test_a_key_has_only_so_much_under_way() -> None:
    """And again as much when that has ended, however it ended."""
    (holder,) = Keyring([key("k", "s", requests=1)]).holders.values()
    with holder, pytest.raises(ClientError) as caught:
        holder.__enter__()
    assert (caught.value.status, caught.value.type, caught.value.code) == (
        429,
        "rate_limit_error",
        "rate_limit_exceeded",
    )
    assert (caught.value.retry_after, caught.value.retry) == (1, True)
    with holder:
        pass


def test_what_is_under_way_counts_in_the_next_configuration_too() -> None:
    """By the name, also where the key itself is a new one."""
    before = Keyring([key("k", "s", requests=2)])
    (old,) = before.holders.values()
    with old:
        (new,) = Keyring([key("k", "t", requests=1)], before).holders.values()
        with pytest.raises(ClientError), new:
            pass
    with new:
        assert old.usage.requests == 1
