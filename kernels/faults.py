"""Faults put into counts: bins that lose or gain entries, boxes that are exchanged, entries that move along an axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.kernels.jit import kernel, part_kernel, steady_kernel
from dqmroot.kernels.random import binomial, poisson, uniform
from dqmroot.kernels.rows import over_rows, rows

__all__ = ["box_sums", "change_counts", "copy_counts", "draw_poisson", "exchange", "move_along", "set_boxes"]

Array = NDArray[Any]

# Up to so many entries are moved one by one.
_ONE_BY_ONE = 64.0
# Counts below this are thinned with tables; half of it is the mean at which rejection becomes faster.
_TABLE = 20


def change_counts(
    counts: Array,
    boxes: Array,
    keys: Array,
    *,
    keep: float = 1.0,
    drop: float = 0.0,
    mean: Array | None = None,
    rate: Array | None = None,
    factor: float = 1.0,
    cap: Array | None = None,
    random: bool = True,
) -> None:
    """Thin the counts in one box per row, and add new ones, in place.

    Args:
        counts: ``(n, z, y, x)``, contiguous and writable.
        boxes: ``(n, 3, 2)`` int64, first and last bin (exclusive) in z, y and x; nothing happens where a box is empty.
        keys: ``(n,)`` uint64, a key of random numbers for each row.
        keep: Probability that an entry is kept.
        drop: Probability that a bin of the box loses all entries.
        mean: ``(z, y, x)`` float64, what the bins hold on average where ``rate`` is 1; nothing is added without.
        rate: ``(n,)`` float64.
        factor: ``factor·rate·mean`` new entries are added on average.
        cap: ``(n,)`` float64, the number of events where each adds at most one entry to a bin, else infinite. Of the events
            without an entry so many get one that the rate grows by ``1 + factor``, but to no more than one per event.
        random: Whether numbers are drawn; otherwise means are used.
    """
    n = len(counts)
    gain = np.zeros((1, 1, 1)) if mean is None else np.ascontiguousarray(mean, np.float64)
    rates = np.ones(n) if rate is None else np.ascontiguousarray(rate, np.float64)
    caps = np.full(n, np.inf) if cap is None else np.ascontiguousarray(cap, np.float64)
    numbers = (float(keep), float(drop), gain, rates, float(factor), caps, random)
    over_rows(_change_counts, n, counts.nbytes, (counts, boxes, keys, *numbers))


def set_boxes(counts: Array, boxes: Array, values: Array) -> None:
    """Set one box per row of ``counts``, ``(n, z, y, x)``, to ``values[i]``, in place; ``boxes`` as in `change_counts`."""
    over_rows(_set_boxes, len(counts), counts.nbytes, (counts, boxes, np.asarray(values, np.float64)))


def exchange(counts: Array, boxes: Array, others: Array) -> None:
    """Exchange two boxes of the same size in each row, in place; they must not overlap. Arguments as in `change_counts`."""
    over_rows(_exchange, len(counts), counts.nbytes, (counts, boxes, others))


def move_along(counts: Array, active: Array, spread: Array, keys: Array, *, random: bool = True) -> None:
    """Move each entry along the last axis, in place.

    Args:
        counts: ``(n, lines, x)``, contiguous and writable.
        active: ``(n, lines)`` bool, the lines that are changed.
        spread: ``(x, x)`` float64: row a holds the probabilities that an entry of bin a goes to each bin; they add up to 1.
        keys: ``(n,)`` uint64, a key of random numbers for each row.
        random: Whether numbers are drawn; otherwise means are used.
    """
    some = spread > 0
    low = np.argmax(some, axis=1)
    high = spread.shape[1] - np.argmax(some[:, ::-1], axis=1)
    below = np.cumsum(spread, axis=1)
    over_rows(_move_along, len(counts), counts.nbytes, (counts, active, spread, below, low, high, keys, random))


def draw_poisson(means: Array, keys: Array) -> Array:
    """Draw Poisson numbers of the means ``(n, bins)``, one key for each row; float64."""
    means = np.ascontiguousarray(means, np.float64)
    out = np.empty_like(means)
    over_rows(_draw_poisson, len(means), means.nbytes, (means, keys, out))
    return out


def box_sums(counts: Array, boxes: Array) -> Array:
    """``(n,)`` float64: the sum of one box per row of ``counts``, ``(n, z, y, x)``; ``boxes`` as in `change_counts`."""
    out = np.empty(len(counts))
    over_rows(_box_sums, len(counts), counts.nbytes, (counts, boxes, out))
    return out


def copy_counts(counts: Array) -> tuple[Array, Array, Array]:
    """Copy counts, and look at them on the way.

    Args:
        counts: ``(n, …)``.

    Returns:
        A copy, float32 for float32, else float64; and ``(n,)`` each how many are negative, and how many are no whole
        numbers; NaN is neither.
    """
    flat, strides, shape = rows(counts.reshape(len(counts), 1, 1, math.prod(counts.shape[1:])))
    out = np.empty(counts.shape, np.float32 if counts.dtype == np.float32 else np.float64)
    negative, broken = np.zeros(len(counts), np.int64), np.zeros(len(counts), np.int64)
    cells = out.reshape(-1)
    over_rows(_copy_counts, len(counts), counts.nbytes, (flat, strides[0], shape[3], cells, negative, broken))
    return out, negative, broken


@kernel
def _box_sums(first, last, counts, boxes, out):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        total = 0.0
        for z in range(boxes[i, 0, 0], boxes[i, 0, 1]):
            for y in range(boxes[i, 1, 0], boxes[i, 1, 1]):
                for x in range(boxes[i, 2, 0], boxes[i, 2, 1]):
                    total += np.float64(counts[i, z, y, x])
        out[i] = total


@steady_kernel
def _copy_counts(first, last, flat, sn, nx, out, negative, broken):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        below = between = np.int64(0)
        for x in range(nx):
            value = np.float64(flat[np.uintp(i * sn + x)])
            out[np.uintp(i * nx + x)] = value
            below += value < 0.0
            # NaN differs from itself, and infinity rounds to itself.
            between += (np.floor(value) != value) & (value == value)  # noqa: PLR0124
        negative[i], broken[i] = below, between


@part_kernel
def _gained(kept, mean, factor, cap, random, state):  # type: ignore[no-untyped-def]
    """How many entries a bin gains that keeps so many and usually holds ``mean``."""
    gain = factor * mean
    if cap == np.inf:
        return poisson(gain, state) if random else gain
    p = min(mean / cap, 1.0)
    chance = (min((1.0 + factor) * p, 1.0) - p) / (1.0 - p) if p < 1.0 else 0.0
    return binomial(max(cap - kept, 0.0), chance, state) if random else max(cap - kept, 0.0) * chance


@kernel
def _change_counts(first, last, counts, boxes, keys, keep, drop, mean, rate, factor, cap, random):  # type: ignore[no-untyped-def]
    state = np.empty(1, np.uint64)
    # Small counts are thinned by inversion: below[n, k] is the probability that at most k of n go the rarer way.
    less = min(keep, 1.0 - keep)
    below = np.ones((_TABLE if random and 0.0 < keep < 1.0 else 0, _TABLE))
    for n in range(len(below)):
        chance, summed = math.exp(n * math.log1p(-less)), 0.0
        for k in range(n):
            summed += chance
            below[n, k] = summed
            chance *= less / (1.0 - less) * (n - k) / (k + 1.0)
    for i in range(first, last):
        state[0] = keys[i]
        for z in range(boxes[i, 0, 0], boxes[i, 0, 1]):
            for y in range(boxes[i, 1, 0], boxes[i, 1, 1]):
                for x in range(boxes[i, 2, 0], boxes[i, 2, 1]):
                    count = np.float64(counts[i, z, y, x])
                    kept: Any = count
                    dropped = False
                    if not random:
                        kept = count * keep * (1.0 - drop)
                    elif drop > 0.0 and uniform(state) < drop:
                        kept, dropped = 0.0, True
                    elif 0.0 <= count < len(below):
                        u, line, less_likely = uniform(state), below[np.uintp(count)], 0
                        for k in range(_TABLE):
                            less_likely += u > line[k]
                        kept = less_likely if keep <= 0.5 else count - less_likely
                    elif keep < 1.0:
                        kept = binomial(count, keep, state)
                    if mean.size > 1 and not dropped:
                        kept += _gained(kept, rate[i] * mean[z, y, x], factor, cap[i], random, state)
                    counts[i, z, y, x] = kept


@kernel
def _set_boxes(first, last, counts, boxes, values):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        for z in range(boxes[i, 0, 0], boxes[i, 0, 1]):
            for y in range(boxes[i, 1, 0], boxes[i, 1, 1]):
                for x in range(boxes[i, 2, 0], boxes[i, 2, 1]):
                    counts[i, z, y, x] = values[i]


@kernel
def _exchange(first, last, counts, boxes, others):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        dz, dy, dx = (
            others[i, 0, 0] - boxes[i, 0, 0],
            others[i, 1, 0] - boxes[i, 1, 0],
            others[i, 2, 0] - boxes[i, 2, 0],
        )
        for z in range(boxes[i, 0, 0], boxes[i, 0, 1]):
            for y in range(boxes[i, 1, 0], boxes[i, 1, 1]):
                for x in range(boxes[i, 2, 0], boxes[i, 2, 1]):
                    here = counts[i, z, y, x]
                    counts[i, z, y, x] = counts[i, z + dz, y + dy, x + dx]
                    counts[i, z + dz, y + dy, x + dx] = here


@part_kernel
def _move_each(count, below, low, high, moved, state):  # type: ignore[no-untyped-def]
    for _ in range(int(count)):
        u = uniform(state)
        a, b = low, high - 1
        while a < b:
            middle = (a + b) // 2
            if below[middle] > u:
                b = middle
            else:
                a = middle + 1
        moved[a] += 1.0


@part_kernel
def _move_many(count, spread, low, high, moved, state):  # type: ignore[no-untyped-def]
    left, share = count, 1.0
    for b in range(low, high):
        if left <= 0.0:
            break
        # What is left is shared among the bins that remain.
        part = left if b == high - 1 else binomial(left, min(spread[b] / share, 1.0), state)
        moved[b] += part
        left -= part
        share -= spread[b]


@kernel
def _move_along(first, last, counts, active, spread, below, low, high, keys, random):  # type: ignore[no-untyped-def]
    nx = counts.shape[2]
    moved = np.empty(nx)
    state = np.empty(1, np.uint64)
    for i in range(first, last):
        state[0] = keys[i]
        for line in range(counts.shape[1]):
            if not active[i, line]:
                continue
            for b in range(nx):
                moved[b] = 0.0
            for a in range(nx):
                count = np.float64(counts[i, line, a])
                if not random:
                    for b in range(low[a], high[a]):
                        moved[b] += count * spread[a, b]
                elif high[a] - low[a] == 1 or np.isnan(count):
                    for b in range(low[a], high[a]):
                        moved[b] += count
                elif count <= _ONE_BY_ONE:
                    _move_each(count, below[a], low[a], high[a], moved, state)
                else:
                    _move_many(count, spread[a], low[a], high[a], moved, state)
            for a in range(nx):
                counts[i, line, a] = moved[a]


@kernel
def _draw_poisson(first, last, means, keys, out):  # type: ignore[no-untyped-def]
    state = np.empty(1, np.uint64)
    for i in range(first, last):
        state[0] = keys[i]
        for x in range(means.shape[1]):
            out[i, x] = poisson(means[i, x], state)
