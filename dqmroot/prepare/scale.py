"""Steps that rescale the contents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dqmroot.errors import UnknownNameError, UsageError
from dqmroot.kernels import scale
from dqmroot.prepare.bins import need_axes, storage_of
from dqmroot.prepare.step import Array, Step
from dqmroot.series import MonitorElement

__all__ = ["Normalise", "normalise"]

_BY = ("integral", "maximum", "entries")


@dataclass(frozen=True, eq=False)
class Normalise(Step):
    """Divide each lumisection by one number of its own.

    Args:
        by: ``"integral"``, the sum of the bins without flow; ``"maximum"``, the largest bin without flow;
            ``"entries"``, ROOT's ``fEntries``; or the name of one of the conditions of the series.

    A lumisection whose number is not above 0 becomes NaN, which means not judged.
    """

    name: ClassVar[str] = "normalise"

    by: str = "integral"

    def __str__(self) -> str:
        return f"normalise({self.by})"

    def apply(self, me: MonitorElement, *, errors: bool = True) -> MonitorElement:
        """Return the normalised series, in float32 (float64 stays float64); flow bins are divided alike."""
        need_axes(me, self)
        return divide(me, self.divisor(me), errors=errors)

    def divisor(self, me: MonitorElement) -> Array:
        """``(n_ls,)`` float64, NaN where a lumisection cannot be normalised."""
        if self.by in {"integral", "maximum"}:
            values = me.values()
            found, negative = scale.divisors(values, self.by)
            if negative.any() and not me.is_profile:
                i = int(np.argmax(negative > 0))
                raise UsageError(
                    f"{me.name}: {self} of negative contents: {negative[i]} of {values[0].size} bins"
                    f" in run {me.run[i]}, lumisection {me.lumi[i]}"
                )
            return found
        if self.by == "entries":
            found = me.entries
        elif self.by in me.conditions:
            found = np.asarray(me.conditions[self.by], np.float64)
        else:
            raise UnknownNameError("normalisation", self.by, [*_BY, *me.conditions], me.name)
        return np.where((found > 0) & np.isfinite(found), found, np.nan)

    def restore(self, bins: Array, before: MonitorElement) -> Array:
        """Multiply by what the lumisection was divided by."""
        divisor = self.divisor(before).reshape(-1, *[1] * (bins.ndim - 1))
        restored: Array = bins * divisor
        return restored


def divide(me: MonitorElement, divisor: Array, *, errors: bool = True) -> MonitorElement:
    """Divide lumisection i by ``divisor[i]``; squared errors and the sums of profiles follow."""
    dtype = np.dtype(np.float64 if me.contents.dtype == np.float64 else np.float32)
    contents = scale.scale_rows(me.contents, divisor, dtype)
    changes: dict[str, Any] = {"contents": contents, "storage": storage_of(me, dtype)}
    if me.sumw2 is not None or (errors and not me.is_profile):
        # Counts without stored errors are Poisson: their variance is the content.
        squares = me.contents if me.sumw2 is None else me.sumw2
        changes["sumw2"] = scale.scale_rows(squares, divisor**2, np.float64)
    return me.replace(**changes)


def normalise(by: str = "integral") -> Normalise:
    """Divide each lumisection by its ``"integral"``, ``"maximum"``, ``"entries"``, or one of its conditions.

    Examples:
        >>> dq.normalise("integral").apply(good).values().sum(axis=1).round(5).max()
        np.float32(1.0)
    """
    return Normalise(by)
