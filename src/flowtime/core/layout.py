"""Layered layouts of directed graphs.

They follow Sugiyama, Tagawa and Toda (1981): edges that close a cycle are turned round, nodes take the layer
of their longest path, sweeps of barycenters order each layer, and least squares place it. A flow that is long
and thin is folded into strips that run there and back, like a serpentine. All of it follows the order of the
input, so that the same graph gives the same numbers.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from flowtime.core import graph

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


def layers(
    ids: Sequence[str], edges: Iterable[Edge], feedback: Collection[Edge] = ()
) -> tuple[list[list[str]], set[Edge]]:
    """The nodes by layer of the flow, and the edges that run back: those that `layout` turns round."""
    distinct = tuple(dict.fromkeys(edges))
    turned = _turned(ids, distinct, feedback)
    lattice = _Lattice(ids, [edge for edge in distinct if edge[0] != edge[1]], turned)
    rows: list[list[str]] = [[] for _ in lattice.rows]
    for id, layer in zip(ids, lattice.layer, strict=False):  # the lattice has places of edges, too
        rows[layer].append(id)
    return rows, turned


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
