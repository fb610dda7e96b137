"""Sampling: a model taken apart into what is certain and what its distributions reach."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from flowtime.core.expression import Expression
from flowtime.core.semantics import References
from flowtime.core.series import FloatArray
from flowtime.engine.evaluate import evaluate
from flowtime.engine.expansion import ParameterNode, expand
from flowtime.engine.plan import Plan, compile, pmfs, reads
from flowtime.engine.sources import Sources, sources
from flowtime.errors import Diagnostic, InvalidInput
from flowtime.model.parameters import set_values
from flowtime.model.spec import Model, Output, PmfNode


@dataclass(frozen=True, slots=True)
class Sampling:
    """A model ready to be sampled.

    `certain` holds the `(bins,)` recorded series that are the same in every sample, by node id, and
    `warnings` what there was to say about them. `plan` computes the `uncertain` nodes, in the order of
    their rows, from `inputs`. Of both, those in `extra` are formulas beside the model's own series; they are
    the last of the `uncertain`.
    """

    model: Model = field(repr=False)
    certain: Mapping[str, FloatArray] = field(repr=False)
    warnings: tuple[Diagnostic, ...]
    plan: Plan = field(repr=False)
    seed: int | None
    inputs: Mapping[str, FloatArray] = field(repr=False)
    uncertain: tuple[str, ...]
    extra: tuple[str, ...] = ()

    def sources(self, values: Mapping[str, FloatArray] | None = None) -> Sources:
        """What the samples are computed from, or points with these `(points,)` values of the parameters that
        vary. Raises InvalidInput (FT214) without a seed.
        """
        return sources(self.plan, self.seed, self.inputs, values)


def prepare(
    model: Model,
    *,
    seed: int | None = None,
    parameters: Mapping[str, float | str] | None = None,
    extra: Mapping[str, Expression] | None = None,
    varied: Collection[str] | None = None,
) -> Sampling:
    """The model with all its pmf nodes drawn, whatever their mode, and its parameters with a spread, unless
    `parameters` sets them; only what is recorded is computed.

    With `varied` these parameters have other values at every point instead, all else is as in a run, and
    only `extra` formulas are recorded.

    `seed` takes the place of the model's. Raises InvalidInput where nothing recorded depends on a
    distribution (FT304), on a cycle without a delay (FT213), and on values of parameters (FT221).
    """
    seed = model.seed if seed is None else seed
    values = set_values(model.parameters, parameters or {})
    sets = tuple(model.spread(parameters or ()) if varied is None else varied)
    original, model = model, expand(model, values, extra, sets)
    nodes = {node.id: node for node in model.nodes}
    pmf_of = pmfs(model.nodes)
    read = {node.id: reads(node, pmf_of) for node in model.nodes}
    none = References(frozenset(), frozenset(), frozenset())
    series = {id: read.get(id, none).now | read.get(id, none).delayed for id in nodes}
    recorded = {node.id for _, node in model.recorded()} if varied is None else set(extra or ())
    needed = _reached(recorded, series)
    readers: dict[str, set[str]] = {id: set() for id in nodes}
    for id in needed:
        for source in series[id]:
            readers[source].add(id)
    kinds = PmfNode | ParameterNode if varied is None else ParameterNode
    drawn = [id for id in needed if isinstance(nodes[id], kinds)]
    varying = _reached(drawn, readers)
    if not varying:
        raise InvalidInput(
            "FT304",
            "no recorded series depends on a distribution, so every sample would be the same",
            where=model.metadata.id,
            hint="run it without samples, or give a node a distribution (kind: pmf) or a parameter a spread",
        )
    border = {source for id in varying for source in series[id]} - varying

    def part(ids: Collection[str], outputs: Collection[str]) -> Model:
        """A model of these nodes, and of those that are kernels only, whose own series nobody reads."""
        kernels = {kernel for id in ids for kernel in read.get(id, none).kernels}
        return Model(
            tuple(
                replace(node, sampled=node.id in ids)
                if varied is None and isinstance(node, PmfNode)
                else node
                for node in model.nodes
                if node.id in ids or node.id in kernels
            ),
            model.grid,
            outputs=tuple(Output(node.id) for node in model.nodes if node.id in outputs),
        )

    fixed = part(needed - varying, (recorded - varying) | border)
    once = evaluate(compile(fixed), seed=seed)
    certain = {node.id: row for (_, node), row in zip(fixed.recorded(), once.series.values, strict=True)}
    moving = part(varying | border, recorded & varying)
    return Sampling(
        model=original,
        certain={id: row for id, row in certain.items() if id in recorded},
        warnings=once.warnings,
        plan=compile(moving, border),
        seed=seed,
        inputs={id: row for id, row in certain.items() if id in border},
        uncertain=tuple(node.id for _, node in moving.recorded()),
        extra=tuple(extra or ()),
    )


def _reached(starts: Collection[str], next: Mapping[str, Collection[str]]) -> set[str]:
    """The nodes that can be reached, the starts among them."""
    found = set(starts)
    stack = list(starts)
    while stack:
        new = set(next[stack.pop()]) - found
        found |= new
        stack += new
    return found
