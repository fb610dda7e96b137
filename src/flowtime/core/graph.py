"""Order in directed graphs: components, cycles, levels. Nothing here recurses, so long chains are fine.

A graph is a mapping from each node to the nodes that it depends on; every node is a key. Results follow
the order of the mapping, never the order of hashes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def components(dependencies: Mapping[Node, Iterable[Node]]) -> list[tuple[Node, ...]]:
    """The strongly connected components, each after those that it depends on (Tarjan 1972).

    The members of a component are in the order of the mapping.
    """
    position = {node: index for index, node in enumerate(dependencies)}
    index: dict[Node, int] = {}
    low: dict[Node, int] = {}
    open_nodes: list[Node] = []
    is_open: set[Node] = set()
    found: list[tuple[Node, ...]] = []
    for root in dependencies:
        if root in index:
            continue
        work = [(root, iter(dependencies[root]))]
        index[root] = low[root] = len(index)
        open_nodes.append(root)
        is_open.add(root)
        while work:
            node, rest = work[-1]
            for target in rest:
                if target not in index:
                    index[target] = low[target] = len(index)
                    open_nodes.append(target)
                    is_open.add(target)
                    work.append((target, iter(dependencies[target])))
                    break
                if target in is_open:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[node])
                if low[node] == index[node]:
                    members = [open_nodes.pop()]
                    while members[-1] != node:
                        members.append(open_nodes.pop())
                    is_open.difference_update(members)
                    found.append(tuple(sorted(members, key=position.__getitem__)))
    return found


def is_cyclic(component: tuple[Node, ...], dependencies: Mapping[Node, Iterable[Node]]) -> bool:
    """Whether a component is a cycle: several nodes, or one that depends on itself."""
    return len(component) > 1 or component[0] in dependencies[component[0]]


def cycle_through(node: Node, dependencies: Mapping[Node, Iterable[Node]]) -> list[Node] | None:
    """A shortest cycle through `node` as a path `[a, b, a]`, each depending on the next, or None."""
    came_from: dict[Node, Node] = {}
    queue = deque([node])
    while queue:
        current = queue.popleft()
        for target in dependencies[current]:
            if target == node:
                path = [node]
                while current != node:
                    path.append(current)
                    current = came_from[current]
                return [node, *reversed(path[1:]), node]
            if target not in came_from:
                came_from[target] = current
                queue.append(target)
    return None


def first_cycle(dependencies: Mapping[Node, Iterable[Node]]) -> list[Node] | None:
    """A shortest cycle through the first node that lies on any cycle, or None where there is none."""
    cyclic = {
        n for component in components(dependencies) if is_cyclic(component, dependencies) for n in component
    }
    first = next((node for node in dependencies if node in cyclic), None)
    return None if first is None else cycle_through(first, dependencies)


def topological_order(dependencies: Mapping[Node, Iterable[Node]]) -> list[Node]:
    """The nodes, each after those that it depends on. Raises ValueError on a cycle."""
    order = components(dependencies)
    if any(is_cyclic(component, dependencies) for component in order):
        raise ValueError("the graph has a cycle")
    return [component[0] for component in order]


def levels(
    dependencies: Mapping[Node, Iterable[Node]],
    length: Callable[[tuple[Node, ...]], int] = lambda component: 1,
) -> dict[Node, int]:
    """The length of the longest way from a node without dependencies to each node.

    A component counts `length(component)` for those that depend on it; its members share one level.
    """
    level: dict[Node, int] = {}
    reach: dict[Node, int] = {}
    for component in components(dependencies):
        own = max((reach[t] for node in component for t in dependencies[node] if t in reach), default=0)
        beyond = own + length(component)
        for node in component:
            level[node], reach[node] = own, beyond
    return level
