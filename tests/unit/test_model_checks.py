"""A model document's meaning: all problems at once, each with its place; defaults; csv sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowtime.core.grid import Grid, parse_instant
from flowtime.core.series import SeriesKey
from flowtime.errors import Diagnostic, InvalidInput
from flowtime.model import from_document, from_parsed, load
from flowtime.model.source import parse
from flowtime.model.spec import ConstNode, Model, PmfNode


def problems(text: str) -> tuple[Diagnostic, ...]:
    with pytest.raises(InvalidInput) as raised:
        load(text, "shop.yaml")
    return raised.value.errors


def node(text: str, grid: str = "{bins: 3}") -> str:
    return f"grid: {grid}\nnodes:\n- {{id: other, kind: const, values: 1}}\n- {text}\n"


def test_the_smallest_model_has_the_default_grid_and_says_so() -> None:
    model = load("nodes: [{id: a, kind: const, values: 2}]")
    assert model.grid == Grid(24, 1, "hours", None)
    assert [warning.code for warning in model.warnings] == ["FT251"]


def test_every_problem_is_reported_sorted_by_position() -> None:
    text = """\
grid: {bins: 2, binUnit: hour}
nodes:
- {id: a, kind: const, values: [1, 2, 3], titel: x}
- {id: a, kind: expr, expr: arivals + 1}
- {id: arrivals, kind: pmf, pmf: {1: 0.5, 2: 0.1}, mode: drawn}
outputs: [{series: nothing}]
rng: {seed: -1}
"""
    found = problems(text)
    assert [(p.line, p.code) for p in found] == [
        (1, "FT205"), (3, "FT202"), (4, "FT207"), (5, "FT209"), (5, "FT205"), (6, "FT201"), (7, "FT205"),
    ]  # fmt: skip
    assert all(p.source == "shop.yaml" and p.column is not None and p.excerpt is not None for p in found)


def test_an_unknown_series_reads_as_in_the_manual() -> None:
    text = node('{id: served, kind: expr, expr: "MIN(oher, 2)"}')
    assert str(problems(text)[0]).splitlines() == [
        'shop.yaml:4:39  FT201  node "served": unknown series "oher"; did you mean "other"? (position 4)',
        "    MIN(oher, 2)",
        "        ^",
    ]


def test_a_document_full_of_problems_is_read_to_the_thousandth() -> None:
    nodes = "".join(f"- {{id: visits_{i}, kind: expr, expr: vists_{i}}}\n" for i in range(1500))
    with pytest.raises(InvalidInput, match="FT200  the model has 1000 or more problems") as raised:
        load(f"grid: {{bins: 3}}\nnodes:\n{nodes}", "shop.yaml")
    found = raised.value.errors
    assert [problem.line for problem in found] == [*range(3, 1003)]
    # A guess looks at every name there is: only so many are made.
    assert found[0].hint == 'did you mean "visits_0"?'
    assert found[-1].hint is None


LARGEST = (
    "{values: [1.7976931348623157e308, 1.7976931348623155e308, 1.7976931348623153e308], "
    "probabilities: [0.97817, 0.01109, 0.01073]}"
)
"""The largest doubles, with probabilities that come to a little more than 1 once they are normalised."""


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("{id: 1e3, kind: const, values: 1}", "FT206", "1000.0 is not text"),
        ("{id: true, kind: const, values: 1}", "FT206", "id true is not text"),
        ("{id: a-b, kind: const, values: 1}", "FT206", "letters, digits and _"),
        ("{id: ém, kind: const, values: 1}", "FT206", "letters, digits and _"),
        ("{id: Max, kind: const, values: 1}", "FT206", "MAX is a function"),
        ("{kind: const, values: 1}", "FT203", "id is missing"),
        ("{id: a}", "FT203", "kind is missing"),
        ("{id: a, kind: const}", "FT203", "values is missing"),
        ("{id: a, kind: const, values: []}", "FT208", "length 0, the grid has 3 bins"),
        ("{id: a, kind: const, values: [1, .nan, 2]}", "FT204", "finite number, not nan"),
        ("{id: a, kind: const, values: [1, 1e400, 2]}", "FT204", "finite number, not inf"),
        ("{id: a, kind: const, values: [1, true, 2]}", "FT204", "finite number, not true"),
        ("{id: a, kind: const, values: [1, ~, 2]}", "FT204", "finite number, not nothing"),
        ("{id: a, kind: const, values: " + "9" * 400 + "}", "FT204", "finite number"),
        ("{id: a, kind: const, values: 1, unit: 3}", "FT204", "unit must be text, not 3"),
        ("{id: a, kind: const, values: 1, tags: x}", "FT204", "tags must be a list"),
        ("{id: a, kind: const, values: 1, component: =1+1}", "FT216", "begins with '='"),
        ("{id: a, kind: const, values: 1, measure: ''}", "FT216", "0 characters"),
        ("{id: a, kind: const, values: 1, expr: b}", "FT202", 'unknown key "expr"'),
        ("{id: a, kind: expr, expr: ''}", "FT210", "found the end of the formula"),
        ("{id: a, kind: expr, expr: [1]}", "FT204", "must be a formula, not a list"),
        ("{id: a, kind: expr, expr: other ^ 2}", "FT210", "unexpected character '^'"),
        ("{id: a, kind: expr, expr: other < 1 < 2}", "FT210", "do not chain"),
        ("{id: a, kind: expr, expr: 1e999}", "FT204", "not inf"),
        ("{id: a, kind: expr, expr: other + 1e999}", "FT210", "too large for a double"),
        ("{id: a, kind: expr, expr: " + "(" * 300 + "1" + ")" * 300 + "}", "FT218", "deeper than 100"),
        ("{id: a, kind: expr, expr: MIN(other)}", "FT212", "MIN takes 2 or more arguments, not 1"),
        ("{id: a, kind: expr, expr: 'CONV(other, other)'}", "FT212", '"other" is not a pmf node'),
        ("{id: a, kind: expr, expr: 'EMA(other, 0)'}", "FT212", "> 0 and <= 1"),
        ("{id: a, kind: expr, expr: a + 1}", "FT213", "a -> a"),
        ("{id: a, kind: pmf, pmf: {}}", "FT203", "pmf is empty"),
        ("{id: a, kind: pmf, pmf: {x: 1}}", "FT204", "'x' is no finite number"),
        ("{id: a, kind: pmf, pmf: {1: .5, 1.0: .5}}", "FT207", "duplicate value 1"),
        ("{id: a, kind: pmf, pmf: {1: .5, 2: .49}}", "FT209", "sum to 0.99"),
        ("{id: a, kind: pmf, pmf: {1: 1.0e308, 2: 1.0e308}}", "FT209", "sum to inf"),
        (f"{{id: a, kind: pmf, pmf: {LARGEST}}}", "FT205", "the expectation overflows"),
        ("{id: a, kind: pmf, pmf: {values: [1]}}", "FT203", "probabilities is missing"),
        ("{id: a, kind: pmf, pmf: {1: 1}, profile: [1, 2]}", "FT208", "profile has length 2"),
        ("{id: a, kind: pmf, pmf: {1: 1}, profile: rushhour}", "FT205", 'did you mean "rush-hour"?'),
    ],
)
def test_a_wrong_node_is_refused(text: str, code: str, says: str) -> None:
    found = problems(node(text))
    assert [p.code for p in found] == [code]
    assert says in str(found[0])


def test_a_cycle_is_told_beside_other_mistakes_and_never_guessed() -> None:
    text = """grid: {bins: 2, binSize: 1, binUnit: hours}
nodes:
  - {id: a, kind: expr, expr: b + 1}
  - {id: b, kind: expr, expr: a + 1}
  - {id: c, kind: expr, expr: nowhere}
  - {id: k, kind: pmf, pmf: {1: 0.4}}
  - {id: waiting, kind: expr, expr: "CONV(waiting, k)"}
"""
    found = problems(text)
    assert [p.code for p in found] == ["FT213", "FT201", "FT209"]
    assert "a -> b -> a" in found[0].message


@pytest.mark.parametrize(
    "formula", ["MIN(other, 2) * 3", "MIN(other, 2) + MAX(other, 3)", "MIN(other,\n  2)"]
)
def test_a_formula_that_braces_cut_at_its_comma_is_to_be_quoted(formula: str) -> None:
    [found] = problems(node(f"{{id: a, kind: expr, expr: {formula}, unit: items}}"))
    whole = formula.replace(",\n  ", ", ")
    assert found.code == "FT210"
    assert "a comma ends the formula" in found.message
    assert found.hint == f'write it in quotes: expr: "{whole}"'
    assert (found.line, found.node) == (4, "a")


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        ("{bins: 0}", "1 to 1,000,000"),
        ("{bins: 1000001}", "1 to 1,000,000"),
        ("{bins: 2.5}", "a whole number"),
        ("{binSize: 1}", "bins is missing"),
        ("{bins: 3, binSize: 0}", "binSize is 0"),
        ("{bins: 1000000, binUnit: weeks}", "1,000,000 weeks are more than lie between the years 1 and 9999"),
        ("{bins: 3, binSize: 200000, binUnit: weeks}", "binSize is 200,000; 1 to 173,907 is allowed"),
        ("{bins: 3, binUnit: months}", "seconds, minutes, hours, days, weeks"),
        ("{bins: 3, start: soon}", "ISO 8601"),
        ("{bins: 3, binUnit: weeks, start: 9999-12-30}", "after the year 9999"),
        ("{bins: 3, binMinutes: 5, binSize: 5}", "beside"),
    ],
)
def test_a_wrong_grid_is_refused(grid: str, says: str) -> None:
    assert says in str(problems(f"grid: {grid}\nnodes: [{{id: a, kind: const, values: 1}}]")[0])


def test_lengths_are_not_held_against_a_wrong_grid() -> None:
    found = problems("grid: {bins: 0}\nnodes: [{id: a, kind: const, values: [1, 2]}]")
    assert [p.code for p in found] == ["FT205"]


def test_the_older_spelling_of_the_bin_size_is_read_with_a_warning() -> None:
    model = load("grid: {bins: 3, binMinutes: 5}\nnodes: [{id: a, kind: const, values: 1}]")
    assert model.grid == Grid(3, 5, "minutes")
    assert [warning.code for warning in model.warnings] == ["FT252"]


def test_a_start_with_an_offset_becomes_utc() -> None:
    model = load("grid: {bins: 3, start: 2025-01-01T02:00+02:00}\nnodes: [{id: a, kind: const, values: 1}]")
    assert model.grid.start == parse_instant("2025-01-01T00:00:00Z")


def test_pcg32_is_read_as_pcg64_with_a_warning() -> None:
    model = load(node("{id: a, kind: const, values: 1}") + "rng: {kind: pcg32, seed: 7}")
    assert (model.seed, [warning.code for warning in model.warnings]) == (7, ["FT252"])


def test_both_spellings_of_a_pmf_are_one() -> None:
    a = load(node("{id: p, kind: pmf, pmf: {100: 0.25, '150': 0.75}}"))
    b = load(node("{id: p, kind: pmf, pmf: {values: [100, 150], probabilities: [0.25, 0.75]}}"))
    assert a == b
    assert isinstance(a.nodes[1], PmfNode) and a.nodes[1].pmf.values == (100.0, 150.0)


def test_topology_entries_name_the_recorded_series() -> None:
    model = load(
        node("{id: served, kind: expr, expr: other * 2}")
        + "topology:\n  nodes: [{id: Shop, semantics: {arrivals: other, served: served}}]\n"
    )
    assert [key for key, _ in model.recorded()] == [
        SeriesKey("Shop", "arrivals"),
        SeriesKey("Shop", "served"),
    ]


def test_outputs_choose_what_is_recorded() -> None:
    text = node("{id: scratch, kind: const, values: 1}") + "outputs: [{series: '*', exclude: [scratch]}]"
    assert [n.id for _, n in load(text).recorded()] == ["other"]


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ("outputs: [{series: nope}]", 'unknown series "nope"'),
        ("outputs: [{series: '*', exclude: [a, other]}]", "no series to record"),
        ("outputs: []", "outputs is empty"),
        ("topology: {nodes: [{id: A, semantics: {served: nope}}]}", 'unknown series "nope"'),
        ("topology: {nodes: [{id: A}, {id: A}]}", "duplicate id"),
        ("topology: {nodes: [{id: A}], edges: [{from: A, to: B}]}", 'unknown entry "B"'),
        ("topology: {nodes: [{id: A}], edges: [{from: A}]}", "to is missing"),
        ("topology: {nodes: [{id: other, semantics: {value: a}}]}", "duplicate component and measure"),
        ("schemaVersion: 3", "supported: 1, 2"),
        ("metadata: {version: 1.0}", "write it in quotes"),
        ("metadata: {tags: [good, 'a,b']}", "tag 'a,b' is not allowed; it takes 1 to 100 characters"),
        ("metadata: {tags: [1]}", "tags[0] must be text, not 1"),
        (f"metadata: {{tags: [{', '.join(f't{n}' for n in range(101))}]}}", "101 tags"),
        ("metadata: {id: ' '}", "metadata: id takes 1 to 200 characters"),
        (f"metadata: {{description: {'x' * 4_001}}}", "description takes a text of at most 4,000 characters"),
        ("provenance: {made: {by: [1, .nan]}}", "provenance: numbers must be finite, not nan"),
        ("rng: {kind: mt}", "pcg64 is allowed"),
        ("rng: {seed: 9223372036854775808}", "9,223,372,036,854,775,807"),
        ("extra: 1", 'unknown key "extra"'),
    ],
)
def test_a_wrong_section_is_refused(section: str, says: str) -> None:
    found = problems(node("{id: a, kind: const, values: 1}") + section)
    assert len(found) == 1
    assert says in str(found[0])


@pytest.mark.parametrize("text", ["[]", "just text", "3"])
def test_what_is_no_mapping_is_no_model(text: str) -> None:
    assert "a model is a mapping" in str(problems(text)[0])


def test_a_document_without_text_names_the_path() -> None:
    with pytest.raises(InvalidInput) as raised:
        from_document({"nodes": [{"id": "a", "kind": "expr", "expr": "b"}]}, "body")
    assert raised.value.errors[0].source == "nodes[0].expr"


def csv_model(folder: Path, table: str, source: str = "{csv: demand.csv, column: arrivals}") -> Model:
    (folder / "demand.csv").write_text(table, encoding="utf-8")
    return from_parsed(parse(node(f"{{id: a, kind: const, values: {source}}}")), folder=folder)


def test_values_are_read_from_a_csv_beside_the_model(tmp_path: Path) -> None:
    model = csv_model(tmp_path, "time,arrivals\n1,0.1\n2, 20 \n3,-3e2\n")
    assert isinstance(model.nodes[1], ConstNode)
    assert model.nodes[1].values == (0.1, 20.0, -300.0)


@pytest.mark.parametrize(
    ("table", "source", "says"),
    [
        ("x\n1\n2\n3\n", "{csv: demand.csv, column: y}", 'no column "y"; its columns: x'),
        ("x,y\n1,1\n2,2\n3,3\n", "{csv: demand.csv}", "no column is named"),
        ("x\n1\n\n3\n", "{csv: demand.csv, column: x}", "row 3, column x: '' is no finite number"),
        ("x\n1\ninf\n3\n", "{csv: demand.csv, column: x}", "'inf' is no finite number"),
        ("x\n1\n2\n", "{csv: demand.csv, column: x}", "length 2"),
        ("x\n1\n", "{csv: ../demand.csv}", "outside the model's folder"),
        ("x\n1\n", "{csv: /etc/passwd}", "outside the model's folder"),
        ("x\n1\n", "{csv: absent.csv}", "No such file"),
        ("x\n1\n", '{csv: "a\\0b.csv"}', "U+0000"),
        ("x\n1\n", "{csv: demand.csv, colum: x}", 'unknown key "colum"'),
    ],
)
def test_a_wrong_csv_source_is_refused(tmp_path: Path, table: str, source: str, says: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        csv_model(tmp_path, table, source)
    assert says in str(raised.value)


def test_a_csv_source_is_refused_without_a_folder() -> None:
    assert problems(node("{id: a, kind: const, values: {csv: x.csv}}"))[0].code == "FT215"


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("x\n1\n2\n3\n")
    inside = tmp_path / "model"
    inside.mkdir()
    (inside / "link.csv").symlink_to(tmp_path / "secret.csv")
    document = parse(node("{id: a, kind: const, values: {csv: link.csv, column: x}}"))
    with pytest.raises(InvalidInput, match="outside the model's folder"):
        from_parsed(document, folder=inside)
