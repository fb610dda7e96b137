"""How long a queue makes wait: exact for the fluid, first in, first out.

Rates are constant within a bin, so what was admitted and what was served are piecewise linear in time. Those
who are served in a bin came in a few stretches of even arrival, and the wait within a stretch lies evenly
between two bounds. A mixture of such stretches has its mean and quantiles in closed form.

A stretch has a number: 0 is what waits before bin 0, 2t + 1 what is admitted in bin t until the queue is full
(often nothing), 2t + 2 the rest of bin t. Amounts are divided by the share that has not abandoned since the
beginning, which makes a queue that people leave first in, first out again.

Every function uses only what WebAssembly has, too: `scripts/webassembly.py` translates them to `waits.wat`,
which compiled programs include. Times are in bins.
"""

from __future__ import annotations

import math
from collections.abc import MutableSequence

Row = MutableSequence[float]
"""Doubles in memory."""

_NAN = math.nan
_THIN = 1e-100
"""Amounts are divided anew before the share that has not abandoned becomes less than this."""

# What `wanted` adds up.
MEAN, P50, P95, P99, WITHIN = 1, 2, 4, 8, 16

ORDER = ("wait_joining", "wait_mean", "wait_p50", "wait_p95", "wait_p99", "within_slo")
"""The measures in the order of the rows that they are written to."""


def waits(
    first: int,
    end: int,
    wanted: int,
    initial: float,
    limit: float,
    slo: float,
    scale: float,
    arrivals: Row,
    capacity: Row,
    served: Row,
    lost: Row,
    abandon: Row,
    expired: Row,
    depth: Row,
    amounts: Row,
    fills: Row,
    low: Row,
    high: Row,
    mass: Row,
    state: Row,
    joining: Row,
    mean: Row,
    p50: Row,
    p95: Row,
    p99: Row,
    within: Row,
) -> None:
    """Writes the waits of those who are served in the bins from `first` up to `end`, and of one who joins at
    the end of a bin; the bins before must have been done before.

    What was admitted and served comes as `(bins,)` rows in units a bin: `abandon` is the share that leaves
    when a bin begins, `expired` who leaves when it ends; `limit` is infinity where there is none. From the
    first missing depth on, all results are missing.

    `mean`, `p50`, `p95` and `p99` get waits times `scale`, missing where nobody is served, `within` the share
    that waits at most `slo` bins; of these only the rows that `wanted` names are written. `joining` gets the
    wait of one who joins at the end of the bin, times `scale`, missing where that lies beyond the last bin.

    Scratch: `amounts` of 2·bins + 1 doubles, `fills` of bins, `low`, `high` and `mass` of 2·bins + 2, `state`
    of 3: the stretch at the head of the queue, how much of it has gone, the share that has not abandoned.
    """
    before = initial
    t = first
    if t == 0:
        amounts[0] = initial
        state[0] = 0.0
        state[1] = 0.0
        state[2] = 1.0
    else:
        before = depth[t - 1]
    while t < end:
        joining[t] = _NAN
        count = 0
        if math.isnan(before) or math.isnan(depth[t]):
            before = _NAN
        else:
            before = before - abandon[t] * before
            _thin(t, abandon[t], amounts, state)
            _admit(t, before, limit, arrivals[t], capacity[t], lost[t], amounts, fills, state)
            count = _serve(
                t,
                before,
                arrivals[t],
                capacity[t],
                served[t],
                scale,
                amounts,
                fills,
                low,
                high,
                mass,
                state,
                joining,
            )
            if expired[t] > 0.0:
                _expire(t, expired[t], amounts, state)
            if depth[t] == 0.0:
                _empty(t, float(t + 1), scale, state, joining)
                joining[t] = 0.0
            before = depth[t]
        _summarise(t, wanted, count, slo, scale, low, high, mass, mean, p50, p95, p99, within)
        t = t + 1


def _thin(t: int, share: float, amounts: Row, state: Row) -> None:
    """Takes a share of all who wait; the amounts are divided anew before they become too large."""
    state[2] = state[2] * (1.0 - share)
    if state[2] < _THIN:
        s = int(state[0])
        while s <= 2 * t:
            amounts[s] = amounts[s] * state[2]
            s = s + 1
        state[1] = state[1] * state[2]
        state[2] = 1.0


def _admit(
    t: int,
    before: float,
    limit: float,
    arrivals: float,
    capacity: float,
    lost: float,
    amounts: Row,
    fills: Row,
    state: Row,
) -> None:
    """Adds the two stretches of bin t."""
    fills[t] = 0.0
    first = 0.0
    if lost > 0.0 and arrivals > capacity:
        fills[t] = max(0.0, min(1.0, (limit - before) / (arrivals - capacity)))
        first = arrivals * fills[t]
    amounts[2 * t + 1] = first / state[2]
    amounts[2 * t + 2] = max(0.0, arrivals - lost - first) / state[2]


def _first_of(s: int, fills: Row) -> float:
    """When the first of a stretch was admitted."""
    if s == 0:
        return 0.0
    t = (s - 1) >> 1
    if s % 2 == 1:
        return float(t)
    return float(t) + fills[t]


def _last_of(s: int, fills: Row) -> float:
    """When the last of a stretch was admitted."""
    t = (s - 1) >> 1
    if s % 2 == 1:
        return float(t) + fills[t]
    return float(t + 1)


def _serve(
    t: int,
    before: float,
    arrivals: float,
    capacity: float,
    served: float,
    scale: float,
    amounts: Row,
    fills: Row,
    low: Row,
    high: Row,
    mass: Row,
    state: Row,
    joining: Row,
) -> int:
    """Serves bin t from the head of the queue; returns how many parts of stretches that were."""
    busy = 1.0
    if served < capacity:
        busy = min(1.0, before / (capacity - arrivals))
    total = busy * capacity / state[2]
    head = int(state[0])
    done = 0.0
    count = 0
    while done < total and head <= 2 * t + 2:
        amount = amounts[head]
        rest = amount - state[1]
        part = min(rest, total - done)
        if part > 0.0:
            begin = _first_of(head, fills)
            length = _last_of(head, fills) - begin
            first = max(0.0, float(t) + busy * done / total - (begin + length * state[1] / amount))
            done = done + part
            last = max(0.0, float(t) + busy * done / total - (begin + length * (state[1] + part) / amount))
            low[count] = min(first, last)
            high[count] = max(first, last)
            mass[count] = part
            count = count + 1
        if part < rest:
            state[1] = state[1] + part
            done = total
        else:
            if head % 2 == 0 and head > 0:
                joining[(head - 2) >> 1] = scale * max(
                    0.0, float(t) + busy * done / total - _last_of(head, fills)
                )
            state[1] = 0.0
            head = head + 1
    state[0] = float(head)
    if served < capacity:
        if busy < 1.0 and arrivals > 0.0:
            low[count] = 0.0
            high[count] = 0.0
            mass[count] = arrivals * (1.0 - busy) / state[2]
            count = count + 1
        _empty(t, float(t) + busy, scale, state, joining)
    return count


def _expire(t: int, expired: float, amounts: Row, state: Row) -> None:
    """Takes who has waited longest."""
    gone = expired / state[2]
    head = int(state[0])
    while gone > 0.0 and head <= 2 * t + 2:
        rest = amounts[head] - state[1]
        if gone < rest:
            state[1] = state[1] + gone
            gone = 0.0
        else:
            gone = gone - rest
            state[1] = 0.0
            head = head + 1
    state[0] = float(head)


def _empty(t: int, time: float, scale: float, state: Row, joining: Row) -> None:
    """Ends all stretches at a time, at which nobody waits any more."""
    s = int(state[0])
    while s <= 2 * t:
        if s % 2 == 0 and s > 0:
            joining[(s - 2) >> 1] = scale * max(0.0, time - float(s >> 1))
        s = s + 1
    state[0] = float(2 * t + 3)
    state[1] = 0.0
    state[2] = 1.0


def _summarise(
    t: int,
    wanted: int,
    count: int,
    slo: float,
    scale: float,
    low: Row,
    high: Row,
    mass: Row,
    mean: Row,
    p50: Row,
    p95: Row,
    p99: Row,
    within: Row,
) -> None:
    """Writes what is wanted of the mixture of bin t."""
    total = 0.0
    moment = 0.0
    i = 0
    while i < count:
        total = total + mass[i]
        moment = moment + mass[i] * (0.5 * (low[i] + high[i]))
        i = i + 1
    if (wanted & MEAN) != 0:
        mean[t] = scale * (moment / total) if total > 0.0 else _NAN
    if (wanted & P50) != 0:
        p50[t] = scale * _quantile(0.5 * total, count, low, high, mass) if total > 0.0 else _NAN
    if (wanted & P95) != 0:
        p95[t] = scale * _quantile(0.95 * total, count, low, high, mass) if total > 0.0 else _NAN
    if (wanted & P99) != 0:
        p99[t] = scale * _quantile(0.99 * total, count, low, high, mass) if total > 0.0 else _NAN
    if (wanted & WITHIN) != 0:
        within[t] = _waiting_at_most(slo, count, low, high, mass) / total if total > 0.0 else _NAN


def _waiting_at_most(wait: float, count: int, low: Row, high: Row, mass: Row) -> float:
    """How much of the mixture waits at most so long."""
    found = 0.0
    i = 0
    while i < count:
        if wait >= high[i]:
            found = found + mass[i]
        elif wait > low[i]:
            found = found + mass[i] * ((wait - low[i]) / (high[i] - low[i]))
        i = i + 1
    return found


def _quantile(target: float, count: int, low: Row, high: Row, mass: Row) -> float:
    """The smallest wait that at least `target` of the mixture does not exceed.

    Bounds of the parts close in on it: of those that lie between, the middle one in their order is looked at,
    until none does. Between two neighbouring bounds the distribution rises evenly.
    """
    if count == 0:
        return _NAN
    under = -1.0
    over = 0.0
    i = 0
    while i < count:
        over = max(over, high[i])
        i = i + 1
    between = _between(under, over, count, low, high)
    while between > 0:
        bound = _bound(between >> 1, under, over, count, low, high)
        if _waiting_at_most(bound, count, low, high, mass) >= target:
            over = bound
        else:
            under = bound
        between = _between(under, over, count, low, high)
    found = _waiting_at_most(under, count, low, high, mass)
    slope = 0.0
    i = 0
    while i < count:
        if low[i] <= under and high[i] >= over:
            slope = slope + mass[i] / (high[i] - low[i])
        i = i + 1
    if under < 0.0 or found + slope * (over - under) < target:
        return over
    return min(over, under + (target - found) / slope)


def _between(under: float, over: float, count: int, low: Row, high: Row) -> int:
    """How many bounds of parts lie between two waits."""
    found = 0
    i = 0
    while i < count:
        if low[i] > under and low[i] < over:
            found = found + 1
        if high[i] > under and high[i] < over:
            found = found + 1
        i = i + 1
    return found


def _bound(number: int, under: float, over: float, count: int, low: Row, high: Row) -> float:
    """The bound with this number, from 0, of those that lie between two waits."""
    found = number
    i = 0
    while i < count:
        if low[i] > under and low[i] < over:
            if found == 0:
                return low[i]
            found = found - 1
        if high[i] > under and high[i] < over:
            if found == 0:
                return high[i]
            found = found - 1
        i = i + 1
    return over
