"""More lumisections like the good ones, for training: noise, mixtures, bootstrap, sampling.

The result is a series of made-up lumisections: run 0, numbered from 1. Contents are means, no whole numbers, unless ``counts``
asks for Poisson numbers around them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from dqmroot.distance import moments
from dqmroot.errors import EmptySelectionError, UnknownNameError, UsageError
from dqmroot.kernels.faults import draw_poisson
from dqmroot.kernels.random import keys_of
from dqmroot.prepare.bins import storage_of
from dqmroot.series import MonitorElement

__all__ = ["METHODS", "resample"]

Array = NDArray[np.float64]
Generator = np.random.Generator


def resample(
    me: MonitorElement,
    n: int,
    method: str = "combine",
    *,
    width: float = 0.1,
    nearest: int = 10,
    counts: bool = False,
    seed: int = 0,
) -> MonitorElement:
    """Make ``n`` lumisections like those of ``me``.

    Args:
        me: Good lumisections of a histogram with one, two or three axes.
        n: How many to make.
        method: ``"fourier"``: a lumisection times 1 plus three slow waves per axis; ``"white"``: each bin times 1 plus independent
            Gaussian noise; ``"combine"``: a mixture of lumisections with random positive weights that add up to 1;
            ``"similar"``: the
            same, of the ``nearest`` to a random one in content, mean and width; ``"bins"``: each bin from a random lumisection;
            ``"sample"``:
            entries drawn from the shape of a random lumisection, as many as it has on average.
        width: Standard deviation of the relative noise.
        nearest: How many lumisections are similar.
        counts: Whether Poisson numbers are drawn around the contents.
        seed: Of everything random.

    Returns:
        ``n`` lumisections, without stored errors, flow bins empty, ``entries`` the sum of the contents.

    Raises:
        UnknownNameError: No such method.
        UsageError: A scalar or a profile, negative contents, or n below 1.

    Examples:
        >>> len(dq.resample(good, 500, seed=1))
        500
    """
    if method not in METHODS:
        raise UnknownNameError("method of resampling", method, METHODS)
    if not me.axes or me.is_profile:
        raise UsageError(f"{me.name}: resampling is for histograms of counts, not for a {me.storage}")
    if n < 1 or nearest < 1 or width < 0:
        raise UsageError(f"{me.name}: cannot make n = {n} lumisections with width {width} from the {nearest} nearest")
    values = np.ascontiguousarray(me.values(), np.float64)
    flat = values.reshape(len(me), int(np.prod(me.bins)))
    if (flat < 0).any():
        raise UsageError(f"{me.name}: negative contents, shape {values.shape}")
    judged = (flat.sum(axis=1) > 0) & np.isfinite(flat).all(axis=1)
    if not judged.any():
        raise EmptySelectionError(f"{me.name}: no lumisection with contents to resample")
    rng = np.random.Generator(np.random.PCG64(seed))
    # A product of matrices is rounded otherwise for each number of threads.
    with threadpool_limits(1, "blas"):
        made = METHODS[method](values[judged], n, rng, width, nearest)
    lumi = np.arange(1, n + 1, dtype=np.uint32)
    rows = np.clip(made.reshape(n, -1), 0, None)
    if counts or method == "sample":
        rows = draw_poisson(rows, keys_of(seed, lumi))
    contents = np.zeros((n, *(size + 2 for size in me.bins)), me.contents.dtype if counts else np.float32)
    me.view(contents)[...] = rows.reshape(made.shape)
    zero = np.zeros(n, np.uint32)
    storage = storage_of(me, contents.dtype)
    return MonitorElement(me.name, storage, me.axes, zero, lumi, rows.sum(axis=1), contents, title=me.title)


def _waves(shape: tuple[int, ...], rng: Generator) -> Array:
    """``(n, [z,] [y,] x)``: along each axis three sines of random length and phase, added; standard deviation about 1."""
    n = shape[0]
    out = np.zeros(shape)
    for axis, size in enumerate(shape[1:], start=1):
        step, phase, height = rng.uniform(size=(3, n, 3, 1))
        # The longest is flat, the shortest has eight bins: slower than any fault.
        along = (height * np.sin(0.25 * np.pi * step * np.arange(size) + 2 * np.pi * phase)).sum(axis=1)
        out += along.reshape(n, *(size if a == axis else 1 for a in range(1, len(shape))))
    spread: Array = out / np.sqrt((len(shape) - 1) * 0.5)  # each sum has the variance 3 · E[height²] · 1/2
    return spread


def _fourier(values: Array, n: int, rng: Generator, width: float, nearest: int) -> Array:
    del nearest
    chosen = values[rng.integers(len(values), size=n)]
    return np.asarray(chosen * (1 + width * _waves(chosen.shape, rng)))


def _white(values: Array, n: int, rng: Generator, width: float, nearest: int) -> Array:
    del nearest
    chosen = values[rng.integers(len(values), size=n)]
    return np.asarray(chosen * (1 + width * rng.standard_normal(chosen.shape)))


def _combine(values: Array, n: int, rng: Generator, width: float, nearest: int) -> Array:
    del width, nearest
    weights = rng.uniform(size=(n, len(values)))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray((weights @ values.reshape(len(values), -1)).reshape(n, *values.shape[1:]))


def _similar(values: Array, n: int, rng: Generator, width: float, nearest: int) -> Array:
    del width
    k = min(nearest, len(values))
    described = describe(values)
    out = np.empty((n, *values.shape[1:]))
    for i, start in enumerate(rng.integers(len(values), size=n)):
        distance = ((described - described[start]) ** 2).mean(axis=1)
        near = np.argpartition(distance, k - 1)[:k]
        weights = rng.uniform(size=k)
        out[i] = np.tensordot(weights / weights.sum(), values[near], axes=1)
    return out


def describe(values: Array) -> Array:
    """``(n, features)``: content, mean and width along each axis, each in units of its own spread over the lumisections."""
    total = values.reshape(len(values), -1).sum(axis=1)
    mean, rms = moments(values)
    features = np.column_stack([total, mean, rms])
    spread = features.std(axis=0)
    return np.asarray((features - features.mean(axis=0)) / np.where(spread > 0, spread, 1))


def _bins(values: Array, n: int, rng: Generator, width: float, nearest: int) -> Array:
    del width, nearest
    flat = values.reshape(len(values), -1)
    chosen = rng.integers(len(values), size=(n, flat.shape[1]))
    return np.asarray(np.take_along_axis(flat, chosen, axis=0).reshape(n, *values.shape[1:]))


def _sample(values: Array, n: int, rng: Generator, width: float, nearest: int) -> Array:
    del width, nearest
    # Independent Poisson numbers around the contents are entries drawn from the shape, their number fluctuating too.
    return np.asarray(values[rng.integers(len(values), size=n)])


METHODS: dict[str, Callable[[Array, int, Generator, float, int], Array]] = {
    "fourier": _fourier,
    "white": _white,
    "combine": _combine,
    "similar": _similar,
    "bins": _bins,
    "sample": _sample,
}
"""Every method by name."""
