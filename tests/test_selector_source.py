"""Selector source: a syntax tree, or an error at its place; and warnings of what surely means something else."""

import pytest

from oaiproxy.selector_source import MAX_DEPTH, MAX_LENGTH, SelectorError, read_selector


def error_of(source):
    with pytest.raises(SelectorError) as caught:
        read_selector(source)
    error = caught.value
    assert str(error) == error.message
    return error.message, error.offset, error.length, error.help


def warnings_of(source):
    return [
        (warning.message, source[warning.offset :][: warning.length], warning.help)
        for warning in read_selector(source)[1]
    ]


ERRORS = {
    "": ("the selector is empty", 0, 0, "write `@` for the whole value"),
    " \t\n": ("the selector is empty", 0, 3, "write `@` for the whole value"),
    "a.": ("the selector ends too early", 2, 0, "something must follow `.`"),
    "a || ": ("the selector ends too early", 4, 0, "something must follow `||`"),
    "join('', a": ("the selector ends too early", 10, 0, "close `(` with `)`"),
    "a[?b == c": ("the selector ends too early", 9, 0, "close `[?` with `]`"),
    "{a: b": ("the selector ends too early", 5, 0, "close `{` with `}`"),
    "[(a)": ("the selector ends too early", 4, 0, "close `[` with `]`"),
    "a)": ("`)` is not expected here", 1, 1, ""),
    "a..b": ("`.` is not expected here", 2, 1, ""),
    " a.0": ("`0` is not expected here", 3, 1, "write `[0]` in place of `.0` for an item of a list"),
    "a == 10": ("`10` is not expected here", 5, 2, "write a number in back-ticks: `` `10` ``"),
    "a.'b c'": ("`'b c'` is not expected here", 2, 5, 'write a field\'s name in double quotes: `"b c"`'),
    'a["b"]': ('`"b"` is not expected here', 2, 3, "write a field's name after a dot, without brackets"),
    "a or b": ("`or` is not expected here", 2, 2, "write `||`"),
    "a and b": ("`and` is not expected here", 2, 3, "write `&&`"),
    "not a": ("`a` is not expected here", 4, 1, "write `!`"),
    "a & b": ("`&` is not expected here", 2, 1, "write `&&`"),
    "a = b": ("`=` is not expected here", 2, 1, "compare with `==`"),
    "a =": ("`=` is not expected here", 2, 1, "compare with `==`"),
    "a + b": ("`+` is not expected here", 2, 1, "there is no arithmetic; compute with a `{{ }}` expression instead"),
    "$.a": ("`$` is not expected here", 0, 1, "write `a`"),
    "$..a": ("`$` is not expected here", 0, 1, "leave the `$` out: a selector starts at the value itself"),
    "/a/0/b": ("`/` is not expected here", 0, 1, "write `a[0].b`"),
    ".a[0].b": ("`.` is not expected here", 0, 1, "write `a[0].b`"),
    "$['a'].b": ("`$` is not expected here", 0, 1, "leave the `$` out: a selector starts at the value itself"),
    "a.b-c.d": ("`-` is not expected here", 3, 1, 'write `a."b-c".d`; there is no arithmetic'),
    "b-c": ("`-` is not expected here", 1, 1, "write `'\"b-c\"'`, with both kinds of quotes; there is no arithmetic"),
    "a # b": ("`#` is not expected here", 2, 1, ""),
    "a == 'b": ("the quote ' is never closed", 5, 2, "end the quotation with '"),
    "a == `1": ("the quote ` is never closed", 5, 2, "end the quotation with `"),
    'a."b': ('the quote " is never closed', 2, 2, 'end the quotation with "'),
    'a."\\x"': ('what the quote " starts is not valid as JSON', 2, 4, ""),
    'a || "length"(b)': ('`"length"` is called as a function', 5, 8, "write `length` without quotes"),
    "a || lenght(b)": ("there is no function `lenght()`", 5, 6, "did you mean `length`?"),
    "a[?zzz(b)].length(c)": ("there is no function `zzz()`", 3, 3, ""),
    "length(a)[?b].lenght(c)": ("there is no function `lenght()`", 14, 6, "did you mean `length`?"),
    "length(a)[?nope(b)].zzz(c)": ("there is no function `nope()`", 11, 4, ""),
    "(lenght)(a)": ("there is no function `lenght()`", 1, 6, "did you mean `length`?"),
    "a || join(b)": ("`join()` takes 2 arguments, not 1", 5, 4, "write `join(string, array-string)`"),
    "length(a, b)": ("`length()` takes 1 argument, not 2", 0, 6, "write `length(string|array|object)`"),
    "data.[0].x": ("`0` is not expected here", 6, 1, "leave the `.` before the `[` out"),
    "data[0].[1:].x": ("`1` is not expected here", 9, 1, "leave the `.` before the `[` out"),
    "data.[].x": ("`[]` is not expected here", 5, 2, "leave the `.` before the `[` out"),
    "data.[?a].x": ("`[?` is not expected here", 5, 2, "leave the `.` before the `[` out"),
    "usage.n | default(0)": ("`| default()` is Jinja's", 10, 7, "write `` usage.n || `0` ``"),
    "a|default('x')": ("`| default()` is Jinja's", 2, 7, "write `` a || 'x' ``"),
    'a | default("")': ("`| default()` is Jinja's", 4, 7, "write `` a || '' ``"),
    "a | default(b.c)": ("`| default()` is Jinja's", 4, 7, "write `` a || ... ``"),
    "concat()": ("`concat()` takes at least 1 argument, not 0", 0, 6, "write `concat(any, ...)`"),
    "status(a)": ("`status()` takes 0 arguments, not 1", 0, 6, "write `status()`"),
    "to_array(&a)": ("`&` stands where no function takes an expression", 9, 1, "write `&&` for a logical and"),
    "a[:1] || b[1::0]": ("a slice cannot have a step of 0", 10, 1, "leave the step out"),
}


@pytest.mark.parametrize(("source", "expected"), ERRORS.items(), ids=ERRORS)
def test_an_error_names_the_thing_the_place_and_the_fix(source, expected):
    """Message, offset, length and help, all at compile time."""
    assert error_of(source) == expected


def test_a_selector_that_is_too_long_is_refused():
    """At the first character beyond the limit."""
    assert read_selector("a" * MAX_LENGTH)[0]["value"] == "a" * MAX_LENGTH
    message = f"the selector has more than {MAX_LENGTH} characters"
    assert error_of("a" * (MAX_LENGTH + 3)) == (message, MAX_LENGTH, 3, "")


@pytest.mark.parametrize(
    "source",
    [
        " || ".join("a" * (MAX_DEPTH + 1)),
        "!" * MAX_DEPTH + "a",
        "!" * 4000 + "a",
        "(" * 2000 + "a" + ")" * 2000,
        "[" * 4000,
        "`" + "[" * 4000 + "`",
    ],
    ids=["alternatives", "negations", "many negations", "parentheses", "brackets", "a literal"],
)
def test_a_selector_that_is_nested_too_deep_is_refused(source):
    """Whether the library parses it or gives up."""
    message, offset, length, _ = error_of(source)
    assert (message, offset, length) == (f"the selector is nested more than {MAX_DEPTH} deep", 0, len(source))


# Warnings

WARNINGS = {
    "finished == true": [
        ("`true` is a field's name here, not the constant", "true", "write `` `true` `` in back-ticks")
    ],
    "a[?false != (b)]": [
        ("`false` is a field's name here, not the constant", "false", "write `` `false` `` in back-ticks")
    ],
    "a == (null)": [("`null` is a field's name here, not the constant", "null", "write `` `null` `` in back-ticks")],
    'a[?type == "text"].b': [
        ('`"text"` is a field\'s name here, not a text', '"text"', "write `'text'` in single quotes")
    ],
    "a.[*].b": [
        ("`.[*]` selects a mapping's values, not the items of a list", ".[*]", "leave the `.` before the `[` out")
    ],
    "true": [("`true` is a field's name here, not the constant", "true", "write `` `true` `` in back-ticks")],
    "a || False": [("`False` is a field's name here, not the constant", "False", "write `` `false` `` in back-ticks")],
    "true == b == c": [("`true` is a field's name here, not the constant", "true", "write `` `true` `` in back-ticks")],
    "a && !token.special": [
        (
            "`!` binds tighter than what follows its operand, so that `!a.b` means `(!a).b`",
            "!token.special",
            "write `!(token.special)`",
        )
    ],
    "!a[?b]": [
        ("`!` binds tighter than what follows its operand, so that `!a.b` means `(!a).b`", "!a", "write `!(...)`"),
    ],
}


@pytest.mark.parametrize(("source", "expected"), WARNINGS.items(), ids=WARNINGS)
def test_what_surely_means_something_else_is_warned_of(source, expected):
    """The message, the very text that is meant, and the fix."""
    assert warnings_of(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "finished == `true`",
        '"true"',
        "true[0]",
        "{true: a}",
        "a && b || null",
        "true.a == b",
        "a.true == b",
        "type == 'text'",
        '"x-y" == `1`',
        "a.\"x-y\" == 'b'",
        "!(a.b)",
        "(!a).b",
        "!a && b.c",
        "!a[0]",
        "!a | b",
        "`word` == a",
    ],
)
def test_what_means_what_it_says_is_not_warned_of(source):
    """No noise."""
    assert warnings_of(source) == []


def test_warnings_come_in_the_order_of_the_source():
    """One for each place."""
    source = 'a[?!b.c && x == null] || y == "z" || true == w'
    assert [text for _, text, _ in warnings_of(source)] == ["!b.c", "null", '"z"', "true"]
