"""Histograms whose axis grows by a label at a time, put together as ``TH1::Merge`` does: what bears the same label adds up."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dqmroot.io.arrays import MEInfo, Rows
from dqmroot.series import Axis

__all__ = ["Grown", "by_label", "grown_of", "put_back"]


@dataclass(frozen=True)
class Grown:
    """One row of a histogram of one dimension: its axis, and its numbers with flow bins."""

    axis: Axis
    entries: float
    contents: NDArray[np.float64]
    sumw2: NDArray[np.float64] | None


def grown_of(rows: Rows, i: int, info: MEInfo) -> Grown:
    """Return row ``i``."""
    a, b = int(rows.offsets[i]), int(rows.offsets[i + 1])
    sumw2 = None
    if rows.sumw2 is not None and rows.sumw2_at is not None and rows.sumw2_at[i] >= 0:
        sumw2 = rows.sumw2[rows.sumw2_at[i] : rows.sumw2_at[i] + b - a].copy()
    return Grown(info.axes[0], float(rows.entries[i]), rows.contents[a:b].astype(np.float64), sumw2)


def by_label(mine: Grown, other: Grown) -> Grown | None:
    """Return the sum of two rows, labels that ``mine`` lacks after its own; ``None`` where a bin with contents has no label."""
    n_mine, n_other = _n_labels(mine), _n_labels(other)
    if n_mine is None or n_other is None:
        return None
    place = {label: i + 1 for i, label in enumerate(mine.axis.labels[:n_mine])}
    goal = np.array([place.setdefault(label, len(place) + 1) for label in other.axis.labels[:n_other]], np.intp)
    nbins = max(mine.axis.nbins, 1)
    while nbins < len(place):
        nbins *= 2
    stretch = nbins / mine.axis.nbins
    high = mine.axis.low + stretch * (mine.axis.high - mine.axis.low)
    axis = Axis(nbins, mine.axis.low, high, None, (*place, *[""] * (nbins - len(place))), mine.axis.title)

    def added(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        out = np.zeros(nbins + 2)
        out[: n_mine + 1] = a[: n_mine + 1]
        out[0] += b[0]
        out[-1] = a[-1] + b[-1]
        np.add.at(out, goal, b[1 : n_other + 1])
        return out

    squares = None
    if mine.sumw2 is not None or other.sumw2 is not None:
        squares = added(*(abs(one.contents) if one.sumw2 is None else one.sumw2 for one in (mine, other)))
    return Grown(axis, mine.entries + other.entries, added(mine.contents, other.contents), squares)


def _n_labels(one: Grown) -> int | None:
    """Number of labels, which stand in the first bins; ``None`` where they do not, or where other bins hold something."""
    n = sum(map(bool, one.axis.labels))
    plain = all(one.axis.labels[:n]) and one.axis.edges is None and not one.contents[n + 1 : -1].any()
    return n if n and plain else None


def put_back(rows: Rows, made: dict[int, Grown], table: list[MEInfo]) -> Rows:
    """Put rows in the place of others; elements with axes that ``table`` does not have yet are added to it."""
    me, entries, sizes = rows.me.copy(), rows.entries.copy(), np.diff(rows.offsets)
    parts, done = [], 0
    sumw2 = [np.empty(0) if rows.sumw2 is None else rows.sumw2]
    at = np.full(len(rows), -1, np.int64) if rows.sumw2_at is None else rows.sumw2_at.copy()
    known: dict[tuple[str, tuple[Axis, ...]], int] = {}
    for i, one in sorted(made.items()):
        info = dataclasses.replace(table[me[i]], axes=(one.axis,))
        key = (info.name, info.axes)
        if key not in known:
            same = [
                k
                for k, old in enumerate(table)
                if (old.name, old.storage, old.axes) == (info.name, info.storage, info.axes)
            ]
            known[key] = same[0] if same else len(table)
            if not same:
                table.append(info)
        me[i], entries[i], sizes[i] = known[key], one.entries, len(one.contents)
        limit = np.iinfo(rows.contents.dtype).max if rows.contents.dtype.kind == "i" else np.inf
        parts += [
            rows.contents[done : rows.offsets[i]],
            np.clip(one.contents, -limit, limit).astype(rows.contents.dtype),
        ]
        done = int(rows.offsets[i + 1])
        at[i] = -1
        if one.sumw2 is not None:
            at[i] = sum(map(len, sumw2))
            sumw2.append(one.sumw2)
    contents = np.concatenate([*parts, rows.contents[done:]])
    offsets = np.append(0, np.cumsum(sizes))
    out = dataclasses.replace(rows, me=me, entries=entries, offsets=offsets, contents=contents)
    return dataclasses.replace(out, sumw2=np.concatenate(sumw2), sumw2_at=at) if np.any(at >= 0) else out
