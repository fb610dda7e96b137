from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtime.core import expression
from flowtime.errors import InvalidInput, NotFound
from flowtime.model import from_document
from flowtime.sim import templates
from flowtime.sim.parameters import Parameter

SHOP = """\
id: shop
title: Shop
category: test
description: A small shop.
question: Does it work?
parameters:
  rate: {type: number, default: 0.5, minimum: -5, maximum: 5, description: A rate.}
  lag: {type: integer, default: 1, minimum: 1, maximum: 9, description: A lag.}
  taps: {type: array, default: [0.6, 0.2], minLength: 1, maxLength: 4, description: Shares.}
  name: {type: string, default: Tea, minLength: 1, maxLength: 20, pattern: "[^<>]*", description: A name.}
  profile: {type: enum, default: rush-hour, choices: [rush-hour, three-shift], description: A day.}
  strict: {type: boolean, default: true, description: A switch.}
  levels: {type: array, default: [10, 20], items: integer, minimum: 0, description: Demand.}
scenarios:
  slow: {description: Slow., values: {rate: 0.1, lag: 3}}
model:
  metadata: {title: "The ${name} shop", tags: [shop]}
  nodes:
    - {id: demand, kind: pmf, unit: "${name}/bin", profile: "${profile}",
       pmf: {values: "${levels}", probabilities: [0.5, 0.5]}}
    - {id: late, kind: expr, expr: "SHIFT(demand, ${lag}) * ${rate} + ${strict}"}
    - {id: again, kind: expr, expr: "CONV(late, [0, ${taps}]) + CONV(late, ${taps})"}
    - {id: limit, kind: const, values: "${rate}"}
"""


@pytest.fixture
def shop() -> templates.Template:
    return templates.load(SHOP, "shop.yaml")


def node(document: dict[str, Any], id: str) -> dict[str, Any]:
    return next(node for node in document["nodes"] if node["id"] == id)


def problems(error: pytest.ExceptionInfo[InvalidInput]) -> list[tuple[str, int | None]]:
    return [(problem.code, problem.line) for problem in error.value.errors]


# -- filling -----------------------------------------------------------------------------------------------


def test_a_whole_place_keeps_the_type_of_its_value(shop: templates.Template) -> None:
    document = shop.fill({"rate": 2})
    assert node(document, "demand")["pmf"]["values"] == [10, 20]
    assert node(document, "demand")["profile"] == "rush-hour"
    assert node(document, "limit")["values"] == 2


def test_places_in_texts_and_formulas(shop: templates.Template) -> None:
    document = shop.fill({"rate": -2.5, "name": 'a" # ${rate} {x: 1}'})
    assert document["metadata"]["title"] == 'The a" # ${rate} {x: 1} shop'
    assert node(document, "demand")["unit"] == 'a" # ${rate} {x: 1}/bin'
    assert node(document, "late")["expr"] == "SHIFT(demand, 1) * (-2.5) + 1"
    assert node(document, "again")["expr"] == "CONV(late, [0, 0.6, 0.2]) + CONV(late, [0.6, 0.2])"


def test_a_number_alone_is_a_title_too() -> None:
    shop = templates.load(
        SHOP.replace("The ${name} shop", "${lag}").replace("${name}/bin", "${name}"), "shop.yaml"
    )
    shop.check()
    assert shop.fill({"lag": 7})["metadata"]["title"] == "7"


def test_a_filled_document_says_where_it_comes_from(shop: templates.Template) -> None:
    document = shop.fill({"lag": 2}, "slow")
    assert document["provenance"]["template"] == "shop"
    assert document["provenance"]["templateVersion"] == 1
    assert document["provenance"]["scenario"] == "slow"
    assert document["provenance"]["parameters"] == {
        "rate": 0.1, "lag": 2, "taps": [0.6, 0.2], "name": "Tea", "profile": "rush-hour", "strict": True,
        "levels": [10, 20],
    }  # fmt: skip
    assert document["metadata"] == {"title": "The Tea shop", "description": "A small shop.", "tags": ["shop"]}


def test_filling_leaves_the_template_as_it_was(shop: templates.Template) -> None:
    first = shop.fill()
    node(first, "demand")["pmf"]["values"].append(30)
    first["provenance"]["parameters"]["taps"].clear()
    assert shop.fill() == templates.load(SHOP, "shop.yaml").fill()


@settings(max_examples=100)
@given(
    rate=st.floats(-5, 5),
    lag=st.integers(1, 9),
    name=st.text(st.characters(exclude_characters="<>", codec="utf-8"), min_size=1, max_size=20),
    taps=st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=4),
)
def test_no_value_changes_the_structure(rate: float, lag: int, name: str, taps: list[float]) -> None:
    shop = templates.load(SHOP, "shop.yaml")
    filled = shop.fill({"rate": rate, "lag": lag, "name": name, "taps": taps})
    plain = shop.fill({"taps": [0.5] * len(taps)})
    assert _structure(filled) == _structure(plain)
    tree = expression.parse(node(filled, "late")["expr"])
    assert isinstance(tree, expression.Binary)
    assert isinstance(tree.left, expression.Binary)
    factor = tree.left.right
    if isinstance(factor, expression.Negative):
        assert factor.operand == expression.Number(-rate)
    else:
        assert factor == expression.Number(rate)


def _structure(value: object) -> object:
    """The document without its scalars, and formulas without their numbers."""
    if isinstance(value, dict):
        return {key: _structure(part) for key, part in value.items() if key != "provenance"}
    if isinstance(value, list):
        return [_structure(part) for part in value]
    return None


NAME = "a text, matching [^<>]*, 1 to 20 characters"


@pytest.mark.parametrize(
    ("name", "value", "shown", "allowed"),
    [
        ("rate", "fast", "'fast'", "a number, -5 to 5"),
        ("rate", True, "true", "a number, -5 to 5"),
        ("rate", float("nan"), "nan", "a number, -5 to 5"),
        ("rate", 5.01, "5.01", "a number, -5 to 5"),
        ("lag", 1.0, "1.0", "an integer, 1 to 9"),
        ("lag", 10**20, "100000000000000000000", "an integer, 1 to 9"),
        ("taps", [], "0 items", "a list of numbers, 1 to 4 items"),
        ("taps", [1, "x"], "item 1 is 'x'", "a list of numbers, 1 to 4 items"),
        ("taps", 3, "3", "a list of numbers, 1 to 4 items"),
        ("levels", [1, -2], "item 1 is -2", "a list of integers, each at least 0"),
        ("levels", [1.5], "item 0 is 1.5", "a list of integers, each at least 0"),
        ("name", "<b>", "'<b>'", NAME),
        ("name", "x" * 21, "21 characters", NAME),
        ("name", None, "nothing", NAME),
        ("profile", "rushhour", "'rushhour'", "one of rush-hour, three-shift"),
        ("strict", "yes", "'yes'", "true or false"),
    ],
)
def test_values_that_are_refused(
    shop: templates.Template, name: str, value: object, shown: str, allowed: str
) -> None:
    with pytest.raises(InvalidInput) as error:
        shop.fill({name: value})
    assert error.value.code == "FT702"
    expected = f'parameter "{name}": {shown}; {allowed} is allowed'
    assert [problem.message for problem in error.value.errors] == [expected]


def test_every_problem_at_once_with_suggestions(shop: templates.Template) -> None:
    with pytest.raises(InvalidInput) as error:
        shop.fill({"rat": 1, "profile": "rushhour", "lag": 0}, "slo")
    assert [problem.code for problem in error.value.errors] == ["FT703", "FT703", "FT705", "FT705"]
    hints = [problem.hint for problem in error.value.errors]
    assert hints == ['did you mean "slow"?', 'did you mean "rate"?', 'did you mean "rush-hour"?', None]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("rate=1e-3", 0.001),
        ("rate=-2", -2),
        ("lag=1e0", 1),
        ("lag=1.5", 1.5),
        ("lag=x", "x"),
        ("strict=false", False),
        ("name=1=2", "1=2"),
        ("name=", ""),
        ("profile=three-shift", "three-shift"),
        ("taps=[0.5, 0.25]", [0.5, 0.25]),
        ("taps=0.5,0.25", [0.5, 0.25]),
        ("taps=", []),
        ("levels=1, x", [1, "x"]),
        ("unknown=3", "3"),
    ],
)
def test_settings_are_read_by_the_type(shop: templates.Template, text: str, value: object) -> None:
    name, read = templates.parse_setting(text, shop)
    assert name == text.partition("=")[0]
    assert (read, type(read)) == (value, type(value))


def test_a_setting_needs_an_equals_sign(shop: templates.Template) -> None:
    with pytest.raises(InvalidInput, match='not a setting: "lag"'):
        templates.parse_setting("lag", shop)


def test_choices_may_be_numbers() -> None:
    parameter = Parameter("bins", "enum", 24, "Bins.", choices=(24, 288))
    assert parameter.numeric
    assert parameter.read("288") == 288
    assert parameter.problem(288) is None
    assert parameter.problem("288") is not None


# -- declarations --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "code", "line", "words"),
    [
        ("title: Shop", "titel: Shop", "FT707", 2, 'unknown key "titel"'),
        ("question: Does it work?\n", "", "FT707", 1, 'the key "question" is missing'),
        ("id: shop", "id: My shop", "FT707", 1, "lower-case letters, digits and - are allowed"),
        ("type: number", "type: float", "FT707", 7, 'unknown type "float"'),
        ("default: 0.5", "default: 50", "FT705", 7, "50; a number, -5 to 5 is allowed"),
        ("maximum: 9", "pattern: x", "FT707", 8, '"pattern" does not apply to the type integer'),
        ("maximum: 9", "maximum: high", "FT707", 8, '"maximum" must be a number'),
        ('pattern: "[^<>]*"', 'pattern: "[^<>"', "FT707", 10, "not a regular expression"),
        ("choices: [rush-hour, three-shift]", "choices: []", "FT707", 11, "an enum needs choices"),
        ("items: integer", "items: map", "FT707", 13, 'unknown type of items "map"'),
        ("values: {rate: 0.1", "values: {rates: 0.1", "FT703", 15, 'unknown parameter "rates"'),
        ("values: {rate: 0.1", "values: {rate: 9", "FT705", 15, "9; a number, -5 to 5 is allowed"),
        ("* ${rate}", "* ${rates}", "FT708", 21, 'no parameter "rates" for the place ${rates}'),
        ("* ${rate}", "* 1${rate}", "FT708", 21, "touches a name or a number"),
        ("* ${rate}", "* 1e-${rate}", "FT708", 21, "touches a name or a number"),
        ("* ${rate}", "* ${rate", "FT708", 21, "no parameter"),
        ("* ${rate}", "* ${name}", "FT708", 21, "formulas take numbers only"),
        ("id: limit", 'id: "limit_${lag}"', "FT708", 23, "must be the whole value here"),
        ("tags: [shop]", 'tags: ["a ${name}"]', "FT708", 17, "must be the whole value here"),
        ("The ${name} shop", "The ${taps} shop", "FT708", 17, "must be the whole value here"),
        ("kind: const, values", 'kind: const, "${rate}": 1, values', "FT708", 23, "only values have places"),
        (" + ${strict}", "", "FT708", 12, 'no place in the model uses "strict"'),
    ],
)
def test_what_is_wrong_in_a_template_is_shown_in_its_place(
    old: str, new: str, code: str, line: int, words: str
) -> None:
    assert old in SHOP
    with pytest.raises(InvalidInput) as error:
        templates.load(SHOP.replace(old, new, 1), "shop.yaml")
    assert error.value.code == "FT700"
    assert (code, line) in problems(error)
    assert words in str(error.value)


def test_every_problem_of_a_template_at_once() -> None:
    broken = (
        SHOP.replace("title: Shop\n", "")
        .replace("type: number", "type: float")
        .replace("* ${rate}", "* ${lags}")
    )
    with pytest.raises(InvalidInput) as error:
        templates.load(broken, "shop.yaml")
    assert problems(error) == [("FT707", 1), ("FT707", 6), ("FT708", 20)]


# -- folders ----------------------------------------------------------------------------------------------


def test_a_folder_adds_templates(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP)
    ids = [template.id for template in templates.templates(tmp_path)]
    assert {"shop", "checkout"} <= set(ids)
    assert templates.template("shop", tmp_path).title == "Shop"


def test_an_unknown_template_is_not_found() -> None:
    with pytest.raises(NotFound) as error:
        templates.template("chekout")
    assert error.value.hint == 'did you mean "checkout"?'


def test_a_missing_folder_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such folder"):
        templates.templates(tmp_path / "none")


@pytest.mark.parametrize(
    ("file", "words"), [("store.yaml", 'holds the template "shop"'), ("checkout.yaml", "of its own")]
)
def test_the_file_name_is_the_id(tmp_path: Path, file: str, words: str) -> None:
    (tmp_path / file).write_text(SHOP)
    with pytest.raises(InvalidInput, match=words):
        templates.templates(tmp_path)


def test_a_csv_beside_the_template(tmp_path: Path) -> None:
    text = SHOP.replace('values: "${rate}"', 'values: {csv: demand.csv, column: "${profile}"}')
    text = text.replace("SHIFT(demand, ${lag})", "limit")
    text = text.replace(
        "  lag: {type: integer, default: 1, minimum: 1, maximum: 9, description: A lag.}\n", ""
    )
    (tmp_path / "shop.yaml").write_text(text.replace(", lag: 3", ""))
    shop = templates.template("shop", tmp_path)
    with pytest.raises(InvalidInput, match="no csv file"):
        shop.fill()
    rows = "\n".join(f"{hour},{hour / 2}" for hour in range(24))
    (tmp_path / "demand.csv").write_text(f"three-shift,rush-hour\n{rows}\n")
    document = shop.fill()
    assert node(document, "limit")["values"] == [hour / 2 for hour in range(24)]
    from_document(document)
    (tmp_path / "demand.csv").write_text("three-shift,rush-hour\n1,2\n1,inf\n")
    with pytest.raises(InvalidInput, match=r"demand.csv:3 .*'inf' is no finite number"):
        shop.fill()
    (tmp_path / "demand.csv").write_text("rush_hour\n1\n")
    with pytest.raises(InvalidInput, match='no column "rush-hour"'):
        shop.fill()


def test_a_csv_outside_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("x\n1\n")
    (tmp_path / "own").mkdir()
    text = SHOP.replace('values: "${rate}"', "values: {csv: ../secret.csv, column: x}")
    (tmp_path / "own" / "shop.yaml").write_text(text)
    with pytest.raises(InvalidInput, match="no csv file"):
        templates.template("shop", tmp_path / "own").fill()


def test_a_template_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_bytes(b"id: \xff")
    with pytest.raises(InvalidInput, match="not UTF-8"):
        templates.templates(tmp_path)


def test_a_template_that_was_changed_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(SHOP)
    before = templates.template("shop", tmp_path)
    file.write_text(SHOP.replace("title: Shop", "title: Market"))
    assert (before.title, templates.template("shop", tmp_path).title) == ("Shop", "Market")


def test_numbers_of_formulas_stay_parameters_of_a_model_of_version_2() -> None:
    text = SHOP.replace("model:\n", "model:\n  schemaVersion: 2\n")
    document = templates.load(text, "shop.yaml").fill({"lag": 2})
    assert document["parameters"] == {
        "lag": {"value": 2, "min": 1, "max": 9, "integer": True, "description": "A lag."}
    }
    assert node(document, "late")["expr"] == "SHIFT(demand, lag) * 0.5 + 1"
    assert node(document, "limit")["values"] == 0.5
