"""The usual steps, crop → rebin → normalise, done in one pass over the contents."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import UsageError
from dqmroot.kernels import chain
from dqmroot.kernels.bins import Groups, blocks_of
from dqmroot.kernels.scratch import AT_ONCE, scratch
from dqmroot.prepare.bins import Crop, IncludeFlow, Rebin, check_factors
from dqmroot.prepare.scale import Normalise
from dqmroot.prepare.step import Array, Step
from dqmroot.series import Axis, MonitorElement

__all__ = ["Plan", "fuse"]


@dataclass(frozen=True)
class Plan:
    """What one pass has to do.

    Args:
        groups: The bins that are kept, flow bins counted, and summed, in the order of the array.
        mode: How to normalise; ``""`` for not at all.
        name: The monitoring element.
    """

    groups: Groups
    mode: str
    name: str

    def array(self, me: MonitorElement) -> NDArray[np.float32]:
        """Return the prepared values, ``(n_ls, [z,] [y,] x)`` float32."""
        out, negative = chain.prepare(me.contents, self.groups, self.mode)
        self._check(me, negative)
        return np.asarray(out, np.float32)

    def parts(self, me: MonitorElement) -> Iterator[NDArray[np.float32]]:
        """Give what `array` returns, some rows at a time, in memory that the next rows use again."""
        size = self.groups.size
        step = max(1, min(AT_ONCE // max(math.prod(size), 1), len(me)))
        with scratch((step, *size), chain.kept(me.contents)) as memory:
            for begin in range(0, len(me), step):
                rows = me.contents[begin : begin + step]
                out, negative = chain.prepare(rows, self.groups, self.mode, memory[: len(rows)])
                self._check(me, negative, begin)
                yield np.asarray(out, np.float32)

    def score(self, me: MonitorElement, reference: Array, k: int, kind: str) -> NDArray[np.float64]:
        """Return the mean of the ``k`` largest differences to ``reference``, ``(n_ls,)``."""
        out, negative = chain.score(me.contents, self.groups, self.mode, reference, k, kind)
        self._check(me, negative)
        return out

    def _check(self, me: MonitorElement, negative: Array | None, first: int = 0) -> None:
        if negative is not None and negative.any():
            at = int(np.argmax(negative > 0))
            raise UsageError(
                f"{me.name}: normalise({self.mode}) of negative contents: {negative[at]} bins in run {me.run[first + at]},"
                f" lumisection {me.lumi[first + at]}"
            )


def fuse(steps: Sequence[Step], me: MonitorElement) -> Plan | None:
    """Return the plan that does all ``steps`` at once, or ``None`` where they are not the usual ones in the usual order.

    Raises:
        UsageError: A step does not fit the series.
    """
    if me.is_profile or not me.axes:
        return None
    axes: tuple[Axis, ...] = me.axes
    low, high = [1] * len(axes), [axis.nbins + 1 for axis in axes]
    factors, mode, last = (1,) * len(axes), "", -1
    for i, step in enumerate(steps):
        rank = next((j for j, kind in enumerate((IncludeFlow, Crop, Rebin, Normalise)) if isinstance(step, kind)), None)
        if rank is None or rank <= last:
            return None
        last = rank
        if isinstance(step, IncludeFlow):
            low, high = [0] * len(axes), [edge + 1 for edge in high]
        elif isinstance(step, Crop):
            spans = step.spans(axes, me.name)
            high = [begin + b for begin, (_, b) in zip(low, spans, strict=True)]
            low = [begin + a for begin, (a, _) in zip(low, spans, strict=True)]
        elif isinstance(step, Rebin):
            check_factors(step, axes, me.name)
            factors = step.factors
        elif isinstance(step, Normalise):
            if step.by not in {"integral", "maximum"}:
                return None
            mode = step.by
        # Only what comes before a step that counts bins need be known: the last axes are nobody's.
        if any(isinstance(later, Crop | Rebin) for later in steps[i + 1 :]):
            axes = step.axes_after(axes)
    region = tuple(zip(low[::-1], high[::-1], strict=True))
    return Plan(blocks_of(region, factors[::-1]), mode, me.name)
