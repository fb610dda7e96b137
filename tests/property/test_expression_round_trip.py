"""A formula's tree written as text and read again is the same tree; any text is a tree or a clear error."""

from __future__ import annotations

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
)

numbers = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
leaves = st.builds(Number, numbers) | st.builds(
    Name, st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
)
operators = st.sampled_from(["+", "-", "*", "/", "<", "<=", ">", ">=", "==", "!="])
functions = st.sampled_from(["MIN", "SHIFT", "CONV", "F"])
arrays = st.builds(
    Array, st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=3).map(tuple)
)


def parts(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
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
        ("-a*-b", "-a * -b"),
        ("-(a*b)", "-(a * b)"),
        ("(a<b)==c", "(a < b) == c"),
        ("max ( x,1e-3 )", "MAX(x, 0.001)"),
        (".5+2.5E2", "0.5 + 250"),
    ],
)
def test_formulas_are_written_with_the_fewest_parentheses(text: str, formatted: str) -> None:
    assert expression.format(expression.parse(text)) == formatted


def test_spans_say_where_parts_stand() -> None:
    tree = expression.parse("a + MIN( b,2 )")
    assert isinstance(tree, Binary)
    assert (tree.span, tree.left.span, tree.right.span) == ((0, 14), (0, 1), (4, 14))


def test_long_sums_and_deep_nesting_are_read_and_written() -> None:
    long = " + ".join(f"n{i}" for i in range(9_000))
    assert expression.format(expression.parse(long)) == long
    assert len(list(expression.names(expression.parse(long)))) == 9_000
    deep = "ABS(" * 99 + "x" + ")" * 99
    assert expression.format(expression.parse(deep)) == deep


def test_a_formula_has_a_longest_length() -> None:
    assert expression.parse("x".ljust(expression.MAX_LENGTH)) == Name("x")
    with pytest.raises(FormulaSyntaxError, match="has 100001 characters, 100000 are allowed"):
        expression.parse("x".ljust(expression.MAX_LENGTH + 1))


@pytest.mark.parametrize("opening", ["-", "(", "ABS("])
def test_a_formula_has_a_greatest_depth(opening: str) -> None:
    with pytest.raises(FormulaSyntaxError, match="nested deeper than 100 levels") as raised:
        expression.parse(opening * 101 + "x")
    assert raised.value.position == 100 * len(opening)
