"""Smoothing over bins and over lumisections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dqmroot.errors import UsageError
from dqmroot.kernels import smooth as smooth_kernel
from dqmroot.kernels.windows import window_sums
from dqmroot.prepare.bins import need_axes, storage_of
from dqmroot.prepare.step import Array, Step
from dqmroot.series import MonitorElement, windows

__all__ = ["Running", "Smooth", "add_lumisections", "running", "smooth"]

_SUMS = ("contents", "bin_entries", "sumw2", "bin_sumw2")


@dataclass(frozen=True, eq=False)
class Smooth(Step):
    """Replace each bin by the weighted mean of its neighbours; at the edges the weights are scaled to the bins that exist.

    Flow bins are left as they are and lend nothing. The errors are those of independent bins.

    Args:
        weights: Per axis, x first, an odd number of weights, the middle one for the bin itself. One number alone is the width of
            equal weights, and 1 leaves an axis as it is.
    """

    name: ClassVar[str] = "smooth"
    variadic: ClassVar[bool] = True

    weights: tuple[Any, ...] = (3,)

    def __post_init__(self) -> None:
        given: Any = self.weights
        given = (given,) if isinstance(given, int) else tuple(given)
        for weights in given:
            width = weights if isinstance(weights, int) else len(weights)
            if width < 1 or width % 2 == 0:
                raise UsageError(f"smooth needs an odd number of weights per axis; got {weights}")
            if not isinstance(weights, int) and not (min(weights) >= 0 and weights[width // 2] > 0):
                raise UsageError(
                    f"smooth needs weights that are not negative, and the middle one above 0; got {weights}"
                )
        object.__setattr__(self, "weights", given)

    def apply(self, me: MonitorElement, *, errors: bool = True) -> MonitorElement:
        """Return the smoothed series; the sums of profiles are smoothed, not their means."""
        need_axes(me, self)
        if len(self.weights) not in {1, len(me.axes)}:
            raise UsageError(f"{me.name}: {self} needs weights for each of {len(me.axes)} axes, or one for all")
        given = self.weights if len(self.weights) == len(me.axes) else self.weights * len(me.axes)
        normed = []
        for weights in reversed(given):
            window = np.ones(weights) if isinstance(weights, int) else np.asarray(weights, np.float64)
            normed.append(window / window.sum())
        dtype = np.dtype(np.float64 if me.contents.dtype == np.float64 else np.float32)
        # Whole numbers of four bytes do not fit into float32.
        changes: dict[str, Any] = {"storage": storage_of(me, np.result_type(me.contents.dtype, dtype))}
        for what in _SUMS:
            array = getattr(me, what)
            if array is not None and (what != "sumw2" or me.is_profile):
                changes[what] = _inside(me, array, normed, np.result_type(array.dtype, dtype))
        if not me.is_profile and (errors or me.sumw2 is not None):
            changes["sumw2"] = self._errors(me, normed)
        return me.replace(**changes)

    def _errors(self, me: MonitorElement, weights: Sequence[Array]) -> Array:
        # A weighted mean of independent bins has the squared weights on their variances.
        source = me.contents if me.sumw2 is None else me.sumw2
        out = _inside(me, source, [w**2 for w in weights], np.dtype(np.float64))
        scale = np.ones(())
        for window, size in zip(weights, me.bins, strict=True):
            edge = smooth_kernel.edge_weights(window, size)
            squared = smooth_kernel.edge_weights(window**2, size)
            scale = np.multiply.outer(scale, (edge**2).sum(axis=0) / squared.sum(axis=0))
        me.view(out)[...] *= scale
        return out


def _inside(me: MonitorElement, array: Array, weights: Sequence[Array], dtype: np.dtype[Any]) -> Array:
    out = array.astype(dtype)
    me.view(out)[...] = smooth_kernel.smooth(me.view(array), weights, dtype)
    return out


@dataclass(frozen=True, eq=False)
class Running(Step):
    """Add up each lumisection and those before it, or average them.

    The window is ``n`` consecutive lumisections of one run; a gap or the begin of a run ends it. The order in which they arrive
    does not matter. Profiles add their sums, so that the mean is that of all entries.

    Args:
        n: Length of the window.
        mean: Whether to divide by the number of lumisections in the window.
        partial: Whether a window that is cut short is used; otherwise its lumisection becomes NaN, which means not judged.
        gap: How many lumisections may be missing between two of the window.
        min_entries: Windows with fewer entries become NaN.
    """

    name: ClassVar[str] = "running"

    n: int = 3
    mean: bool = False
    partial: bool = False
    gap: int = 0
    min_entries: float = 0.0

    def __post_init__(self) -> None:
        if int(self.n) != self.n or self.n < 1 or self.gap < 0:
            raise UsageError(f"running needs a window of at least 1 lumisection and a gap of at least 0; got {self}")

    def apply(self, me: MonitorElement, *, errors: bool = True) -> MonitorElement:
        """Return one sum per lumisection, in the order of ``me``."""
        del errors
        need_axes(me, self)
        order, begin, length = windows(me, self.n, self.gap)
        entries = np.zeros(len(me))
        for back in range(self.n):
            inside = begin + back <= np.arange(len(me))
            entries[order[inside]] += me.entries[order[(begin + back)[inside]]]
        if not self.partial:
            begin = np.where(length < self.n, -1, begin)
        begin = np.where(entries[order] < self.min_entries, -1, begin)
        plain = np.ones(len(me))
        factor = 1.0 / length if self.mean and not me.is_profile else plain
        dtype = np.dtype(np.float32 if me.contents.dtype == np.float32 else np.float64)
        changes: dict[str, Any] = {"entries": entries, "storage": storage_of(me, dtype)}
        for what in _SUMS:
            array = getattr(me, what)
            if array is not None:
                kind = np.float32 if array.dtype == np.float32 else np.float64
                changes[what] = window_sums(array, order, begin, factor**2 if what == "sumw2" else factor, kind)
        if self.mean and not me.is_profile and me.sumw2 is None:
            changes["sumw2"] = window_sums(me.contents, order, begin, factor**2, np.float64)
        return me.replace(**changes)


def add_lumisections(me: MonitorElement, n: int, *, gap: int = 0, keep_rest: bool = True) -> MonitorElement:
    """Add up ``n`` consecutive lumisections of a run into one, which has the number of the first.

    Args:
        me: The series, in any order.
        n: How many make one.
        gap: How many lumisections may be missing between two that are added.
        keep_rest: Whether a rest of fewer than ``n`` makes one too; otherwise it is left out.

    Returns:
        A shorter series, ordered by run and lumisection; conditions are averaged.

    Examples:
        >>> len(dq.add_lumisections(good, 5))
        24
    """
    if int(n) != n or n < 1:
        raise UsageError(f"{me.name}: cannot add up {n} lumisections")
    order, _, place = windows(me, max(len(me), 1), gap)
    starts = np.flatnonzero((place - 1) % n == 0)
    size = np.diff(np.append(starts, len(me)))
    if not keep_rest:
        starts, size = starts[size == n], size[size == n]
    me, last = me[order], starts + size - 1
    begin = np.arange(len(me))
    begin[last] = starts
    ones = np.ones(len(me))
    changes: dict[str, Any] = {
        "run": me.run[starts],
        "lumi": me.lumi[starts],
        "entries": np.array([me.entries[a : b + 1].sum() for a, b in zip(starts, last, strict=True)]),
        "conditions": {
            key: np.array([array[a : b + 1].mean() for a, b in zip(starts, last, strict=True)])
            for key, array in me.conditions.items()
        },
    }
    for what in _SUMS:
        array = getattr(me, what)
        if array is not None:
            kind = np.float32 if array.dtype == np.float32 else np.float64
            changes[what] = window_sums(array, begin * 0 + np.arange(len(me)), begin, ones, kind)[last]
    return me.replace(storage=storage_of(me, changes["contents"].dtype), **changes)


def smooth(*weights: int | Sequence[float]) -> Smooth:
    """Average over neighbouring bins: ``smooth(3)``, ``smooth(5, 3)``, ``smooth((1, 2, 1), 1)``; x first.

    Examples:
        >>> dq.smooth(3).apply(good).bins
        (100,)
    """
    return Smooth(tuple(w if isinstance(w, int) else tuple(w) for w in weights) or (3,))


def running(
    n: int = 3, *, mean: bool = False, partial: bool = False, gap: int = 0, min_entries: float = 0.0
) -> Running:
    """Add up each lumisection and the ``n - 1`` before it, within its run and without gaps.

    Examples:
        >>> dq.running(3, partial=True).apply(good).values().shape
        (120, 100)
    """
    return Running(n, mean, partial, gap, min_entries)
