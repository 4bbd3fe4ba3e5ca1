"""Several rows of one series for one LS: added up as CMSSW merges them, or the first one taken."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import DQMWarning
from dqmroot.series import MonitorElement

__all__ = ["first_of_each", "merge_series"]


def merge_series(me: MonitorElement) -> MonitorElement:
    """Sort by run and LS, and add up the rows of one LS; scalars take the last, conditions the first."""
    me = me.sort()
    keys = me.keys
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])) if len(keys) else np.zeros(0, np.int64)
    if len(first) == len(keys):
        return me
    if not me.axes:
        return me[np.append(first[1:], len(keys)) - 1]
    out = me[first]
    changes: dict[str, Any] = {"entries": np.add.reduceat(me.entries, first)}
    for what in ("contents", "sumw2", "bin_entries", "bin_sumw2"):
        array = getattr(me, what)
        if array is not None:
            changes[what] = _sums(array, first)
    return out.replace(**changes)


def _sums(array: NDArray[Any], first: NDArray[np.int64]) -> NDArray[Any]:
    if array.dtype.kind != "i":
        total: NDArray[Any] = np.add.reduceat(array, first, axis=0, dtype=array.dtype)
        return total
    # ROOT's integer histograms stop at the largest value of their type, and at its negative.
    limit = np.iinfo(array.dtype).max
    return np.clip(np.add.reduceat(array, first, axis=0, dtype=np.int64), -limit, limit).astype(array.dtype)


def first_of_each(me: MonitorElement, where: object) -> MonitorElement:
    """Sort by run and LS, and of several rows for one LS take the first.

    Args:
        me: The series.
        where: The file, for the warning that is given where such rows differ.
    """
    keys, first = np.unique(me.keys, return_index=True)
    if len(keys) == len(me):
        return me.sort()
    twin = first[np.searchsorted(keys, me.keys)]
    one, other = me.contents, me.contents[twin]
    same = one == other
    if one.dtype.kind == "f":
        same |= np.isnan(one) & np.isnan(other)
    differ = ~np.all(same, axis=tuple(range(1, one.ndim)))
    if differ.any():
        i = int(np.flatnonzero(differ)[0])
        text = (
            f"{where}: {me.name} has {int(differ.sum())} further rows with other contents for an LS that it already has "
            f"(run {me.run[i]} LS {me.lumi[i]} first); the first row of each LS counts"
        )
        warnings.warn(text, DQMWarning, stacklevel=3)
    return me[first]
