"""Selectors agree with the library on any expression and any value, and fail as promised on any text."""

import json

import jmespath
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import FRAME

from oaiproxy.selectors import SelectorError, compile_selector

NAMES = ("a", "b", "c")

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from([0.0, 1.0, -0.0, 1.5, 10**20, float("nan"), float("inf")]),
    st.text("ab01", max_size=3),
)
nested = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from((*NAMES, "d e")), inner, max_size=3)
    ),
    max_leaves=15,
)
values = st.one_of(nested, st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, nested)))
constants = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-2, 3), st.sampled_from([0.0, 1.0, 1.5]), st.text("ab01", max_size=2)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(NAMES), inner, max_size=2)),
    max_leaves=3,
)
atoms = st.one_of(
    st.sampled_from(NAMES),
    st.sampled_from(NAMES),
    st.sampled_from(("@", "*", '"d e"', "'a'", "''", "[]", "[*]", "[0]", "[-1]")),
    constants.map(lambda value: f"`{json.dumps(value)}`"),
)
bounds = st.one_of(st.just(""), st.integers(-3, 3).map(str))
steps = st.sampled_from(("", ":", ":1", ":2", ":-1", ":-2"))


def grown(inner):
    """Expressions that are made of smaller ones."""

    def made(template, *parts):
        return st.tuples(*parts).map(lambda chosen: template.format(*chosen))

    names = st.sampled_from(NAMES)
    of_one = "abs avg ceil floor keys length max min reverse sort sum to_array to_number to_string type values not_null"
    of_two = "contains ends_with starts_with join merge not_null"
    return st.one_of(
        made("{}.{}", inner, names),
        made("{}.{}", inner, names),
        made("{}[{}]", inner, st.integers(-2, 2)),
        made("{}[{}:{}{}]", inner, bounds, bounds, steps),
        made("{}[*].{}", inner, names),
        made("{}[]", inner),
        made("{}.*", inner),
        made("{}[?{}]", inner, inner),
        made("{}[?{} {} {}].{}", inner, inner, st.sampled_from(("==", "!=", "<", ">=")), inner, names),
        made("{} {} {}", inner, st.sampled_from(("||", "&&", "|", "==", "!=", "<", "<=", ">", ">=")), inner),
        made("!{}", inner),
        made("({})", inner),
        made("[{}, {}]", inner, inner),
        made("{}.[{}, {}]", inner, inner, inner),
        made("{{a: {}, {}: {}}}", inner, names, inner),
        made("{}.{{b: {}}}", inner, inner),
        made("{}({})", st.sampled_from(of_one.split()), inner),
        made("{}.{}({})", inner, st.sampled_from(of_one.split()), inner),
        made("{}({}, {})", st.sampled_from(of_two.split()), inner, inner),
        made("map(&{}, {})", inner, inner),
        made("{}({}, &{})", st.sampled_from(("sort_by", "min_by", "max_by")), inner, inner),
    )


expressions = st.recursive(atoms, grown, max_leaves=10)


def outcome(evaluate):
    """What comes out, exactly (`True` is not 1, nor 1.0), or the class of what is raised."""
    try:
        return repr(evaluate())
    except Exception as error:
        return type(error)


@settings(max_examples=800, deadline=None)
@given(expressions, values)
@example("a[0].b", {"a": "xy"})
@example("a[0][0]", {"a": ["xy"]})
@example("[0].a", [{"a": 1}, "a"])
@example("a.b.c", ["a"])
@example("[?a < `1`].abs(b)", [{"a": 0, "b": "x"}, {"a": "x"}])
def test_a_selector_answers_as_the_library_does(source, value):
    """The same value, or an error of the same class; and what the library does not parse is refused."""
    try:
        library = jmespath.compile(source)
    except jmespath.exceptions.JMESPathError:
        with pytest.raises(SelectorError):
            compile_selector(source)
        return
    selector = compile_selector(source)
    assert outcome(lambda: selector.evaluate(value, FRAME)) == outcome(lambda: library.search(value))


@settings(max_examples=200, deadline=None)
@given(expressions, values)
def test_a_call_never_raises(source, value):
    """A selector that does not fit a value says None, whatever the value."""
    try:
        selector = compile_selector(source)
    except SelectorError:
        return
    selector(value, FRAME)


WRAPPINGS = (
    "{0} || nope({1})",
    "({0})[?nope({1})].{0}",
    "[{0}, a.nope({1}), {0}]",
    "({0}) == nope({1})",
    "!nope({1}).{0}",
)


@settings(max_examples=200, deadline=None)
@given(expressions, expressions, st.sampled_from(WRAPPINGS))
def test_an_unknown_function_is_found_where_it_stands(before, inside, wrapping):
    """However many calls come before it, within it and after it."""
    source = wrapping.format(before, inside)
    try:
        jmespath.compile(source)
    except jmespath.exceptions.JMESPathError:
        return
    with pytest.raises(SelectorError) as caught:
        compile_selector(source)
    assert source[caught.value.offset :][: caught.value.length] == "nope"


texts = st.one_of(
    st.text(max_size=30), st.lists(st.sampled_from(list("ab.[]?*(){}:,|&!=<>@`'\"-01 \\$")), max_size=20).map("".join)
)


@settings(max_examples=800, deadline=None)
@given(texts)
def test_any_text_is_a_selector_or_a_selector_error_within_it(source):
    """No other exception comes out, and the place of the error and of each warning lies in the text."""
    try:
        found = compile_selector(source).warnings
    except SelectorError as error:
        found = (error,)
    for finding in found:
        assert 0 <= finding.offset <= finding.offset + finding.length <= len(source)
        assert finding.message
