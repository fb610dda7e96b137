"""What formulas mean before anything is computed: what is wrong with one, what it reads, its unit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from flowtime.core.constants import NotConstant, constant
from flowtime.core.expression import (
    Array,
    Binary,
    Call,
    Expression,
    Name,
    Negative,
    Span,
    children,
    format_number,
    literal,
    names,
)
from flowtime.core.functions import KNOWN, OPERATORS, TABLE, Argument, Function
from flowtime.core.parameters import Parameter
from flowtime.core.pmf import Pmf
from flowtime.errors import did_you_mean

PmfOf = Callable[[str], Pmf | None]
"""The distribution of the node with this id, or None where it is no pmf node."""


MAX_LAG = 1_000_000
"""The largest lag that a pmf used as CONV's kernel may hold; no grid is longer."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a formula, at a span of its text."""

    code: str
    message: str
    span: Span
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class References:
    """What a formula reads: nodes needed in the same bin, nodes needed in earlier bins only, pmf kernels."""

    now: frozenset[str]
    delayed: frozenset[str]
    kernels: frozenset[str]


def _series_arguments(call: Call) -> tuple[Expression, ...]:
    """The arguments of a valid call that are series: its literals and kernels are left out."""
    function = KNOWN[call.function]
    return tuple(a for i, a in enumerate(call.arguments) if function.parameter(i).kind == "series")


def problems(
    tree: Expression, pmf_of: PmfOf, parameters: Mapping[str, Parameter] = MappingProxyType({})
) -> Iterator[Problem]:
    """Everything wrong with the functions of a formula, in the order of the text.

    Names of series are not looked at: whether they exist is the model's business.
    """
    stack = [tree]
    while stack:
        part = stack.pop()
        match part:
            case Array():
                yield Problem(
                    "FT212", "an array is allowed as CONV's kernel only, not as an argument here", part.span
                )
            case Call(name) if name not in TABLE:
                start, _ = part.span
                span = (start, start + len(name))
                yield Problem("FT211", f"unknown function {name}", span, did_you_mean(name, TABLE))
                stack += [
                    argument for argument in reversed(part.arguments) if not isinstance(argument, Array)
                ]
            case Call():
                function = TABLE[part.function]
                yield from _call_problems(function, part, pmf_of, parameters)
                stack += [
                    argument
                    for index, argument in reversed(list(enumerate(part.arguments)))
                    if function.parameter(index).kind == "series" and not isinstance(argument, Array)
                ]
            case _:
                stack += reversed(children(part))


def _call_problems(
    function: Function, call: Call, pmf_of: PmfOf, parameters: Mapping[str, Parameter]
) -> Iterator[Problem]:
    count, least, most = len(call.arguments), function.least, len(function.parameters)
    if count < least or (count > most and not function.variadic):
        if function.variadic:
            takes = f"{least} or more arguments"
        elif least == most:
            takes = f"{most} argument{'s' * (most != 1)}"
        else:
            takes = f"{least} to {most} arguments"
        yield Problem("FT212", f"{function.name} takes {takes}, not {count}: {function.signature}", call.span)
    for index, given in enumerate(call.arguments[: most if not function.variadic else count]):
        if begins_with_first(call) and index == 2:
            continue
        problem = _argument_problem(function.parameter(index), given, pmf_of, parameters)
        if problem is not None:
            text = f"{function.name}: argument {function.parameter(index).name} {problem}"
            yield Problem("FT212", text, given.span, f"usage: {function.signature}")


def begins_with_first(call: Call) -> bool:
    """Whether a call is SHIFT(x, k, FIRST), which begins with the first value of x."""
    match call:
        case Call("SHIFT", (_, _, Name("FIRST"))):
            return True
    return False


def _argument_problem(
    argument: Argument, given: Expression, pmf_of: PmfOf, parameters: Mapping[str, Parameter]
) -> str | None:
    """What is wrong with what an argument is given, to be read after the argument's name."""
    if argument.kind == "series":
        if isinstance(given, Array):
            return "cannot be an array; arrays are allowed as CONV's kernel only"
        return None
    if argument.kind == "kernel":
        return _kernel_problem(argument, given, pmf_of, parameters)
    values = {id: parameter.value for id, parameter in parameters.items()}
    try:
        value = constant(given, values)
    except NotConstant as why:
        return f"must be {argument.allowed}, known before the run: {why.message}"
    if argument.accepts(value):
        return None
    used = ", ".join(f"{id} = {format_number(values[id])}" for id in sorted({n.id for n in names(given)}))
    return f"must be {argument.allowed}, not {_spelled(value)}{f' ({used})' if used else ''}"


def _spelled(value: float) -> str:
    return format_number(value) if math.isfinite(value) else "a missing value"


def _kernel_problem(
    argument: Argument, given: Expression, pmf_of: PmfOf, parameters: Mapping[str, Parameter]
) -> str | None:
    if isinstance(given, Array):
        values = {id: parameter.value for id, parameter in parameters.items()}
        try:
            weights = [constant(item, values) for item in given.items]
        except NotConstant as why:
            return f"takes numbers that are known before the run: {why.message}"
        odd = next((weight for weight in weights if not math.isfinite(weight)), None)
        return None if odd is None else "takes finite numbers"
    if not isinstance(given, Name):
        return f"must be {argument.allowed}"
    pmf = pmf_of(given.id)
    if pmf is None:
        return f'must be {argument.allowed}; "{given.id}" is not a pmf node'
    for value in pmf.values:
        if not (value.is_integer() and 0 <= value <= MAX_LAG):
            allowed = f"whole numbers from 0 to {MAX_LAG:,}"
            return f'takes a pmf whose values are lags, {allowed}; "{given.id}" has {format_number(value)}'
    return None


def kernel_of(argument: Expression, pmf_of: PmfOf) -> tuple[float, ...]:
    """The weights of a valid kernel argument by lag: an array's numbers, or a pmf's weights at its values."""
    if isinstance(argument, Array):
        return argument.values
    pmf = pmf_of(argument.id) if isinstance(argument, Name) else None
    if pmf is None:
        raise ValueError("a kernel is an array or the id of a pmf node")
    weights = [0.0] * (int(max(pmf.values)) + 1)
    for value, weight in zip(pmf.values, pmf.weights, strict=True):
        weights[int(value)] = weight
    return tuple(weights)


def is_delay(call: Call, pmf_of: PmfOf, parameters: Mapping[str, Parameter] = MappingProxyType({})) -> bool:
    """Whether a call reads only earlier bins, whatever the values of parameters: SHIFT by a literal k >= 1 or
    a parameter that is never less, CONV with a kernel that starts with a literal 0.
    """
    match call:
        case Call("SHIFT", (_, Name(id), *_)) if id in parameters:
            return parameters[id].minimum >= 1.0 and not begins_with_first(call)
        case Call("SHIFT", (_, lag, *_)):
            return (literal(lag) or 0.0) >= 1.0 and not begins_with_first(call)
        case Call("CONV", (_, Array((first, *_)))):
            return literal(first) == 0.0
        case Call("CONV", (_, kernel)):
            return kernel_of(kernel, pmf_of)[0] == 0.0
    return False


def references(
    tree: Expression, pmf_of: PmfOf, parameters: Mapping[str, Parameter] = MappingProxyType({})
) -> References:
    """The nodes that a valid formula reads. A name that occurs both delayed and undelayed is in `now`."""
    now: set[str] = set()
    delayed: set[str] = set()
    kernels: set[str] = set()
    stack = [(tree, False)]
    while stack:
        part, late = stack.pop()
        if isinstance(part, Name):
            (delayed if late else now).add(part.id)
        elif isinstance(part, Call):
            if part.function == "CONV" and isinstance(part.arguments[1], Name):
                kernels.add(part.arguments[1].id)
            late = late or is_delay(part, pmf_of, parameters)
            stack += [(argument, late) for argument in _series_arguments(part)]
        elif isinstance(part, Binary):
            stack += [(part.left, late), (part.right, late)]
        else:
            stack += [(child, late) for child in children(part)]
    known = frozenset(parameters)
    return References(frozenset(now) - known, frozenset(delayed - now) - known, frozenset(kernels))


def unit_of(tree: Expression, units: Mapping[str, str | None]) -> str | None:
    """The unit of a valid formula's result where it is unambiguous, else None.

    `units` holds what is known of the nodes. Literals fit any unit: `x + 1` and `x * 2` have x's unit.
    """
    done: dict[int, str | None] = {}
    stack = [(tree, False)]
    while stack:
        part, ready = stack.pop()
        if isinstance(part, Name):
            done[id(part)] = units.get(part.id)
        elif not ready:
            stack.append((part, True))
            stack += [(child, False) for child in children(part) if not isinstance(child, Array)]
        else:
            sources = [source for source in _unit_sources(part) if literal(source) is None]
            found = {done[id(source)] for source in sources}
            done[id(part)] = found.pop() if len(found) == 1 else None
    return done[id(tree)]


def _unit_sources(tree: Expression) -> tuple[Expression, ...]:
    match tree:
        case Negative(operand):
            return (operand,)
        case Binary("*", left, right):
            return (left, right) if literal(left) is not None or literal(right) is not None else ()
        case Binary("/", left, right):
            return (left,) if literal(right) is not None else ()
        case Binary(operator, left, right):
            return (left, right) if OPERATORS[operator].unit_from else ()
        case Call(name, arguments):
            function = KNOWN[name]
            return tuple(
                a for i, a in enumerate(arguments) if function.parameter(i).name in function.unit_from
            )
    return ()
