"""Faults put into counts: bins that lose or gain entries, boxes that are exchanged, entries that move along an axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.kernels.jit import kernel
from dqmroot.kernels.random import binomial, binomial_by_inversion, poisson, uniform
from dqmroot.kernels.rows import over_rows, rows

__all__ = ["broken_counts", "change_counts", "draw_poisson", "exchange", "move_along", "set_boxes"]

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
    over_rows(_change_counts, n, counts.nbytes, counts, boxes, keys, *numbers)


def set_boxes(counts: Array, boxes: Array, values: Array) -> None:
    """Set one box per row of ``counts``, ``(n, z, y, x)``, to ``values[i]``, in place; ``boxes`` as in `change_counts`."""
    over_rows(_set_boxes, len(counts), counts.nbytes, counts, boxes, np.asarray(values, np.float64))


def exchange(counts: Array, boxes: Array, others: Array) -> None:
    """Exchange two boxes of the same size in each row, in place; they must not overlap. Arguments as in `change_counts`."""
    over_rows(_exchange, len(counts), counts.nbytes, counts, boxes, others)


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
    over_rows(_move_along, len(counts), counts.nbytes, counts, active, spread, below, low, high, keys, random)


def draw_poisson(means: Array, keys: Array) -> Array:
    """Draw Poisson numbers of the means ``(n, bins)``, one key for each row; float64."""
    means = np.ascontiguousarray(means, np.float64)
    out = np.empty_like(means)
    over_rows(_draw_poisson, len(means), means.nbytes, means, keys, out)
    return out


def broken_counts(counts: Array) -> tuple[Array, Array]:
    """``(n,)`` each: how many of ``counts``, ``(n, …)``, are negative, and how many are no whole numbers; NaN is neither."""
    flat, strides, shape = rows(counts.reshape(len(counts), 1, 1, int(np.prod(counts.shape[1:]))))
    negative, broken = np.zeros(len(counts), np.int64), np.zeros(len(counts), np.int64)
    over_rows(_broken_counts, len(counts), counts.nbytes, flat, strides[0], shape[3], negative, broken)
    return negative, broken


@kernel
def _broken_counts(first, last, flat, sn, nx, negative, broken):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        line = flat[i * sn : i * sn + nx]
        below = between = np.int64(0)
        for x in range(nx):
            value = np.float64(line[x])
            below += value < 0.0
            # NaN differs from itself, and infinity rounds to itself.
            between += (np.floor(value) != value) & (value == value)  # noqa: PLR0124
        negative[i], broken[i] = below, between


@kernel
def _changed(count, keep, drop, odds, none, mean, factor, cap, random, state):  # type: ignore[no-untyped-def]
    gain, chance = factor * mean, 0.0
    if cap < np.inf:
        p = min(mean / cap, 1.0)
        chance = (min((1.0 + factor) * p, 1.0) - p) / (1.0 - p) if p < 1.0 else 0.0
    if not random:
        kept = count * keep * (1.0 - drop)
        return kept + (gain if cap == np.inf else max(cap - kept, 0.0) * chance)
    if drop > 0.0 and uniform(state) < drop:
        return 0.0
    kept = count
    if count < len(none) and count >= 0.0:
        lost = binomial_by_inversion(count, odds, none[int(count)], state)
        kept = lost if keep <= 0.5 else count - lost
    elif keep < 1.0:
        kept = binomial(count, keep, state)
    if gain <= 0.0:
        return kept
    if cap == np.inf:
        return kept + poisson(gain, state)
    return kept + binomial(max(cap - kept, 0.0), chance, state)


@kernel
def _change_counts(first, last, counts, boxes, keys, keep, drop, mean, rate, factor, cap, random):  # type: ignore[no-untyped-def]
    state = np.empty(1, np.uint64)
    # Small counts are thinned by inversion, for which much is the same for all.
    less = min(keep, 1.0 - keep)
    odds = less / (1.0 - less)
    none = np.empty(_TABLE if 0.0 < keep < 1.0 else 0)
    for size in range(len(none)):
        none[size] = math.exp(size * math.log1p(-less))
    for i in range(first, last):
        state[0] = keys[i]
        for z in range(boxes[i, 0, 0], boxes[i, 0, 1]):
            for y in range(boxes[i, 1, 0], boxes[i, 1, 1]):
                for x in range(boxes[i, 2, 0], boxes[i, 2, 1]):
                    count = np.float64(counts[i, z, y, x])
                    usual = rate[i] * mean[z, y, x] if mean.size > 1 else 0.0
                    counts[i, z, y, x] = _changed(count, keep, drop, odds, none, usual, factor, cap[i], random, state)


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


@kernel
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


@kernel
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
