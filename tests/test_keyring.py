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
    turn = holder.begin()
    with pytest.raises(ClientError) as caught:
        holder.begin()
    assert (caught.value.status, caught.value.type, caught.value.code) == (
        429,
        "rate_limit_error",
        "rate_limit_exceeded",
    )
    assert (caught.value.retry_after, caught.value.retry) == (1, True)
    turn.leave()
    holder.begin().leave()


def test_a_request_ends_when_all_have_left_it() -> None:
    """A response that is made in the background is part of the request that began it."""
    (holder,) = Keyring([key("k", "s", requests=1)]).holders.values()
    turn = holder.begin()
    turn.hold()
    turn.leave()
    assert holder.usage.requests == 1
    turn.leave()
    assert holder.usage.requests == 0


def test_what_is_under_way_counts_in_the_next_configuration_too() -> None:
    """By the name, also where the key itself is a new one."""
    before = Keyring([key("k", "s", requests=2)])
    (old,) = before.holders.values()
    turn = old.begin()
    (new,) = Keyring([key("k", "t", requests=1)], before).holders.values()
    with pytest.raises(ClientError):
        new.begin()
    turn.leave()
    new.begin()
    assert old.usage.requests == 1


def test_to_take_a_key_out_and_back_gives_it_no_more() -> None:
    """What is under way still counts; what is not is forgotten."""
    first = Keyring([key("k", "s", requests=1), key("other", "o")])
    (old, _) = first.holders.values()
    turn = old.begin()
    without = Keyring([key("new", "n")], first)
    assert without.usage.keys() == {"k", "new"}
    (again,) = Keyring([key("k", "s", requests=1)], without).holders.values()
    with pytest.raises(ClientError):
        again.begin()
    turn.leave()
    assert Keyring([key("new", "n")], without).usage.keys() == {"new"}
    again.begin()
