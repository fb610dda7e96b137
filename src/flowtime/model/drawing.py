"""Pictures of models: a layered layout of a directed graph, and an SVG of it.

The layout follows Sugiyama, Tagawa and Toda (1981): edges that close a cycle are turned round, nodes take
the layer of their longest path, sweeps of barycenters order each layer, and least squares place it. A flow
that is long and thin is folded into strips that run there and back, like a serpentine. All of it follows the
order of the input, so that the same model gives the same bytes.
"""

from __future__ import annotations

import math
import unicodedata
from bisect import bisect_right, insort
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from xml.sax.saxutils import escape

from flowtime.core import graph
from flowtime.core.canonical import JSON
from flowtime.model.identity import dependencies
from flowtime.model.spec import ConstNode, Model, Node, PmfNode

HEIGHT = 38.0
"""Height of every box, in the picture's own units (CSS pixels at full size)."""

_ROW_GAP = 24.0
_LANE = 14.0  # room of an edge where it passes a layer
_LAYER_GAP = (46.0, 34.0)  # to the right, down
_MARGIN = 16.0
_STRIP_GAP = 26.0
_STRIPS = 4
_FOLD_COST = 1.22  # how much larger a picture must get by one more fold to be worth it
_TURNS = 4  # the most edges that may pass a fold
_BULGE = (22.0, 60.0)  # reach of an edge's control points where it turns into the next strip
_ASIDE = 11.0  # how far a turned edge keeps from the middle of a box, where the others arrive
_SWEEPS = 8
_PASSES = 9
_MAX_PLACES = 3_000
"""The longest edges run straight once the others have taken this many places in layers."""
_LIGHT = 0.02  # pull of an edge's place against a node's, which keeps chains of nodes straight
_SHAPE = 1.6  # width to height that a card shows best

_GLYPH = 8.6  # mean advance of a 15 px sans-serif glyph
_LABEL = 24
_LISTED = 40

Edge = tuple[str, str]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A node of the drawing; `x` and `y` are its centre."""

    id: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Line:
    """An edge, from its source's border to its target's; `back` marks one that closes a cycle.

    `points` is a chain of cubic Bézier curves: where it begins, then two control points and an end for each.
    """

    source: str
    target: str
    points: tuple[Point, ...]
    back: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies in a picture of `width` by `height`, the origin at its top left.

    `down` tells whether the flow runs down the page (else to the right).
    """

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    width: float
    height: float
    down: bool


def layout(widths: Mapping[str, float], edges: Iterable[Edge], feedback: Collection[Edge] = ()) -> Layout:
    """Positions for the nodes of `widths` (id -> width of its box), joined by `edges` (source, target).

    `feedback` names the edges to turn round first where a cycle must be broken. The flow runs down or to
    the right, whichever gives the picture a better shape. Raises KeyError on an edge to no node.
    """
    distinct = tuple(dict.fromkeys(edges))
    turned = _turned(widths, distinct, feedback)
    lattice = _Lattice(widths, [edge for edge in distinct if edge[0] != edge[1]], turned)
    lattice.order()
    loops = any(source == target for source, target in distinct)
    placings = [_Placing(lattice, widths, down) for down in (False, True)]
    strips = [_Strips(placing, cuts, loops) for placing in placings for cuts in placing.cuts()]
    return min(strips, key=_Strips.cost).layout(distinct, turned)


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
    placed = layout({entry.id: _width(entry.label) for entry in drawn.entries}, drawn.edges, drawn.feedback)
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
    ids = [entry.id for entry in drawn.entries]
    edges = list(dict.fromkeys(drawn.edges))
    turned = _turned(ids, edges, drawn.feedback)
    lattice = _Lattice(ids, [edge for edge in edges if edge[0] != edge[1]], turned)
    rows: list[list[JSON]] = [[] for _ in lattice.rows]
    for entry, layer in zip(drawn.entries, lattice.layer, strict=False):
        own = [edge for edge in edges if edge[0] == entry.id]
        to = [target for _, target in own if (entry.id, target) not in turned]
        back = [target for _, target in own if (entry.id, target) in turned]
        rows[layer].append({"id": entry.id, "kind": entry.kind, "title": entry.label, "to": to, "back": back})
    return rows


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


# -- layout ------------------------------------------------------------------------------------------------


def _turned(nodes: Iterable[str], edges: Sequence[Edge], feedback: Collection[Edge]) -> set[Edge]:
    """The edges to turn round so that no cycle is left: feedback first, then what closes one."""
    sources: dict[str, list[str]] = {node: [] for node in nodes}
    for source, target in edges:
        sources[target].append(source)
    part = {node: i for i, members in enumerate(graph.components(sources)) for node in members}
    turned = {edge for edge in set(edges) & set(feedback) if part[edge[0]] == part[edge[1]]}
    targets: dict[str, list[str]] = {node: [] for node in sources}
    for source, target in edges:
        if (source, target) not in turned and source != target:
            targets[source].append(target)
    done: set[str] = set()
    for root in sources:
        if root in done:
            continue
        path = {root: iter(targets[root])}
        while path:
            node = next(reversed(path))
            for target in path[node]:
                if target in path:
                    turned.add((node, target))
                elif target not in done:
                    path[target] = iter(targets[target])
                    break
            else:
                done.add(node)
                del path[node]
    return turned | {(source, target) for source, target in edges if source == target}


class _Lattice:
    """Vertices in layers: the nodes, and a place for every edge in each layer that it passes."""

    def __init__(self, nodes: Iterable[str], edges: Sequence[Edge], turned: Collection[Edge]) -> None:
        self.ids = list(nodes)
        number = {id: i for i, id in enumerate(self.ids)}
        ends = {edge: (number[edge[0]], number[edge[1]]) for edge in edges}
        ends |= {edge: (target, source) for edge, (source, target) in ends.items() if edge in turned}
        self.layer = _layers(len(self.ids), list(ends.values()))
        self.before: list[list[int]] = [[] for _ in self.ids]
        self.after: list[list[int]] = [[] for _ in self.ids]
        self.chains: dict[Edge, list[int]] = {}
        for edge in sorted(ends, key=lambda edge: self.layer[ends[edge][1]] - self.layer[ends[edge][0]]):
            self.chains[edge] = self.chain(*ends[edge])
        self.rows: list[list[int]] = [[] for _ in range(max(self.layer, default=0) + 1)]
        for vertex, layer in enumerate(self.layer):
            self.rows[layer].append(vertex)

    def chain(self, source: int, target: int) -> list[int]:
        """The vertices of an edge, with a new one in each layer between its ends."""
        between = range(self.layer[source] + 1, self.layer[target])
        if len(self.layer) + len(between) > len(self.ids) + _MAX_PLACES:
            return [source, target]
        first = len(self.layer)
        self.layer += between
        self.before += [[] for _ in between]
        self.after += [[] for _ in between]
        chain = [source, *range(first, len(self.layer)), target]
        for left, right in pairwise(chain):
            self.after[left].append(right)
            self.before[right].append(left)
        return chain

    def order(self) -> None:
        """Orders every layer for few crossings; keeps the best of some sweeps there and back."""
        best, fewest = [list(row) for row in self.rows], self.crossings()
        for sweep in range(_SWEEPS):
            there = sweep % 2 == 0
            neighbours = self.before if there else self.after
            place = self.places()
            for row in self.rows if there else reversed(self.rows):
                centre = {v: _mean([place[n] for n in neighbours[v]], place[v]) for v in row}
                row.sort(key=centre.__getitem__)
                for i, vertex in enumerate(row):
                    place[vertex] = i
            if (crossings := self.crossings()) < fewest:
                best, fewest = [list(row) for row in self.rows], crossings
        self.rows = best

    def places(self) -> list[int]:
        """Where each vertex stands in its layer."""
        place = [0] * len(self.layer)
        for row in self.rows:
            for i, vertex in enumerate(row):
                place[vertex] = i
        return place

    def crossings(self) -> int:
        """How many pairs of edges cross between neighbouring layers."""
        place = self.places()
        count = 0
        for row in self.rows:
            seen: list[int] = []
            for vertex in row:
                ends = sorted([place[n] for n in self.after[vertex]])
                for end in ends:
                    count += len(seen) - bisect_right(seen, end)
                for end in ends:
                    insort(seen, end)
        return count


def _layers(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Each node's longest path from a node without predecessors; those stand right before their first
    successor."""
    sources: dict[int, list[int]] = {node: [] for node in range(count)}
    targets: dict[int, list[int]] = {node: [] for node in range(count)}
    for source, target in pairs:
        sources[target].append(source)
        targets[source].append(target)
    level = graph.levels(sources)
    for node in range(count):
        if targets[node] and not sources[node]:
            level[node] = min(level[target] for target in targets[node]) - 1
    return [level[node] for node in range(count)]


class _Placing:
    """Coordinates of a lattice: `along` the flow by layer, `across` it by vertex."""

    def __init__(self, lattice: _Lattice, widths: Mapping[str, float], down: bool) -> None:
        self.lattice = lattice
        self.widths = widths
        self.down = down
        places = len(lattice.layer) - len(lattice.ids)
        boxes = [(HEIGHT, widths[id]) if down else (widths[id], HEIGHT) for id in lattice.ids]
        self.size: list[Point] = boxes + [(0.0, _LANE)] * places
        """How much room each vertex takes along and across the flow."""
        self.weight = [1.0] * len(boxes) + [_LIGHT] * places
        self.depth = [max((self.size[v][0] for v in row), default=0.0) for row in lattice.rows]
        ends = zip(accumulate(self.depth), self.depth, strict=True)
        self.along = [end - own / 2 + i * _LAYER_GAP[down] for i, (end, own) in enumerate(ends)]
        self.across = self.placed()

    def cuts(self) -> Iterator[tuple[int, ...]]:
        """Ways to fold: the layers that begin a strip, each way with one strip more, of like lengths.

        A fold lies where few edges pass, and no strip has a single layer. What runs down is not folded: a row
        can be read from its end, but no column from its foot.
        """
        yield (0,)
        if self.down:
            return
        lattice, total = self.lattice, self.along[-1] + self.depth[-1] / 2
        gaps = [0.0, *((a + b) / 2 for a, b in pairwise(self.along))]
        passing = [sum(len(lattice.after[vertex]) for vertex in row) for row in lattice.rows]
        possible = [i for i in range(2, len(lattice.rows) - 1) if passing[i - 1] <= _TURNS]
        for strips in range(2, _STRIPS + 1):
            ideal = [total * part / strips for part in range(1, strips)]
            nearest = [min(possible, key=lambda i: abs(gaps[i] - at), default=0) for at in ideal]
            if all(b - a > 1 for a, b in pairwise((0, *nearest))):
                yield (0, *nearest)

    def placed(self) -> list[float]:
        """Each vertex near the middle of its neighbours, in the layer's order and without overlaps."""
        lattice = self.lattice
        across = [0.0] * len(lattice.layer)
        rows = [(row, self.offsets(row)) for row in lattice.rows]
        for row, offsets in rows:
            self.spread(row, offsets, [0.0] * len(row), across)
        for number in range(_PASSES):
            there = number % 2 == 0
            neighbours = lattice.before if there else lattice.after
            for row, offsets in rows if there else reversed(rows):
                wanted = [self.centre(neighbours[v], across, across[v]) for v in row]
                self.spread(row, offsets, wanted, across)
        return across

    def centre(self, vertices: Sequence[int], across: Sequence[float], otherwise: float) -> float:
        """Where a vertex wants to be: amid its neighbours, of which most vertices have one or none."""
        if len(vertices) < 2:
            return across[vertices[0]] if vertices else otherwise
        total = pull = 0.0
        for vertex in vertices:
            weight = self.weight[vertex]
            total += weight
            pull += weight * across[vertex]
        return pull / total

    def offsets(self, row: Sequence[int]) -> list[float]:
        """How far the vertices of a layer lie from its first where they are as close as they may be."""
        offsets = [0.0]
        for left, right in pairwise(row):
            gap = _ROW_GAP if max(left, right) < len(self.lattice.ids) else _ROW_GAP / 2
            offsets.append(offsets[-1] + (self.size[left][1] + self.size[right][1]) / 2 + gap)
        return offsets

    def spread(
        self, row: Sequence[int], offsets: Sequence[float], wanted: Sequence[float], across: list[float]
    ) -> None:
        """Gives a layer the places nearest to `wanted` (least squares) that keep the order and the gaps:
        isotonic regression by pooling adjacent violators."""
        pools: list[tuple[float, float, int]] = []  # mean, weight, vertices
        for vertex, want, offset in zip(row, wanted, offsets, strict=False):
            mean, weight, count = want - offset, self.weight[vertex], 1
            while pools and pools[-1][0] >= mean:
                earlier, heavy, size = pools.pop()
                mean = (earlier * heavy + mean * weight) / (heavy + weight)
                weight, count = weight + heavy, count + size
            pools.append((mean, weight, count))
        flat = [mean for mean, _, count in pools for _ in range(count)]
        for vertex, place, offset in zip(row, flat, offsets, strict=False):
            across[vertex] = place + offset


class _Strips:
    """A placing folded before the layers `cuts`, so that every other strip is turned by half a circle.

    `loops` tells whether an edge joins a node to itself, which takes room beside the boxes.
    """

    def __init__(self, placing: _Placing, cuts: Sequence[int], loops: bool) -> None:
        self.placing = placing
        self.cuts = cuts
        self.strip = [bisect_right(cuts, layer) - 1 for layer in range(len(placing.depth))]
        self.frames: list[tuple[float, float, float]] = []
        """How a strip lies in the picture: its sign, and what comes on top along and across."""
        pen = breadth = 0.0
        ends = [pen]
        for strip, (first, after) in enumerate(pairwise((*cuts, len(placing.depth)))):
            begin = placing.along[first] - placing.depth[first] / 2
            length = placing.along[after - 1] + placing.depth[after - 1] / 2 - begin
            rows = placing.lattice.rows[first:after]
            halves = [(placing.across[v], placing.size[v][1] / 2) for row in rows for v in row]
            low = min((place - half for place, half in halves), default=0.0)
            high = max((place + half for place, half in halves), default=0.0) + _ASIDE * loops
            sign = 1.0 if strip % 2 == 0 else -1.0
            self.frames.append((sign, pen - sign * begin, breadth + (high if strip % 2 else -low)))
            pen += sign * length
            breadth += high - low + _STRIP_GAP
            room = sign * _BULGE[1] if after < len(placing.depth) else 0.0
            ends.append(pen + room)
        shift = _MARGIN - min(ends)
        self.frames = [(sign, along + shift, across + _MARGIN) for sign, along, across in self.frames]
        self.size = (max(ends) + shift + _MARGIN, breadth - _STRIP_GAP + 2 * _MARGIN)

    def cost(self) -> float:
        """How small a card must show the picture, and how often the eye must turn."""
        width, height = self.picture(self.size)
        return max(width / _SHAPE, height) * _FOLD_COST ** (len(self.cuts) - 1)

    def layout(self, edges: Iterable[Edge], turned: Collection[Edge]) -> Layout:
        """The picture of these edges, of which `turned` run against the layers."""
        placing, lattice = self.placing, self.placing.lattice
        lines = []
        for edge in edges:
            back = edge in turned
            points = self.loop(edge[0]) if edge[0] == edge[1] else self.route(edge, back)
            lines.append(Line(*edge, tuple(self.picture(point) for point in points), back))
        boxes = []
        for vertex, id in enumerate(lattice.ids):
            layer = lattice.layer[vertex]
            x, y = self.picture(self.point(layer, placing.along[layer], placing.across[vertex]))
            boxes.append(Box(id, x, y, placing.widths[id], HEIGHT))
        return Layout(tuple(boxes), tuple(lines), *self.picture(self.size), placing.down)

    def picture(self, point: Point) -> Point:
        along, across = point
        x, y = (across, along) if self.placing.down else (along, across)
        return round(x, 1), round(y, 1)

    def point(self, layer: int, along: float, across: float) -> Point:
        """A place of the unfolded layout, which lies at a layer, in its strip."""
        sign, beyond, beside = self.frames[self.strip[layer]]
        return beyond + sign * along, beside + sign * across

    def route(self, edge: Edge, back: bool) -> list[Point]:
        """An edge as curves: straight through the layers, bent between them, turned between strips."""
        lattice = self.placing.lattice
        chain = lattice.chains[edge]
        aside = _ASIDE if back else 0.0
        curves: list[Point] = []
        for left, right in pairwise(chain):
            a, b = self.border(left, 1.0, aside), self.border(right, -1.0, aside)
            strip, then = (self.strip[lattice.layer[vertex]] for vertex in (left, right))
            curve = _bent(a, b) if strip == then else _turn(a, b, self.frames[strip][0])
            curves += _straight(curves[-1], curve[0]) + curve if curves else curve
        return curves[::-1] if back else curves

    def border(self, vertex: int, side: float, aside: float) -> Point:
        """Where an edge leaves a vertex (side 1) or comes to it (side -1), at a box `aside` of its middle."""
        placing, layer = self.placing, self.placing.lattice.layer[vertex]
        own = placing.size[vertex][0]
        along = placing.along[layer] + side * (own or placing.depth[layer]) / 2
        return self.point(layer, along, placing.across[vertex] + (aside if own else 0.0))

    def loop(self, id: str) -> list[Point]:
        """An edge from a node to itself, as a curve beside its box."""
        placing = self.placing
        vertex = placing.lattice.ids.index(id)
        layer, (depth, breadth) = placing.lattice.layer[vertex], placing.size[vertex]
        along, side = placing.along[layer], placing.across[vertex] + breadth / 2
        reach = min(_ASIDE, depth / 4)
        curve = [(reach, 0.0), (2 * reach, 18.0), (-2 * reach, 18.0), (-reach, 0.0)]
        return [self.point(layer, along + ahead, side + beside) for ahead, beside in curve]


def _bent(a: Point, b: Point) -> list[Point]:
    """A curve that leaves and arrives along the flow."""
    middle = (a[0] + b[0]) / 2
    return [a, (middle, a[1]), (middle, b[1]), b]


def _turn(a: Point, b: Point, sign: float) -> list[Point]:
    """The curve from the end of a strip to the beginning of the next; outer ones reach further."""
    reach = min(max(_BULGE[0], 0.5 * abs(b[1] - a[1])), _BULGE[1])
    beyond = (max if sign > 0 else min)(a[0], b[0]) + sign * reach
    return [a, (beyond, a[1]), (beyond, b[1]), b]


def _straight(a: Point, b: Point) -> list[Point]:
    """The controls of a straight line from `a` to `b`, whose own points belong to the curves beside it."""
    return [a, b]


def _mean(places: Sequence[int], otherwise: float) -> float:
    if len(places) < 2:
        return places[0] if places else otherwise
    return sum(places) / len(places)


# -- picture -----------------------------------------------------------------------------------------------


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
    return "expr"


def _svg(model: Model, drawn: _Graph) -> str:
    entries = drawn.entries
    picture = layout({entry.id: _width(entry.label) for entry in entries}, drawn.edges, drawn.feedback)
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
    return escape("".join(char for char in kept if unicodedata.category(char) not in ("Cc", "Cs", "Cn")))


def _pair(point: Point) -> str:
    return f"{_number(point[0])} {_number(point[1])}"


def _number(value: float) -> str:
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
