"""Whatever a backend says of when to come back, clients are told a sound number of seconds, or none."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiproxy.failures import MAX_RETRY_AFTER, from_status, waiting_time
from oaiproxy.middleware import error_response

NOW = 1_700_000_000.0
VALUES = st.one_of(
    st.text("0123456789.,:+-eEnaifsmhdTZ GMT\té", max_size=80),
    st.integers().map(str),
    st.floats().map(str),
    st.integers(0, 10**12).map(lambda number: f"{number}s"),
    st.datetimes().map(lambda at: format_datetime(at.replace(tzinfo=UTC), usegmt=True)),
    st.datetimes().map(lambda at: at.isoformat()),
    st.tuples(st.integers(1, 400), st.sampled_from(["", "s", "ms", "d", ".5"])).map(
        lambda pair: "9" * pair[0] + pair[1]
    ),
)
HEADERS = st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms"]), VALUES)


@pytest.mark.row(26, 27)
@given(HEADERS, st.sampled_from([429, 500, 503]))
def test_any_retry_after(headers: dict[str, str], status: int) -> None:
    """From one second to a minute; and no retry at all where it was more."""
    seconds = waiting_time(headers, NOW)
    assert seconds is None or seconds >= 0
    made = error_response(from_status(status, "words", retry_after=seconds), "req_1").headers
    assert ("Retry-After" in made) == (seconds is not None)
    if seconds is not None:
        assert 1 <= int(made["Retry-After"]) <= MAX_RETRY_AFTER
        assert (made.get("x-should-retry") == "false") == (status == 429 and seconds > MAX_RETRY_AFTER)


@pytest.mark.row(26)
@given(st.integers(0, 59))
def test_a_date_is_as_good_as_seconds(seconds: int) -> None:
    """Whoever says it in HTTP's own form."""
    at = format_datetime(datetime.fromtimestamp(NOW + seconds, UTC), usegmt=True)
    assert waiting_time({"retry-after": at}, NOW) == waiting_time({"retry-after": str(seconds)}, NOW) == seconds
