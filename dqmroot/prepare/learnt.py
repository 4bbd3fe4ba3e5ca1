"""Steps that rescale to what the good lumisections look like: their trend with the conditions, their mean map, their spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from dqmroot.errors import EmptySelectionError, ModelMismatchError, NotFittedError, UnknownNameError, UsageError
from dqmroot.kernels import scale
from dqmroot.prepare.bins import need_axes, storage_of
from dqmroot.prepare.scale import divide
from dqmroot.prepare.step import Array, Step, flatten
from dqmroot.series import MonitorElement

__all__ = ["Follow", "Relative", "Standardise", "follow", "relative", "standardise"]


@dataclass(frozen=True, eq=False)
class Follow(Step):
    """Divide each lumisection by the integral that is expected of it: a straight line in a condition such as pile-up.

    The line is fitted to the good lumisections by least squares. After the step a usual lumisection has the integral 1, and one
    that lost a part of the detector keeps less. Where the line is not above 0, or the condition is unknown, NaN.

    Args:
        condition: Name of a condition of the series (``"pileup"``, ``"luminosity"``).
        slope: Learnt: integral per unit of the condition.
        intercept: Learnt: integral where the condition is 0.
    """

    name: ClassVar[str] = "follow"
    learns: ClassVar[bool] = True

    condition: str = "pileup"
    slope: float | None = None
    intercept: float | None = None

    def fit(self, me: MonitorElement) -> Self:
        """Fit the line."""
        need_axes(me, self)
        x, y = self._condition(me), _integral(me)
        some = np.isfinite(x) & np.isfinite(y)
        if np.count_nonzero(some) < 2 or np.ptp(x[some]) == 0:
            raise UsageError(f"{me.name}: {self} needs lumisections with at least two values of {self.condition}")
        slope, intercept = np.polynomial.Polynomial.fit(x[some], y[some], 1).convert(domain=[-1, 1]).coef[::-1]
        return type(self)(self.condition, float(slope), float(intercept))

    def apply(self, me: MonitorElement, *, errors: bool = True) -> MonitorElement:
        """Return the series divided by the line."""
        need_axes(me, self)
        return divide(me, self.expected(me), errors=errors)

    def expected(self, me: MonitorElement) -> Array:
        """``(n_ls,)`` float64 integral that the line gives, NaN where it is not above 0."""
        if self.slope is None or self.intercept is None:
            raise NotFittedError(f"{me.name}: the step {self.name} has learnt nothing yet: fit the preparation first")
        line = self.slope * self._condition(me) + self.intercept
        return np.where(line > 0, line, np.nan)

    def restore(self, bins: Array, before: MonitorElement) -> Array:
        """Multiply by the line."""
        restored: Array = bins * self.expected(before).reshape(-1, *[1] * (bins.ndim - 1))
        return restored

    def _condition(self, me: MonitorElement) -> Array:
        if self.condition not in me.conditions:
            raise UnknownNameError("condition", self.condition, me.conditions, me.name)
        return np.asarray(me.conditions[self.condition], np.float64)


def _integral(me: MonitorElement) -> Array:
    values = me.values()
    return np.asarray(flatten(values).sum(axis=1, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class _PerBin(Step):
    """What steps share that learn one number or two for each bin, flow bins included."""

    learns: ClassVar[bool] = True

    def _learnt(self, me: MonitorElement, array: Array | None) -> Array:
        if array is None:
            raise NotFittedError(f"{me.name}: the step {self.name} has learnt nothing yet: fit the preparation first")
        if array.shape != me.contents.shape[1:]:
            raise ModelMismatchError(
                f"{me.name}: contents {me.contents.shape[1:]}, but the step {self.name} learnt {array.shape}"
            )
        return array

    def _sample(self, me: MonitorElement) -> Array:
        need_axes(me, self)
        values = me.values(flow=True)
        judged = ~np.isnan(flatten(values)).any(axis=1)
        if not judged.any():
            raise EmptySelectionError(f"{me.name}: no lumisection that {self} can learn from")
        return values if judged.all() else values[judged]


@dataclass(frozen=True, eq=False)
class Relative(_PerBin):
    """Divide each bin by its mean over the good lumisections, so that every bin is near 1.

    A bin whose mean is 0 is divided by the least mean of the others: what appears in a hole stands out, and stays finite.

    Args:
        reference: Learnt, or given: ``([nz+2,] [ny+2,] nx+2)`` with flow bins.
    """

    name: ClassVar[str] = "relative"

    reference: Array | None = None

    def fit(self, me: MonitorElement) -> Self:
        """Find the mean map."""
        return type(self)(_never_zero(self._sample(me).mean(axis=0, dtype=np.float64), me, self))

    def apply(self, me: MonitorElement, *, errors: bool = True) -> MonitorElement:
        """Return the series relative to the mean map."""
        reference = self._learnt(me, self.reference)
        return _linear(me, reference, np.zeros_like(reference), errors=errors)

    def restore(self, bins: Array, before: MonitorElement) -> Array:
        """Multiply by the mean map."""
        return np.asarray(bins * _inner(self._learnt(before, self.reference)))


@dataclass(frozen=True, eq=False)
class Standardise(_PerBin):
    """Subtract from each bin its mean over the good lumisections and divide by its standard deviation (population).

    A bin that never varied is divided by the least deviation of the others.

    Args:
        mean: Learnt: ``([nz+2,] [ny+2,] nx+2)`` with flow bins.
        deviation: Learnt: the same shape.
    """

    name: ClassVar[str] = "standardise"

    mean: Array | None = None
    deviation: Array | None = None

    def fit(self, me: MonitorElement) -> Self:
        """Find mean and deviation of each bin."""
        sample = self._sample(me)
        deviation = sample.std(axis=0, dtype=np.float64)
        return type(self)(sample.mean(axis=0, dtype=np.float64), _never_zero(deviation, me, self))

    def apply(self, me: MonitorElement, *, errors: bool = True) -> MonitorElement:
        """Return the standardised series."""
        return _linear(me, self._learnt(me, self.deviation), self._learnt(me, self.mean), errors=errors)

    def restore(self, bins: Array, before: MonitorElement) -> Array:
        """Multiply by the deviation and add the mean."""
        deviation, mean = self._learnt(before, self.deviation), self._learnt(before, self.mean)
        return np.asarray(bins * _inner(deviation) + _inner(mean))


def _never_zero(array: Array, me: MonitorElement, step: Step) -> Array:
    positive = _inner(array)[_inner(array) > 0]
    if not positive.size:
        raise UsageError(f"{me.name}: {step} finds only bins that are constant zero")
    return np.where(array > 0, array, positive.min())


def _inner(array: Array) -> Array:
    return array[(slice(1, -1),) * array.ndim]


def _linear(me: MonitorElement, by: Array, less: Array, *, errors: bool) -> MonitorElement:
    """``(value - less) / by`` for each bin; squared errors and the sums of profiles follow."""
    dtype = np.dtype(np.float64 if me.contents.dtype == np.float64 else np.float32)
    squares = by**2
    changes: dict[str, Any] = {"storage": storage_of(me, dtype)}
    if me.bin_entries is not None:
        w, wy = me.bin_entries, me.contents
        changes["contents"] = (wy - less * w) / by
        if me.sumw2 is not None:
            changes["sumw2"] = (me.sumw2 - 2 * less * wy + less**2 * w) / squares
        return me.replace(**changes)
    changes["contents"] = scale.linear(me.contents, by, less, dtype)
    if me.sumw2 is not None or errors:
        source = me.contents if me.sumw2 is None else me.sumw2
        changes["sumw2"] = scale.linear(source, squares, np.zeros_like(by), np.float64)
    return me.replace(**changes)


def follow(condition: str = "pileup") -> Follow:
    """Divide by the integral that a straight line in ``condition`` gives.

    Examples:
        >>> str(dq.follow("pileup"))
        'follow'
    """
    return Follow(condition)


def relative() -> Relative:
    """Divide each bin by its mean over the good lumisections.

    Examples:
        >>> dq.relative().fit(good).apply(good).bins
        (100,)
    """
    return Relative()


def standardise() -> Standardise:
    """Subtract the mean of each bin and divide by its standard deviation.

    Examples:
        >>> dq.standardise().fit(good).apply(good).bins
        (100,)
    """
    return Standardise()
