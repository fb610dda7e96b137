"""Pictures of models: what is drawn of one, and an SVG of it."""

from __future__ import annotations

import html
import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from flowtime.core import layout
from flowtime.core.canonical import JSON
from flowtime.core.layout import Box, Edge, Line, Point
from flowtime.model.identity import dependencies
from flowtime.model.spec import ConstNode, Model, Node, PmfNode, QueueNode

_GLYPH = 8.6  # mean advance of a 15 px sans-serif glyph
_LABEL = 24
_LISTED = 40


def preview(model: Model) -> str:
    """The model as an SVG document: its components where it has a topology, else its nodes.

    It follows the reader's light or dark setting, names everything for screen readers, and has no script
    and no ids, so that several can stand in one page.
    """
    return _svg(model, _graph(model))


def picture(model: Model, *, nodes: bool = False, around: str | None = None, depth: int = 1) -> JSON:
    """What `preview` draws as plain data with positions; with `nodes`, the nodes even of a model that has a
    topology. With `around`, the boxes that at most `depth` edges, in any direction, lead to from that one.

    `{noun, total, width, height, down, nodes: [{id, kind, title, notes, x, y, width, height}], edges: [{from,
    to, points, back}]}`, positions as in `Layout`; `total` boxes are in the whole picture. Raises KeyError
    where `around` is not there.
    """
    whole = _references(model) if nodes else _graph(model)
    drawn = whole if around is None else _near(whole, around, depth)
    placed = layout.layout(
        {entry.id: _width(entry.label) for entry in drawn.entries}, drawn.edges, drawn.feedback
    )
    boxes = {box.id: box for box in placed.boxes}
    return {
        "noun": drawn.noun,
        "total": len(whole.entries),
        "width": placed.width,
        "height": placed.height,
        "down": placed.down,
        "nodes": [
            {
                "id": entry.id,
                "kind": entry.kind,
                "title": entry.label,
                "notes": list(entry.notes),
                **{key: round(getattr(boxes[entry.id], key), 1) for key in ("x", "y", "width", "height")},
            }
            for entry in drawn.entries
        ],
        "edges": [
            {
                "from": line.source,
                "to": line.target,
                "points": [[round(x, 1), round(y, 1)] for x, y in line.points],
                "back": line.back,
            }
            for line in placed.lines
        ],
    }


def layers(model: Model) -> list[list[JSON]]:
    """What `preview` draws as plain data: the layers of the flow, each a list of components (or nodes).

    Each is `{id, kind, title, to, back}`, where `to` and `back` are the ids that its edges lead to: onwards,
    and back where they close a cycle.
    """
    drawn = _graph(model)
    entries = {entry.id: entry for entry in drawn.entries}
    rows, turned = layout.layers(list(entries), drawn.edges, drawn.feedback)
    onwards: dict[str, list[str]] = {id: [] for id in entries}
    back: dict[str, list[str]] = {id: [] for id in entries}
    for source, target in dict.fromkeys(drawn.edges):
        (back if (source, target) in turned else onwards)[source].append(target)
    return [
        [
            {
                "id": id,
                "kind": entries[id].kind,
                "title": entries[id].label,
                "to": onwards[id],
                "back": back[id],
            }
            for id in row
        ]
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class _Entry:
    """What a box says: its kind gives shape and colour, its notes stand in the tooltip."""

    id: str
    kind: str
    label: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Graph:
    """What is drawn of a model; `noun` and `joint` are what its boxes and edges are called."""

    noun: str
    joint: str
    entries: tuple[_Entry, ...]
    edges: tuple[Edge, ...]
    feedback: frozenset[Edge] = frozenset()


def _graph(model: Model) -> _Graph:
    """A model's components where it has a topology, else its nodes."""
    if model.topology and model.topology.nodes:
        components = tuple(
            _Entry(entry.id, entry.kind or "component", entry.title or entry.id, tuple(entry.semantics))
            for entry in model.topology.nodes
        )
        flows = tuple((edge.source, edge.target) for edge in model.topology.edges)
        return _Graph("component", "flow", components, flows)
    return _references(model)


def _references(model: Model) -> _Graph:
    """A model's nodes, and what each reads."""
    nodes = tuple(
        _Entry(node.id, _kind(node), node.id, (node.title,) if node.title else ()) for node in model.nodes
    )
    references = dependencies(model)
    edges = []
    feedback = set()
    place = {id: i for i, id in enumerate(references)}
    for id, needed in references.items():
        for source in sorted(needed.now | needed.delayed | needed.kernels, key=place.__getitem__):
            edges.append((source, id))
            if source not in needed.now | needed.kernels:
                feedback.add((source, id))
    return _Graph("node", "reference", nodes, tuple(edges), frozenset(feedback))


def _placed(drawn: _Graph) -> layout.Layout:
    widths = {entry.id: _width(entry.label) for entry in drawn.entries}
    return layout.layout(widths, drawn.edges, drawn.feedback)


def _near(whole: _Graph, around: str, depth: int) -> _Graph:
    """The part of a graph that at most `depth` edges lead to from one of its boxes."""
    beside: dict[str, set[str]] = {entry.id: set() for entry in whole.entries}
    for source, target in whole.edges:
        beside[source].add(target)
        beside[target].add(source)
    if around not in beside:
        raise KeyError(around)
    kept = rim = {around}
    for _ in range(depth):
        rim = {id for reached in rim for id in beside[reached]} - kept
        kept = kept | rim
    return replace(
        whole,
        entries=tuple(entry for entry in whole.entries if entry.id in kept),
        edges=tuple((source, target) for source, target in whole.edges if source in kept and target in kept),
    )


# Fill and line of each kind, light then dark.
_COLOURS: dict[str, tuple[str, str, str, str]] = {
    "service": ("#dbeafe", "#2563eb", "#172f54", "#7db2ff"),
    "source": ("#dcfce7", "#15803d", "#12351f", "#5fd28a"),
    "sink": ("#f3e8ff", "#7e22ce", "#2f1a4a", "#c795f7"),
    "queue": ("#fef3c7", "#b45309", "#3d2a0c", "#f0b04a"),
    "store": ("#ccfbf1", "#0f766e", "#0c3430", "#4fd1c1"),
    "component": ("#f1f5f9", "#64748b", "#242c37", "#a3b1c4"),
    "const": ("#dcfce7", "#15803d", "#12351f", "#5fd28a"),
    "pmf": ("#fef3c7", "#b45309", "#3d2a0c", "#f0b04a"),
    "expr": ("#dbeafe", "#2563eb", "#172f54", "#7db2ff"),
}
_ROOT = 'xmlns="http://www.w3.org/2000/svg" class="flowtime" role="img"'
_INK = ("#0f172a", "#e8edf4")
_EDGE = ("#64748b", "#93a3b8")
_BACK = ("#c2410c", "#fb9a5b")


def _kind(node: Node) -> str:
    match node:
        case ConstNode():
            return "const"
        case PmfNode():
            return "pmf"
        case QueueNode():
            return "queue"
    return "expr"


def _svg(model: Model, drawn: _Graph) -> str:
    entries = drawn.entries
    picture = _placed(drawn)
    boxes = {box.id: box for box in picture.boxes}
    title = model.metadata.title or model.metadata.id or "Model"
    width, height = _number(picture.width), _number(picture.height)
    parts = [
        f'<svg {_ROOT} width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f"<title>{_text(title)}</title>",
        f"<desc>{_text(_description(drawn, picture.lines))}</desc>",
        f"<style>{_style({entry.kind for entry in entries})}</style>",
    ]
    parts += (_line(line) for line in picture.lines)
    for entry in entries:
        parts.append(_box(entry, boxes[entry.id]))
    return "\n".join([*parts, "</svg>", ""])


def _box(entry: _Entry, box: Box) -> str:
    kind = entry.kind if entry.kind in _COLOURS else "component"
    notes = f": {', '.join(entry.notes)}" if entry.notes else ""
    below = 8 if kind == "store" else 5
    label = entry.label if len(entry.label) <= _LABEL else entry.label[: _LABEL - 1].rstrip() + "…"
    return (
        f'<g class="{kind}"><title>{_text(f"{entry.label} ({entry.kind}){notes}")}</title>{_shape(kind, box)}'
        f'<text x="{_number(box.x)}" y="{_number(box.y + below)}">{_text(label)}</text></g>'
    )


def _shape(kind: str, box: Box) -> str:
    """The outline of a box; each kind has its own, so that colour is never the only sign."""
    left, top = box.x - box.width / 2, box.y - box.height / 2
    right, bottom = left + box.width, top + box.height
    match kind:
        case "const":
            return _path([(left + 10, top), (right, top), (right - 10, bottom), (left, bottom)])
        case "pmf":
            corners = [
                (left + 12, top),
                (right - 12, top),
                (right, box.y),
                (right - 12, bottom),
                (left + 12, bottom),
            ]
            return _path([*corners, (left, box.y)])
        case "store":
            west, north, east, south = (_number(n) for n in (left, top + 6, right, bottom - 6))
            arc = f"A{_number(box.width / 2)} 6 0 0"
            body = f"M{west} {north}V{south}{arc} 0 {east} {south}V{north}"
            return f'<path d="{body}{arc} 0 {west} {north}{arc} 0 {east} {north}"/>'
        case "queue":
            bars = "".join(f"M{_number(x)} {_number(top)}V{_number(bottom)}" for x in (left + 7, right - 7))
            return f'{_rectangle(box, 0)}<path d="{bars}"/>'
        case "sink":
            inner = Box(box.id, box.x, box.y, box.width - 7, box.height - 7)
            return _rectangle(box, box.height / 2) + _rectangle(inner, inner.height / 2)
        case "source":
            return _rectangle(box, box.height / 2)
        case "service" | "expr":
            return _rectangle(box, 9)
    return _rectangle(box, 2)


def _rectangle(box: Box, radius: float) -> str:
    left, top, width, height, round_by = (
        _number(n) for n in (box.x - box.width / 2, box.y - box.height / 2, box.width, box.height, radius)
    )
    corner = f' rx="{round_by}"' if radius else ""
    return f'<rect x="{left}" y="{top}" width="{width}" height="{height}"{corner}/>'


def _path(corners: Sequence[Point]) -> str:
    return f'<path d="M{"L".join(_pair(corner) for corner in corners)}Z"/>'


def _line(line: Line) -> str:
    """An edge with its arrow head, which follows the curve's last stretch."""
    first, *rest = line.points
    pieces = zip(rest[::3], rest[1::3], rest[2::3], strict=True)
    path = "".join(_curve(a, b) for a, b in zip(line.points[::3], pieces, strict=False))
    (x, y), (before_x, before_y) = line.points[-1], line.points[-2]
    length = math.hypot(x - before_x, y - before_y) or 1.0
    dx, dy = 9 * (x - before_x) / length, 9 * (y - before_y) / length
    corners = [(x, y), (x - dx - dy / 2, y - dy + dx / 2), (x - dx + dy / 2, y - dy - dx / 2)]
    head = f"M{'L'.join(_pair(corner) for corner in corners)}Z"
    name = "back" if line.back else "edge"
    return f'<path class="{name}" d="M{_pair(first)}{path}"/><path class="{name} head" d="{head}"/>'


def _curve(a: Point, piece: tuple[Point, Point, Point]) -> str:
    """A piece of a path, as a line where it is one."""
    flat = any(len({point[axis] for point in (a, *piece)}) == 1 for axis in (0, 1))
    return f"L{_pair(piece[2])}" if flat else f"C{' '.join(_pair(point) for point in piece)}"


def _style(kinds: Iterable[str]) -> str:
    """Light colours, dark ones where the system is dark, and light-dark() where it is known, so that a page
    with a theme switch of its own (`color-scheme`) carries the picture along."""
    shown = sorted({kind if kind in _COLOURS else "component" for kind in kinds})
    rules = list(_rules(shown))
    light = "".join(f"{selector}{{{property}:{a}}}" for selector, property, a, _ in rules)
    dark = "".join(f"{selector}{{{property}:{b}}}" for selector, property, _, b in rules)
    both = "".join(f"{selector}{{{property}:light-dark({a},{b})}}" for selector, property, a, b in rules)
    return (
        ".flowtime text{font:500 15px system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif;"
        "text-anchor:middle}"
        ".flowtime g>rect,.flowtime g>path{stroke-width:2;stroke-linejoin:round}"
        ".flowtime .edge,.flowtime .back{fill:none;stroke-width:2}"
        ".flowtime .back:not(.head){stroke-dasharray:6 4}"
        f"{light}"
        f"@media (prefers-color-scheme:dark){{{dark}}}"
        "svg.flowtime:root{color-scheme:light dark}"
        f"@supports (color:light-dark(#000,#fff)){{{both}}}"
    )


def _rules(kinds: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """Selector, property, light and dark colour."""
    yield ".flowtime text", "fill", *_INK
    for name, colours in (("edge", _EDGE), ("back", _BACK)):
        yield f".flowtime .{name}", "stroke", *colours
        yield f".flowtime .{name}.head", "fill", *colours
    for kind in kinds:
        fill, line, dark_fill, dark_line = _COLOURS[kind]
        selector = f".flowtime .{kind}>rect,.flowtime .{kind}>path"
        yield selector, "fill", fill, dark_fill
        yield selector, "stroke", line, dark_line


def _description(drawn: _Graph, lines: Sequence[Line]) -> str:
    labels = {entry.id: entry.label for entry in drawn.entries}
    listed = [
        f"{labels[line.source]} to {labels[line.target]}" + (" (feedback)" if line.back else "")
        for line in lines[:_LISTED]
    ]
    if len(lines) > _LISTED:
        listed.append(f"and {len(lines) - _LISTED} more")
    return f"{_count(len(drawn.entries), drawn.noun)}, {_count(len(lines), drawn.joint)}" + (
        f": {', '.join(listed)}" if listed else ""
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _width(label: str) -> float:
    shown = label[:_LABEL]
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in shown)
    return max(64.0, round((len(shown) + 0.8 * wide) * _GLYPH + 30))


def _text(text: str) -> str:
    """Text for XML: on one line, without the characters that XML cannot hold."""
    kept = "".join(" " if char.isspace() else char for char in text)
    shown = "".join(char for char in kept if unicodedata.category(char) not in ("Cc", "Cs", "Cn"))
    return html.escape(shown, quote=False)


def _pair(point: Point) -> str:
    return f"{_number(point[0])} {_number(point[1])}"


def _number(value: float) -> str:
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
