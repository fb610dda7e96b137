"""A formula's tree written as text and read again is the same tree; any text is a tree or a clear error."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtime.core import expression
from flowtime.core.expression import (
    Array,
    Binary,
    Call,
    Expression,
    FormulaSyntaxError,
    Name,
    Negative,
    Number,
    Operator,
)

numbers = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
leaves = st.builds(Number, numbers) | st.builds(
    Name, st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
)
operators = st.sampled_from(["+", "-", "*", "/", "<", "<=", ">", ">=", "==", "!="])
functions = st.sampled_from(["MIN", "SHIFT", "CONV", "F"])


def parts(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    arrays = st.builds(Array, st.lists(inner, min_size=1, max_size=3).map(tuple))
    arguments = st.lists(inner | arrays, max_size=3).map(tuple)
    return (
        st.builds(Negative, inner)
        | st.builds(Binary, operators, inner, inner)
        | st.builds(Call, functions, arguments)
    )


trees = st.recursive(leaves, parts, max_leaves=25)


@given(trees)
def test_text_of_a_tree_is_read_as_the_tree(tree: Expression) -> None:
    assert expression.parse(expression.format(tree)) == tree


@given(st.text(alphabet="ab1.eE+-*/<>=!(), []\t\n_", max_size=40))
def test_any_text_is_a_formula_or_refused_with_a_position(text: str) -> None:
    try:
        expression.parse(text)
    except FormulaSyntaxError as error:
        assert 0 <= error.position <= len(text)


@pytest.mark.parametrize(
    ("text", "formatted"),
    [
        ("a-b-1", "a - b - 1"),
        ("a-(b-1)", "a - (b - 1)"),
        ("(a/b)<(c+(d*e))", "a / b < c + d * e"),
        ("-a*-b", "-a * -b"),
        ("-(a*b)", "-(a * b)"),
        ("(a<b)==c", "(a < b) == c"),
        ("max ( x,1e-3 )", "MAX(x, 0.001)"),
        (".5+2.5E2", "0.5 + 250"),
        ("1e16 + 9999999999999998", "1e+16 + 9999999999999998"),
    ],
)
def test_formulas_are_written_with_the_fewest_parentheses(text: str, formatted: str) -> None:
    assert expression.format(expression.parse(text)) == formatted


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">=", "==", "!="])
def test_comparisons_bind_less_than_sums(operator: Operator) -> None:
    a, b, c = Name("a"), Name("b"), Name("c")
    tree = Binary(operator, Binary("+", a, b), Binary("-", b, c))
    assert expression.parse(f"a + b {operator} b - c") == tree


@pytest.mark.parametrize(("first", "second"), [*permutations("*/"), *permutations("+-")])
def test_operators_of_a_kind_bind_from_the_left(first: Operator, second: Operator) -> None:
    tree = Binary(second, Binary(first, Name("a"), Name("b")), Name("c"))
    assert expression.parse(f"a {first} b {second} c") == tree


@pytest.mark.parametrize(("loose", "tight"), [("+", "*"), ("+", "/"), ("-", "*"), ("-", "/")])
def test_products_bind_more_than_sums(loose: Operator, tight: Operator) -> None:
    tree = Binary(loose, Name("a"), Binary(tight, Name("b"), Name("c")))
    assert expression.parse(f"a {loose} b {tight} c") == tree


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("", 0, 'expected a number, a name or "(", found the end of the formula'),
        ("a +", 3, 'expected a number, a name or "(", found the end of the formula'),
        ("a + * b", 4, 'expected a number, a name or "(", found "*"'),
        ("a b", 2, 'expected an operator, found "b"'),
        ("a 7", 2, 'expected an operator, found "7"'),
        ("a )", 2, 'expected an operator, found ")"'),
        ("a < b == c", 6, "comparisons do not chain; use parentheses"),
        ("(a > b >= c)", 7, "comparisons do not chain; use parentheses"),
        ("(a b)", 3, 'expected ")", found "b"'),
        ("F(a]", 3, 'expected ")", found "]"'),
        ("F(a", 3, 'expected ")", found the end of the formula'),
        ("CONV(a, [1 2])", 11, 'expected "]", found "2"'),
        ("CONV(a, [-])", 10, 'expected a number, a name or "(", found "]"'),
        ("a + [1]", 4, "an array is allowed as CONV's kernel only"),
        ("a + 1e999", 4, "1e999 is too large for a double"),
        ("a ^ 2", 2, "unexpected character '^'"),
    ],
)
def test_what_is_no_formula_is_told_where_and_why(text: str, position: int, says: str) -> None:
    with pytest.raises(FormulaSyntaxError) as raised:
        expression.parse(text)
    assert (str(raised.value), raised.value.message, raised.value.position) == (says, says, position)


def test_spans_say_where_parts_stand() -> None:
    tree = expression.parse("a + MIN( b,2 )")
    assert isinstance(tree, Binary)
    assert (tree.span, tree.left.span, tree.right.span) == ((0, 14), (0, 1), (4, 14))
    assert expression.parse(" F( )").span == (1, 5)


def test_long_sums_and_deep_nesting_are_read_and_written() -> None:
    long = " + ".join(f"n{i}" for i in range(9_000))
    assert expression.format(expression.parse(long)) == long
    assert len(list(expression.names(expression.parse(long)))) == 9_000
    deep = "ABS(" * 99 + "x" + ")" * 99
    assert expression.format(expression.parse(deep)) == deep


def test_a_formula_has_a_longest_length() -> None:
    assert expression.parse("x".ljust(expression.MAX_LENGTH)) == Name("x")
    with pytest.raises(FormulaSyntaxError, match="has 100001 characters, 100000 are allowed") as raised:
        expression.parse("x".ljust(expression.MAX_LENGTH + 1))
    assert raised.value.position == 0


@pytest.mark.parametrize("opening", ["-", "(", "ABS("])
def test_a_formula_has_a_greatest_depth(opening: str) -> None:
    with pytest.raises(FormulaSyntaxError, match="nested deeper than 100 levels") as raised:
        expression.parse(opening * 101 + "x")
    assert raised.value.position == 100 * len(opening)
    with pytest.raises(FormulaSyntaxError, match="nested deeper than 100 levels"):
        expression.parse("a + " * 9 + opening * 101 + "x")
