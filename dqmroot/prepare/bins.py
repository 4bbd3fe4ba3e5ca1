"""Steps that change the bins: flow bins made ordinary, cropping, rebinning."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import UsageError
from dqmroot.kernels.bins import merge
from dqmroot.prepare.step import Array, BinStep, Step
from dqmroot.series import Axis, MonitorElement

__all__ = ["Crop", "IncludeFlow", "Rebin", "crop", "include_flow", "merge_bins", "rebin"]

Cuts = NDArray[np.int64]
Span = tuple[int | None, int | None]


def merge_bins(me: MonitorElement, axes: Sequence[Axis], cuts: Sequence[Cuts]) -> MonitorElement:
    """Sum neighbouring bins, flow bins included; errors and the sums of profiles follow.

    Args:
        me: The series before.
        axes: The axes after, x first.
        cuts: For each axis, x first, ``(nbins + 3,)`` indices: new bin j (0 is the underflow) is the sum of the old
            bins ``cuts[j]`` to ``cuts[j + 1]``, exclusive.

    Returns:
        The series in the new bins. float32 stays float32 (summed in float64); whole numbers become float64, as their
        sum may not fit.
    """
    changes: dict[str, Any] = {}
    for what in ("contents", "sumw2", "bin_entries", "bin_sumw2"):
        array = getattr(me, what)
        if array is not None:
            changes[what] = merge(array, cuts[::-1], np.float32 if array.dtype == np.float32 else np.float64)
    return me.replace(axes=tuple(axes), storage=storage_of(me, changes["contents"].dtype), **changes)


def storage_of(me: MonitorElement, dtype: np.dtype[Any]) -> str:
    """Name the ROOT class that holds ``dtype``: a ``TH1S`` whose contents became float64 is a ``TH1D``."""
    if not me.storage.startswith("TH") or me.contents.dtype == dtype:
        return me.storage
    return me.storage[:-1] + ("F" if dtype == np.float32 else "D")


@dataclass(frozen=True, eq=False)
class IncludeFlow(BinStep):
    """Turn the two flow bins of each axis into ordinary bins at its ends: 100 bins become 102, with empty flow bins.

    Equal bins stay equal: the new bins are as wide as the others, or as their neighbour where bins vary.
    """

    name: ClassVar[str] = "include_flow"

    def apply(self, me: MonitorElement, *, errors: bool = True) -> MonitorElement:
        """Return the series with flow bins as ordinary bins."""
        del errors
        need_axes(me, self)
        pad = [(0, 0), *[(1, 1)] * len(me.axes)]
        changes = {
            what: np.pad(array, pad)
            for what in ("contents", "sumw2", "bin_entries", "bin_sumw2")
            if (array := getattr(me, what)) is not None
        }
        return me.replace(axes=tuple(_wider(axis) for axis in me.axes), **changes)

    def invert(self, bins: Array, axes: Sequence[Axis]) -> Array:
        """Leave out the bins that were flow bins."""
        return bins[(slice(None), *[slice(1, -1)] * len(axes))]


def _wider(axis: Axis) -> Axis:
    labels = ("", *axis.labels, "") if axis.labels else ()
    edges = axis.bin_edges
    first, last = edges[0] - (edges[1] - edges[0]), edges[-1] + (edges[-1] - edges[-2])
    if axis.edges is not None:
        return Axis.variable(np.concatenate([[first], edges, [last]]), labels, axis.title)
    return Axis(axis.nbins + 2, float(first), float(last), None, labels, axis.title)


@dataclass(frozen=True, eq=False)
class Crop(BinStep):
    """Keep a range of bins of each axis; what lies outside is added to the flow bins, so that no entry is lost.

    Args:
        x: First bin and the one after the last, counted from 0 without flow bins; ``None`` is the end; negative counts
            from the end.
        y: The same for y.
        z: The same for z.
    """

    name: ClassVar[str] = "crop"

    x: Span | None = None
    y: Span | None = None
    z: Span | None = None

    def spans(self, axes: Sequence[Axis], me: str) -> list[tuple[int, int]]:
        """First bin and the one after the last, for each of ``axes``."""
        given = (self.x, self.y, self.z)
        if any(span is not None for span in given[len(axes) :]):
            raise UsageError(f"{me}: {self} names an axis that a histogram with {len(axes)} axes has not")
        out = []
        for letter, span, axis in zip("xyz", given, axes, strict=False):
            low, high, _ = slice(*(span or (None, None))).indices(axis.nbins)
            asked = [edge for edge in span or () if edge is not None]
            if low >= high or any(not -axis.nbins <= edge <= axis.nbins for edge in asked):
                raise UsageError(f"{me}: crop({letter}={span}) does not fit {axis.nbins} bins")
            out.append((low, high))
        return out

    def apply(self, me: MonitorElement, *, errors: bool = True) -> MonitorElement:
        """Return the series cut down to the range."""
        del errors
        need_axes(me, self)
        return merge_bins(me, *self._groups(me.axes, me.name))

    def axes_after(self, axes: Sequence[Axis]) -> tuple[Axis, ...]:
        """Return the axes cut down to the range."""
        return tuple(self._groups(axes, "")[0])

    def _groups(self, axes: Sequence[Axis], me: str) -> tuple[list[Axis], list[Cuts]]:
        after, cuts = [], []
        for (low, high), axis in zip(self.spans(axes, me), axes, strict=True):
            edges = axis.bin_edges[low : high + 1]
            labels = axis.labels[low:high]
            after.append(
                Axis(high - low, float(edges[0]), float(edges[-1]), None, labels, axis.title)
                if axis.edges is None
                else Axis.variable(edges, labels, axis.title)
            )
            cuts.append(np.concatenate([[0], np.arange(low + 1, high + 2), [axis.nbins + 2]]))
        return after, cuts

    def invert(self, bins: Array, axes: Sequence[Axis]) -> Array:
        """Put the range back in its place; NaN outside it."""
        spans = self.spans(axes, "")[::-1]
        out = np.full((len(bins), *(axis.nbins for axis in reversed(axes))), np.nan, np.result_type(bins, np.float32))
        out[(slice(None), *(slice(low, high) for low, high in spans))] = bins
        return out


@dataclass(frozen=True, eq=False)
class Rebin(BinStep):
    """Sum ``factors`` neighbouring bins of each axis into one. The factors must divide the bins: no bin is dropped.

    Args:
        factors: One per axis, x first.
    """

    name: ClassVar[str] = "rebin"
    variadic: ClassVar[bool] = True

    factors: tuple[int, ...]

    def __post_init__(self) -> None:
        factors: Any = self.factors
        if isinstance(factors, int | np.integer):
            factors = (factors,)
        if not factors or any(isinstance(f, bool | str) or int(f) != f or f < 1 for f in factors):
            raise UsageError(f"rebin needs whole factors of at least 1, one per axis; got {self.factors}")
        object.__setattr__(self, "factors", tuple(int(f) for f in factors))

    def __str__(self) -> str:
        return f"rebin({', '.join(map(str, self.factors))})"

    def apply(self, me: MonitorElement, *, errors: bool = True) -> MonitorElement:
        """Return the series in wider bins."""
        del errors
        need_axes(me, self)
        check_factors(self, me.axes, me.name)
        axes, cuts = [], []
        for factor, axis in zip(self.factors, me.axes, strict=True):
            cuts.append(np.array([0, *range(1, axis.nbins + 2, factor), axis.nbins + 2], np.int64))
            axes.append(regroup(axis, cuts[-1]))
        return merge_bins(me, axes, cuts)

    def invert(self, bins: Array, axes: Sequence[Axis]) -> Array:
        """Show each bin in all the bins it is the sum of."""
        del axes
        for where, factor in enumerate(reversed(self.factors), start=1):
            bins = np.repeat(bins, factor, axis=where)
        return bins

    def restore(self, bins: Array, before: MonitorElement) -> Array:
        """Share each bin out evenly."""
        # The mean of a profile is not a sum: it is shown, not shared.
        share = 1 if before.is_profile else int(np.prod(self.factors))
        return self.invert(bins, before.axes) / share


def check_factors(step: Rebin, axes: Sequence[Axis], me: str) -> None:
    """Raise `UsageError` unless the factors divide the bins of ``axes``."""
    if len(step.factors) != len(axes):
        raise UsageError(f"{me}: {step} needs as many factors as the histogram has axes, {len(axes)}")
    for letter, factor, axis in zip("xyz", step.factors, axes, strict=False):
        if axis.nbins % factor:
            raise UsageError(
                f"{me}: rebin factor {factor} does not divide the {axis.nbins} bins of {letter}"
                f"; {_divisors(axis.nbins)} do"
            )


def regroup(axis: Axis, cuts: Cuts) -> Axis:
    """Return the axis whose bin j (0 is the underflow) covers the old bins ``cuts[j]`` to ``cuts[j + 1]``.

    The labels of a group are joined by ", ".
    """
    inner = cuts[1:-1]
    edges = axis.bin_edges[inner - 1]
    pairs = itertools.pairwise(inner.tolist() if axis.labels else ())
    labels = tuple(", ".join(label for label in axis.labels[a - 1 : b - 1] if label) for a, b in pairs)
    if axis.edges is None and len(set(np.diff(inner).tolist())) == 1:
        return Axis(len(edges) - 1, float(edges[0]), float(edges[-1]), None, labels, axis.title)
    return Axis.variable(edges, labels, axis.title)


def _divisors(n: int) -> str:
    return ", ".join(str(d) for d in range(2, n + 1) if n % d == 0) or "only 1"


def need_axes(me: MonitorElement, step: Step) -> None:
    """Raise `UsageError` where ``me`` is a scalar, which has no bins."""
    if not me.axes:
        raise UsageError(f"{me.name} is a scalar ({me.storage}): {step} needs bins")


def rebin(*factors: int | Sequence[int]) -> Rebin:
    """Sum neighbouring bins: ``rebin(2, 2)`` or ``rebin((2, 2))``, one whole factor per axis, x first.

    Examples:
        >>> dq.rebin(2, 2).apply(occupancy).bins
        (36, 42)
    """
    flat: list[int] = []
    for factor in factors:
        flat.extend(factor if isinstance(factor, Sequence) else [factor])
    return Rebin(tuple(flat))


def crop(x: Span | None = None, y: Span | None = None, z: Span | None = None) -> Crop:
    """Keep the bins from the first to before the second number of each axis: ``crop(x=(26, 58))``.

    Examples:
        >>> dq.crop(x=(26, 58)).apply(occupancy).bins
        (72, 32)
    """
    return Crop(x, y, z)


def include_flow() -> IncludeFlow:
    """Make ordinary bins of the flow bins: 100 bins become 102.

    Examples:
        >>> dq.include_flow().apply(good).bins
        (102,)
    """
    return IncludeFlow()
