"""Steps that merge bins unevenly: to given edges, or until each holds enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from dqmroot.errors import ModelMismatchError, NotFittedError, UsageError
from dqmroot.prepare.bins import Cuts, merge_bins, need_axes, regroup
from dqmroot.prepare.step import Array, BinStep
from dqmroot.series import Axis, MonitorElement

__all__ = ["MergeOccupancy", "RebinEdges", "merge_occupancy", "rebin_edges"]

Edges = tuple[float, ...]


@dataclass(frozen=True, eq=False)
class RebinEdges(BinStep):
    """Merge bins to given edges, each of which must be an edge of the histogram; what lies outside goes to the flow bins.

    Args:
        x: The new edges, increasing; ``None`` leaves the axis as it is.
        y: The same for y.
        z: The same for z.
    """

    name: ClassVar[str] = "rebin_edges"

    x: Edges | None = None
    y: Edges | None = None
    z: Edges | None = None

    def cuts(self, axes: Sequence[Axis], me: str) -> list[Cuts]:
        """For each of ``axes`` what `merge_bins` needs."""
        given = (self.x, self.y, self.z)
        if any(edges is not None for edges in given[len(axes) :]):
            raise UsageError(f"{me}: {self} names an axis that a histogram with {len(axes)} axes has not")
        return [_cuts(edges, axis, letter, me) for letter, edges, axis in zip("xyz", given, axes, strict=False)]

    def apply(self, me: MonitorElement, *, errors: bool = True) -> MonitorElement:
        """Return the series in the given bins."""
        del errors
        need_axes(me, self)
        cuts = self.cuts(me.axes, me.name)
        return merge_bins(me, [regroup(axis, c) for axis, c in zip(me.axes, cuts, strict=True)], cuts)

    def invert(self, bins: Array, axes: Sequence[Axis]) -> Array:
        """Show each bin in all the bins it is the sum of."""
        return spread(bins, axes, self.cuts(axes, ""))

    def restore(self, bins: Array, before: MonitorElement) -> Array:
        """Share each bin out evenly."""
        return share(bins, before, self.cuts(before.axes, before.name))


def _cuts(edges: Edges | None, axis: Axis, letter: str, me: str) -> Cuts:
    if edges is None:
        return np.arange(axis.nbins + 3)
    wanted, there = np.asarray(edges, np.float64), axis.bin_edges
    if wanted.ndim != 1 or len(wanted) < 2 or not np.all(np.diff(wanted) > 0):
        raise UsageError(f"{me}: new edges must be increasing numbers, at least two; got {edges} for {letter}")
    at = np.abs(there[:, None] - wanted).argmin(axis=0)
    off = np.abs(there[at] - wanted) > 1e-6 * np.diff(there).min()
    if off.any():
        i = int(np.argmax(off))
        raise UsageError(
            f"{me}: {wanted[i]:g} is no edge of the {axis.nbins} bins of {letter}; nearest: {there[at[i]]:g}"
        )
    return np.array([0, *(at + 1), axis.nbins + 2], np.int64)


def spread(bins: Array, axes: Sequence[Axis], cuts: Sequence[Cuts]) -> Array:
    """Show merged bins, ``(n, [z,] [y,] x)`` without flow, in the bins they were made of; NaN in those that went to the flow."""
    out = bins
    for where, (axis, cut) in enumerate(zip(reversed(axes), reversed(cuts), strict=True), start=1):
        inner = cut[1:-1]
        out = np.repeat(out, np.diff(inner), axis=where)
        if inner[0] > 1 or inner[-1] < axis.nbins + 1:
            pad = [(0, 0)] * out.ndim
            pad[where] = (int(inner[0]) - 1, axis.nbins + 1 - int(inner[-1]))
            out = np.pad(np.asarray(out, np.result_type(out, np.float32)), pad, constant_values=np.nan)
    return out


def share(bins: Array, before: MonitorElement, cuts: Sequence[Cuts]) -> Array:
    """Share merged contents out evenly over the bins they are the sum of; the means of profiles are shown in each."""
    if not before.is_profile:
        for where, cut in enumerate(reversed(cuts), start=1):
            shape = [1] * bins.ndim
            shape[where] = -1
            bins = bins / np.diff(cut[1:-1]).reshape(shape)
    return spread(bins, before.axes, cuts)


@dataclass(frozen=True, eq=False)
class MergeOccupancy(BinStep):
    """Merge neighbouring bins, from the left, until each holds at least ``minimum`` entries per lumisection on average.

    The bins are found on the good lumisections; on histograms with several axes each axis is merged by what its projection
    holds. What is left over at the end joins the last bin.

    Args:
        minimum: Least mean content of a bin.
        cuts: Learnt: per axis, x first, the indices that `merge_bins` takes.
    """

    name: ClassVar[str] = "merge_occupancy"
    learns: ClassVar[bool] = True

    minimum: float = 1.0
    cuts: tuple[tuple[int, ...], ...] | None = None

    def fit(self, me: MonitorElement) -> Self:
        """Find the bins to merge."""
        need_axes(me, self)
        held = me.contents if me.bin_entries is None else me.bin_entries
        mean = np.asarray(me.view(held), np.float64).mean(axis=0) if len(me) else np.zeros(me.bins)
        if not np.nansum(mean) >= self.minimum:
            raise UsageError(f"{me.name}: all bins together hold {np.nansum(mean):g} per lumisection, less than {self}")
        found = []
        for where in reversed(range(mean.ndim)):
            others = tuple(axis for axis in range(mean.ndim) if axis != where)
            projection = np.nansum(mean, axis=others) if others else np.nan_to_num(mean)
            found.append((0, *_enough(projection, self.minimum), mean.shape[where] + 2))
        return type(self)(self.minimum, tuple(found))

    def apply(self, me: MonitorElement, *, errors: bool = True) -> MonitorElement:
        """Return the series in the merged bins."""
        del errors
        cuts = self._cuts(me.name, me.axes)
        return merge_bins(me, [regroup(axis, c) for axis, c in zip(me.axes, cuts, strict=True)], cuts)

    def invert(self, bins: Array, axes: Sequence[Axis]) -> Array:
        """Show each bin in all the bins it is the sum of."""
        return spread(bins, axes, self._cuts("", axes))

    def restore(self, bins: Array, before: MonitorElement) -> Array:
        """Share each bin out evenly."""
        return share(bins, before, self._cuts(before.name, before.axes))

    def _cuts(self, me: str, axes: Sequence[Axis]) -> list[Cuts]:
        if self.cuts is None:
            raise NotFittedError(f"{me}: the step {self.name} has learnt no bins yet: fit the preparation first")
        bins, learnt = tuple(axis.nbins for axis in reversed(axes)), tuple(cut[-1] - 2 for cut in reversed(self.cuts))
        if bins != learnt:
            raise ModelMismatchError(f"{me}: bins {bins}, but the step {self.name} learnt {learnt}")
        return [np.asarray(cut, np.int64) for cut in self.cuts]


def _enough(content: Array, minimum: float) -> list[int]:
    """Cuts (counted with the underflow as 0) between which ``content``, ``(nbins,)``, adds up to at least ``minimum``."""
    cuts, total = [1], 0.0
    for i, value in enumerate(content, start=1):
        total += float(value)
        if total >= minimum:
            cuts.append(i + 1)
            total = 0.0
    if cuts[-1] != len(content) + 1:
        # The rest is too little for a bin of its own.
        cuts[-1 if len(cuts) > 1 else len(cuts) :] = [len(content) + 1]
    return cuts


def rebin_edges(x: Any = None, y: Any = None, z: Any = None) -> RebinEdges:
    """Merge bins to the given edges of each axis: ``rebin_edges(x=[0, 10, 50, 100])``.

    Examples:
        >>> edges = good.axes[0].bin_edges[[0, 50, 100]]
        >>> dq.rebin_edges(x=edges).apply(good).bins
        (2,)
    """
    return RebinEdges(*(None if edges is None else tuple(float(edge) for edge in edges) for edges in (x, y, z)))


def merge_occupancy(minimum: float = 1.0) -> MergeOccupancy:
    """Merge neighbouring bins until each holds ``minimum`` entries per lumisection on average.

    Examples:
        >>> dq.merge_occupancy(1000).fit(good).apply(good).bins[0] < 100
        True
    """
    return MergeOccupancy(minimum)
