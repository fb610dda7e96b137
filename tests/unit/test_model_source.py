"""YAML 1.2 text to values, with positions, and everything that is refused."""

from __future__ import annotations

import json
import math

import pytest

from flowtime.errors import InvalidInput
from flowtime.model.source import MAX_BYTES, _compose, parse


def problem(text: str | bytes) -> str:
    with pytest.raises(InvalidInput) as raised:
        parse(text, "shop.yaml")
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("true", True),
        ("~", None),
        ("1e3", 1000.0),
        ("12", 12),
        ("012", 12),
        ("0x1F", 31),
        ("0o17", 15),
        (".5", 0.5),
        ("+1.", 1.0),
        ("-.inf", -math.inf),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("!!float 1", 1.0),
        ("2025-01-01", "2025-01-01"),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    found = parse(f"a: {text}").value["a"]
    assert (type(found), found) == (type(value), value)


def test_nan_is_read_as_nan() -> None:
    assert math.isnan(parse("a: .nan").value["a"])


def test_json_is_read_with_tabs_and_surrogate_pairs() -> None:
    text = '{"a": "\\ud83d\\ude00 \\\\ud83d",\n\t"b": [1, 2,\n\t3.5]}'
    assert parse(text).value == json.loads(text)


def test_keys_keep_their_spelling() -> None:
    assert parse("{100: a, '1.50': b, no: c}").value == {"100": "a", "1.50": "b", "no": "c"}


def test_a_byte_order_mark_is_skipped() -> None:
    assert parse("\ufeffa: 1".encode()).value == {"a": 1}


def test_aliases_stand_for_their_value() -> None:
    assert parse("a: &x [1, 2]\nb: *x").value == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("a: 1\nb: 2\na: 3", "shop.yaml:3:1", 'duplicate key "a"; it stands on line 1'),
        ('{"1": x, 1: y}', "shop.yaml:1:10", 'duplicate key "1"'),
        ("a: [1", "shop.yaml:1:", "not YAML"),
        ("a: 1\n b: 2", "shop.yaml:2:3", "not YAML"),
        ("a: 1\n---\nb: 2", "shop.yaml:2:1", "a second document"),
        ("", "shop.yaml:1:1", "the document is empty"),
        ("# only a comment\n", "shop.yaml:1:1", "the document is empty"),
        ("a: !!python/object:os.system x", "shop.yaml:1:4", "tag"),
        ("a: !mine x", "shop.yaml:1:4", "tag"),
        ("a: !!int x", "shop.yaml:1:4", "does not fit"),
        ("? [a]\n: b", "shop.yaml:1:3", "a key must be text"),
        ("{expr: CONV(a, [1, 2])}", "shop.yaml:1:16", "such as a formula, stands in quotes"),
        ("a: *b", "shop.yaml:1:4", "names no anchor"),
        ("a: &a [*a]", "shop.yaml:1:8", "names no anchor"),
        ("a: \x01", "shop.yaml:1:4", "control characters"),
        ("[" * 500, "shop.yaml:1:101", "deeper than 100"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, place: str, says: str) -> None:
    message = problem(text)
    assert place in message
    assert says in message


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]")
    assert "aliases expand to more than 100,000 values" in problem("\n".join(lines))


def test_many_values_without_aliases_are_no_bomb() -> None:
    text = "a: &a [1]\nb: [" + ", ".join(["x"] * 120_000) + "]\nc: *a"
    assert parse(text).value["c"] == [1]


def test_more_values_than_a_model_needs_are_refused_where_they_go_over() -> None:
    numbers = ", ".join(map(str, range(1000)))
    many = "\n".join(f"- [{numbers}]" for _ in range(1100))
    assert len(parse(f"a:\n{many}").value["a"]) == 1100  # long lists of plain numbers count as one
    assert "FT103  over 1,000,000 keys and values" in problem("a: [" + "x," * 1_000_001 + "]")


def test_oversize_is_refused_with_the_numbers() -> None:
    assert "67,108,865 bytes" in problem(b"#" * (MAX_BYTES + 1))


def test_what_is_not_utf8_is_refused() -> None:
    assert "byte 3 is 0xff" in problem(b"a: \xff")


def test_long_lists_are_read_as_short_ones_are() -> None:
    numbers = [i / 7 for i in range(200)]
    listed = ", ".join(map(repr, numbers))
    text = f"x: [{listed}]\ny: {{v: [{listed}], z: 1}}\n"
    document = parse(text)
    assert document.value == {"x": numbers, "y": {"v": numbers, "z": 1}}
    line, column = document.where(("y", "v", 150))
    assert text.splitlines()[line - 1][column - 1 :].startswith(repr(numbers[150]))
    line, column = document.where(("y", "z"))
    assert (line, text.splitlines()[1][column - 1]) == (2, "1")


@pytest.mark.parametrize(
    "template",
    ['a: "%s"', "a: '%s'", "a: |\n  %s\n", "# %s\na: 1", "a: x %s", "a: 1 # %s"],
)
def test_a_long_list_inside_a_text_stays_text(template: str) -> None:
    listed = "[" + ", ".join(map(str, range(100))) + "]"
    short = parse(template % "[1, 2]").value["a"]
    expected = short.replace("[1, 2]", listed) if isinstance(short, str) else short
    assert parse(template % listed).value["a"] == expected


def test_numbers_that_only_yaml_has_are_read_in_long_lists_too() -> None:
    assert parse(f"a: [{', '.join(['.5', '+1', '007'] * 60)}]").value["a"] == [0.5, 1, 7] * 60


BLOCK = "".join(f"{{0}}- {n}\n" for n in (1, -2.5, *range(20), "1e3", 7))


@pytest.mark.parametrize("indent", ["  ", "    ", "      "])
@pytest.mark.parametrize(
    "after", ["", "    kind: const\n", "\n    # a note\n    kind: const\n", "  - id: b\n"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_long_block_lists_of_numbers_mean_the_same(indent: str, after: str, end: str) -> None:
    lines = BLOCK.format(indent)
    text = f"nodes:\n  - id: a\n    values:\n{lines}{after}rng: {{seed: 1}}\n"
    if indent == "  ":  # an item of the outer list would follow
        text = f"values:\n{lines}rng: {{seed: 1}}\n"
    text = text.replace("\n", end)
    short, whole = parse(text), _compose(text, "model", cut=False)
    assert short.value == whole.value
    path = ("values",) if indent == "  " else ("nodes", 0, "values")
    for item in (path, (*path, 0), (*path, 1), (*path, 22), ("rng", "seed")):
        assert short.where(item) == whole.where(item)
    assert short._marks != whole._marks  # it was cut out


@pytest.mark.parametrize(
    "text",
    [
        "a:\n" + BLOCK.format("  ") + "  - text\n",
        "a:\n" + BLOCK.format("  ") + "\n  # more\n  - text\n",
        "a:\n  - text\n" + BLOCK.format("  "),
        "a:\n" + BLOCK.format("  ").replace("- 9\n", "- 9 # nine\n"),
        "a:\n" + BLOCK.format("  ").replace("- 9\n", "- 09\n"),
        "a: |\n  b:\n" + BLOCK.format("  ") + "c: 1\n",
        'a: "b:\n' + BLOCK.format("  ") + '  "\nc: 1\n',
        "# a:\n" + BLOCK.format(""),
        "a:\n" + BLOCK.format("") + "b: 1\n",
        "- a:\n" + BLOCK.format("  "),
    ],
)
def test_what_only_looks_like_a_block_list_of_numbers(text: str) -> None:
    short, whole = parse(text), _compose(text, "model", cut=False)
    assert short.value == whole.value
