"""The likelihood ratio of a faulty to a good map, averaged over where, how large and how strong the fault may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.base import Detector, Progress, Sample, Sees
from dqmroot.detectors.occupancy import Occupancy
from dqmroot.detectors.shapes import blocks, flat
from dqmroot.errors import UsageError

__all__ = ["LikelihoodScan", "log_ratio", "scan"]

_BLOCK = 64
_LEAST = 1e-4  # share of its counts that a dead cell may still show (noise), and closeness of a probability to 1

Array = NDArray[np.float64]


def log_ratio(counts: Array, expected: Array, factor: float, events: Array | None = None) -> Array:
    """Return ln P(counts | factor × expected) / P(counts | expected) of each cell, in the shape of ``counts``.

    Args:
        counts: ``(n_ls, y, x)``.
        expected: The same shape; cells without expectation give 0.
        factor: 0 is dead, above 1 is hot.
        events: ``(n_ls, 1, 1)``: binomial in so many events; Poisson where None.
    """
    safe = np.maximum(expected, 1e-12)
    changed = safe * max(factor, _LEAST)
    if events is None:
        out = counts * np.log(changed / safe) - (changed - safe)
    else:
        before = np.clip(safe / events, 1e-12, 1 - _LEAST)
        after = np.clip(before * max(factor, _LEAST), 1e-12, 1 - _LEAST)
        out = counts * np.log(after / before)
        out += np.maximum(events - counts, 0) * np.log1p((before - after) / (1 - before))
    return np.where(expected > 0, out, 0.0)


def scan(
    ratio: Array, shapes: Iterable[tuple[int, int]], live: NDArray[np.bool_], step: tuple[int, int] = (1, 1)
) -> Array:
    """Return the logarithm of the mean likelihood ratio over all places of all shapes, ``(n_ls,)``.

    Args:
        ratio: ``(n_ls, y, x)`` from `log_ratio`.
        shapes: Sizes (y, x) of the fault, each as likely as the others.
        live: ``(y, x)``; a place counts when the fault touches a live cell, in proportion to how many.
        step: Grid (y, x) that the corners lie on.
    """
    sums = np.zeros((ratio.shape[0], ratio.shape[1] + 1, ratio.shape[2] + 1))
    np.cumsum(np.cumsum(ratio, axis=1), axis=2, out=sums[:, 1:, 1:])
    alive = np.zeros((live.shape[0] + 1, live.shape[1] + 1))
    alive[1:, 1:] = np.cumsum(np.cumsum(live, axis=0), axis=1)
    parts = []
    for height, width in shapes:
        inside = _box(alive[None], height, width, step)[0]
        if not inside.any():
            continue
        found = _box(sums, height, width, step)[:, inside > 0]
        weight = inside[inside > 0] / inside.sum()
        peak = found.max(axis=1, keepdims=True)
        parts.append(peak[:, 0] + np.log(np.exp(found - peak) @ weight))
    return log_mean(np.stack(parts, axis=1))


def log_mean(parts: Array) -> Array:
    """Return ln of the mean of exp over the last axis."""
    peak = parts.max(axis=-1, keepdims=True)
    return np.asarray(peak[..., 0] + np.log(np.exp(parts - peak).mean(axis=-1)))


def _box(sums: Array, height: int, width: int, step: tuple[int, int]) -> Array:
    height, width = min(height, sums.shape[1] - 1), min(width, sums.shape[2] - 1)
    box = sums[:, height:, width:] - sums[:, :-height, width:] - sums[:, height:, :-width] + sums[:, :-height, :-width]
    return np.asarray(box[:, :: step[0], :: step[1]])


class LikelihoodScan(Detector):
    """The best test there is where the kinds of fault are known: their likelihood ratio, averaged over place, size and strength.

    Only the mean map of good LS is learnt. The rate of each LS floats; counts are binomial in the number of events where good LS
    show it. Nothing but a different idea of the faults can do better (Neyman and Pearson).

    Args:
        shapes: Sizes (y, x) that a fault may have.
        factors: What it may do to the occupancy: 0 dead, 0.5 half lost, 2 twice as many.
        wide: Divide the logarithm of the ratio by the scatter of good LS beyond counting, which keeps busy cells from shouting.
    """

    name = "likelihood_scan"
    input = "counts"
    ndims = (2,)
    sees = (Sees("dead", 1, 50, 2), Sees("hot", 1, 50, 2), Sees("dead", 3, 10, 2), Sees("hot", 3, 10, 2))

    def __init__(
        self,
        *,
        shapes: Sequence[Sequence[int]] = ((1, 1), (2, 2), (5, 5), (4, 16), (1, 8), (8, 1)),
        factors: Sequence[float] = (0.0, 0.5, 0.8, 1.25, 2.0, 5.0),
        wide: bool = True,
    ) -> None:
        if not shapes or any(len(shape) != 2 or min(shape) < 1 for shape in shapes):
            raise UsageError(f"detector {self.name}: shapes must be pairs of numbers of cells, got {shapes}")
        if not factors or min(factors) < 0 or 1 in factors:
            raise UsageError(f"detector {self.name}: factors must be positive or 0, and not 1, got {factors}")
        self.shapes = shapes
        self.factors = factors
        self.wide = wide

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        self.occupancy_ = Occupancy.learn(x)

    def _expected(self, x: NDArray[np.float32]) -> tuple[Array, Array | None]:
        rate = self.occupancy_.rate(flat(x))
        expected = (rate * self.occupancy_.shape).reshape(x.shape)
        saturation = self.occupancy_.saturation
        return expected, (rate / saturation)[:, :, None] if saturation else None

    def by_factor(self, x: Sample) -> Array:
        """Return ln of the mean likelihood ratio for each factor, ``(n_ls, factors)``: what kind of fault it may be."""
        values, judged = self._check(x)
        out = np.full((len(values), len(self.factors)), np.nan)
        out[judged] = self._by_factor(values[judged])
        return out

    def _by_factor(self, x: NDArray[np.float32]) -> Array:
        live = (self.occupancy_.shape > 0).reshape(x.shape[1:])
        shapes = [(int(y), int(x_)) for y, x_ in self.shapes]
        scatter = self.occupancy_.scatter if self.wide else 1.0
        out = np.empty((len(x), len(self.factors)))
        for part in blocks(len(x), _BLOCK):
            counts = x[part].astype(np.float64)
            expected, events = self._expected(x[part])
            for i, factor in enumerate(self.factors):
                out[part, i] = scan(log_ratio(counts, expected, factor, events) / scatter, shapes, live)
        return out

    def _score(self, x: NDArray[np.float32], sample: Sample) -> Array:
        return log_mean(self._by_factor(x))

    def _score_bins(self, x: NDArray[np.float32], sample: Sample) -> Array:
        return np.abs(self.occupancy_.pulls(flat(x))[0]).reshape(x.shape)

    def _reconstruct(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        return np.asarray(self._expected(x)[0], np.float32)

    def _state(self) -> Mapping[str, NDArray[Any]]:
        return self.occupancy_.to_arrays()

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.occupancy_ = Occupancy.from_arrays(arrays, int(np.prod(self.bins_ or ())))
