"""Promises of the tables of names: they are written as names are compared, and no name means two things."""

from __future__ import annotations

from itertools import combinations

from oaiproxy import guesses_names
from oaiproxy.guesses_names import COUNTS, PARAMETERS
from oaiproxy.leaves import plain


def test_names_are_written_as_they_are_compared() -> None:
    """Or they would never be found."""
    tables = [value for name, value in vars(guesses_names).items() if name.isupper()]
    words = [word for table in tables if isinstance(table, frozenset) for word in table]
    words += [word for table in (*PARAMETERS.values(), *COUNTS.values()) for word in table]
    words += [*guesses_names.PROMPT, *guesses_names.TEXT, *guesses_names.ROLES, *guesses_names.ID, *guesses_names.TYPE]
    assert [word for word in words if plain(word) != word] == []


def test_no_name_means_two_things() -> None:
    """Two parameters, or two counts."""
    for table in (PARAMETERS, COUNTS):
        for one, other in combinations(table, 2):
            assert not table[one] & table[other]


def test_every_parameter_is_known_by_its_own_name() -> None:
    """OpenAI's."""
    assert [name for name, names in PARAMETERS.items() if plain(name) not in names] == []
