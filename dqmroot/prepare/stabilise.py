"""Transforms of counts after which the spread no longer grows with the content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dqmroot.errors import UnknownNameError, UsageError
from dqmroot.prepare.bins import need_axes, storage_of
from dqmroot.prepare.step import Array, Step, flatten
from dqmroot.series import MonitorElement

__all__ = ["Stabilise", "stabilise"]

Function = Callable[[Array], Array]


def _freeman_tukey(x: Array) -> Array:
    return np.asarray(np.sqrt(x) + np.sqrt(x + 1))


def _freeman_tukey_back(y: Array) -> Array:
    # y = √x + √(x+1) gives √(x+1) - √x = 1/y; 0 goes to 1, the least y.
    y = np.maximum(y, 1)
    return np.asarray(((y - 1 / y) / 2) ** 2)


# Forward, back, and the square of the derivative.
_FORMS: dict[str, tuple[Function, Function, Function]] = {
    "sqrt": (np.sqrt, np.square, lambda x: 1 / (4 * np.maximum(x, 0.25))),
    "anscombe": (
        lambda x: 2 * np.sqrt(x + 0.375),
        lambda y: np.maximum((y / 2) ** 2 - 0.375, 0),
        lambda x: 1 / (x + 0.375),
    ),
    "freeman_tukey": (
        _freeman_tukey,
        _freeman_tukey_back,
        lambda x: (0.5 / np.sqrt(np.maximum(x, 0.25)) + 0.5 / np.sqrt(x + 1)) ** 2,
    ),
    "log": (np.log1p, np.expm1, lambda x: 1 / (1 + x) ** 2),
}


@dataclass(frozen=True, eq=False)
class Stabilise(Step):
    """Transform each content so that Poisson counts spread alike wherever they are.

    Args:
        form: ``"anscombe"`` 2·√(x + 3/8), of variance 1 for counts of 4 and more (Anscombe, Biometrika 35 (1948) 246);
            ``"freeman_tukey"`` √x + √(x + 1) (Ann. Math. Stat. 21 (1950) 607); ``"sqrt"`` √x; ``"log"`` ln(1 + x).
    """

    name: ClassVar[str] = "stabilise"

    form: str = "anscombe"

    def __post_init__(self) -> None:
        if self.form not in _FORMS:
            raise UnknownNameError("transform", self.form, _FORMS)

    def apply(self, me: MonitorElement, *, errors: bool = True) -> MonitorElement:
        """Return the transformed series; squared errors by the derivative at the content."""
        need_axes(me, self)
        if me.is_profile:
            raise UsageError(f"{me.name}: {self} is for counts, not for the means of a {me.storage}")
        if (me.contents < 0).any():
            i = int(np.argmax(flatten(me.contents < 0).any(axis=1)))
            raise UsageError(f"{me.name}: {self} of negative contents in run {me.run[i]}, lumisection {me.lumi[i]}")
        forward, _, slope2 = _FORMS[self.form]
        dtype = np.dtype(np.float64 if me.contents.dtype == np.float64 else np.float32)
        contents = me.contents.astype(dtype, copy=False)
        sumw2 = me.sumw2
        if sumw2 is not None or errors:
            counts = np.asarray(me.contents, np.float64)
            sumw2 = slope2(counts) * (counts if sumw2 is None else sumw2)
        return me.replace(contents=forward(contents), sumw2=sumw2, storage=storage_of(me, dtype))

    def restore(self, bins: Array, before: MonitorElement) -> Array:
        """Transform back; what is below the least that a count can give becomes 0."""
        del before
        return _FORMS[self.form][1](np.maximum(bins, 0))


def stabilise(form: str = "anscombe") -> Stabilise:
    """Make the spread of counts the same everywhere: ``"anscombe"``, ``"freeman_tukey"``, ``"sqrt"`` or ``"log"``.

    Examples:
        >>> dq.stabilise("anscombe").apply(good).bins
        (100,)
    """
    return Stabilise(form)
