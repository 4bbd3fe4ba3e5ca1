"""Rows of one (monitoring element, run, lumisection) that stand in several places become one, as CMSSW merges them."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Container
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import DQMWarning
from dqmroot.io.arrays import MEInfo, Rows
from dqmroot.io.nanodqmio.growth import Grown, by_label, grown_of, put_back
from dqmroot.series import Axis

__all__ = ["merge", "take"]


def take(rows: Rows, index: NDArray[Any]) -> Rows:
    """Return the rows at ``index`` (places, or a mask), in that order; copies."""
    index = np.flatnonzero(index) if index.dtype == np.bool_ else index
    sizes = np.diff(rows.offsets)[index]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    changes: dict[str, Any] = {what: getattr(rows, what)[index] for what in ("me", "run", "lumi", "entries")}
    places = _places(rows.offsets[:-1][index], sizes)
    changes["contents"] = rows.contents[places]
    if rows.bin_entries is not None:
        changes["bin_entries"] = rows.bin_entries[places]
    for what in ("sumw2", "bin_sumw2"):
        # The flat array stays as it is; only what points into it changes.
        at = getattr(rows, what + "_at")
        if at is not None:
            changes[what + "_at"] = at[index]
    return dataclasses.replace(rows, offsets=offsets, **changes)


def _places(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every place of the stretches that begin at ``starts``, one stretch after the other."""
    ends = np.cumsum(sizes)
    return np.repeat(starts - (ends - sizes), sizes) + np.arange(int(ends[-1]) if len(ends) else 0)


def merge(rows: Rows, name: NDArray[np.int64], table: list[MEInfo], growing: Container[int] = ()) -> Rows:
    """Add up the rows that belong to one (name, run, lumisection); scalars keep the last.

    Args:
        rows: Rows ordered by name, run and lumisection, and then by their place in the files.
        name: ``(n,)`` what tells the names apart.
        table: The monitoring elements that ``rows.me`` counts in; those that come of growing together are added.
        growing: Places in ``table`` of those whose axes may all grow: what bears the same label adds up.

    Returns:
        The merged rows. Histograms whose bins differ and do not grow by labels are not merged: the first one
        stays, and a warning tells which was left out.
    """
    n = len(rows)
    again = np.zeros(n, np.bool_)
    again[1:] = (name[1:] == name[:-1]) & (rows.run[1:] == rows.run[:-1]) & (rows.lumi[1:] == rows.lumi[:-1])
    if not again.any():
        return rows
    if rows.contents.dtype == object or not table[rows.me[0]].axes:
        last = np.append(~again[1:], True)
        return take(rows, last)
    entries = rows.entries.copy()
    contents = rows.contents.copy()
    extra: dict[str, Any] = {
        what: None if getattr(rows, what) is None else getattr(rows, what).copy()
        for what in ("sumw2", "bin_entries", "bin_sumw2")
    }
    out = dataclasses.replace(rows, entries=entries, contents=contents, **extra)
    first = np.maximum.accumulate(np.where(again, 0, np.arange(n)))
    grown: dict[int, Grown] = {}
    for i in np.flatnonzero(again):
        into = int(first[i])
        mine, other = table[rows.me[into]], table[rows.me[i]]
        if into in grown or not _mergeable(mine, other):
            if rows.me[into] in growing and rows.me[i] in growing and len(mine.axes) == len(other.axes) == 1:
                together = by_label(grown.get(into) or grown_of(out, into, mine), grown_of(out, int(i), other))
                if together is not None:
                    grown[into] = together
                    continue
            where = f"run {rows.run[i]} LS {rows.lumi[i]}"
            warnings.warn(
                f"{mine.name}, {where}: stored twice with different bins; the second is left out",
                DQMWarning,
                stacklevel=4,
            )
            continue
        out = _add(out, into, int(i))
    kept = np.cumsum(~again) - 1
    taken = take(out, ~again)
    return put_back(taken, {int(kept[i]): one for i, one in grown.items()}, table) if grown else taken


def _mergeable(mine: MEInfo, other: MEInfo) -> bool:
    return len(mine.axes) == len(other.axes) and all(
        Axis.same_bins(a, b) and a.labels == b.labels for a, b in zip(mine.axes, other.axes, strict=True)
    )


def _add(rows: Rows, into: int, other: int) -> Rows:
    """Add row ``other`` to row ``into``, in place where there is room."""
    a, b = (slice(int(rows.offsets[i]), int(rows.offsets[i + 1])) for i in (into, other))
    n = a.stop - a.start
    sumw2 = _squares(rows, "sumw2", into, other, a, b)
    bin_sumw2 = _squares(rows, "bin_sumw2", into, other, a, b) if rows.bin_entries is not None else None
    if rows.contents.dtype.kind == "i":
        # ROOT's integer histograms stop at the largest value of their type, and at its negative.
        limit = np.iinfo(rows.contents.dtype).max
        total = rows.contents[a].astype(np.int64) + rows.contents[b]
        rows.contents[a] = np.clip(total, -limit, limit)
    else:
        rows.contents[a] += rows.contents[b]
    rows.entries[into] += rows.entries[other]
    if rows.bin_entries is not None:
        rows.bin_entries[a] += rows.bin_entries[b]
    for what, made in (("sumw2", sumw2), ("bin_sumw2", bin_sumw2)):
        if made is None:
            continue
        flat, at = getattr(rows, what), getattr(rows, what + "_at")
        if at[into] >= 0:
            flat[at[into] : at[into] + n] = made
        else:
            at = at.copy()
            at[into] = len(flat)
            rows = dataclasses.replace(rows, **{what: np.concatenate([flat, made]), what + "_at": at})
    return rows


def _squares(rows: Rows, what: str, into: int, other: int, a: slice, b: slice) -> NDArray[np.float64] | None:
    """Sum of the squared weights of two rows, before their contents are added; ``None`` where neither stores any."""
    flat, at = getattr(rows, what), getattr(rows, what + "_at")
    if flat is None or (at[into] < 0 and at[other] < 0):
        return None
    unit = rows.contents if what == "sumw2" else rows.bin_entries
    assert unit is not None
    parts = [
        flat[at[i] : at[i] + (s.stop - s.start)] if at[i] >= 0 else np.abs(unit[s].astype(np.float64))
        for i, s in ((into, a), (other, b))
    ]
    return np.asarray(parts[0] + parts[1], np.float64)
