"""Random numbers that depend on a key alone: the same whatever the number of threads and whichever rows are drawn with a row.

The generator is SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), one stream per key. Binomial and Poisson numbers are exact:
inversion for small means, transformed rejection (Hörmann, J. Stat. Comput. Simul. 46 (1993) 101; Insurance: Math.
Econ. 12 (1993) 39) for large ones.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.kernels.jit import part_kernel

__all__ = ["binomial", "binomial_by_inversion", "keys_of", "normal", "poisson", "uniform", "uniforms"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_UNIT = 2.0**-53
# Above this a float64 count has no neighbour, and below inversion is fast.
_SMALL = 10.0


def keys_of(seed: int, *numbers: NDArray[Any]) -> NDArray[np.uint64]:
    """``(n,)`` uint64: one key for each row of ``numbers``, arrays ``(n,)`` of whole numbers, and for the seed."""
    with np.errstate(over="ignore"):
        key = _mixed(np.asarray(seed % 2**64, np.uint64) + _GOLDEN)
        for array in numbers:
            key = _mixed((key ^ np.asarray(array).astype(np.uint64)) + _GOLDEN)
    return np.atleast_1d(key)


def uniforms(keys: NDArray[np.uint64], k: int) -> NDArray[np.float64]:
    """``(n, k)`` float64 in [0, 1): the first ``k`` numbers of each stream."""
    with np.errstate(over="ignore"):
        state = keys[:, None] + _GOLDEN * np.arange(1, k + 1, dtype=np.uint64)
        drawn: NDArray[np.float64] = (_mixed(state) >> _S11).astype(np.float64) * _UNIT
    return drawn


def _mixed(z: Any) -> Any:
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return z ^ (z >> _S31)


@part_kernel
def uniform(state):  # type: ignore[no-untyped-def]
    """Next number in [0, 1) of the stream whose ``(1,)`` uint64 state is given."""
    state[0] += _GOLDEN
    z = state[0]
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    z ^= z >> _S31
    return np.float64(z >> _S11) * _UNIT


@part_kernel
def normal(state):  # type: ignore[no-untyped-def]
    """Next number of a standard normal distribution, by Box and Muller's method."""
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(state)))
    return radius * math.cos(2.0 * math.pi * uniform(state))


@part_kernel
def poisson(mean, state):  # type: ignore[no-untyped-def]
    """Next whole number of a Poisson distribution, as float64; 0 where the mean is not above 0, NaN where it is NaN."""
    if np.isnan(mean):
        return np.nan
    if mean <= 0.0:
        return 0.0
    if mean < _SMALL:
        limit = math.exp(-mean)
        count, product = 0.0, uniform(state)
        while product > limit:
            count += 1.0
            product *= uniform(state)
        return count
    root = math.sqrt(mean)
    log_mean = math.log(mean)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse = 1.1239 + 1.1328 / (b - 3.4)
    ratio = 0.9277 - 3.6224 / (b - 2.0)
    while True:
        u = uniform(state) - 0.5
        v = uniform(state)
        us = 0.5 - abs(u)
        if us == 0.0:
            continue
        count = np.floor((2.0 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= ratio:
            return count
        if count < 0.0 or (us < 0.013 and v > us) or v == 0.0:
            continue
        left = math.log(v) + math.log(inverse) - math.log(a / (us * us) + b)
        if left <= count * log_mean - mean - math.lgamma(count + 1.0):
            return count


@part_kernel
def _stirling(k):  # type: ignore[no-untyped-def]
    """What Stirling's formula for ln k! leaves out."""
    if k < 10.0:
        return math.lgamma(k + 1.0) - ((k + 0.5) * math.log(k + 1.0) - (k + 1.0) + 0.9189385332046727)
    square = (k + 1.0) * (k + 1.0)
    return (1.0 / 12 - (1.0 / 360 - 1.0 / 1260 / square) / square) / (k + 1.0)


@part_kernel
def _binomial_rejection(n, p, state):  # type: ignore[no-untyped-def]
    spread = math.sqrt(n * p * (1.0 - p))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * p
    c = n * p + 0.5
    ratio = 0.92 - 4.2 / b
    odds = p / (1.0 - p)
    alpha = (2.83 + 5.1 / b) * spread
    mode = np.floor((n + 1.0) * p)
    while True:
        u = uniform(state) - 0.5
        v = uniform(state)
        us = 0.5 - abs(u)
        if us == 0.0:
            continue
        count = np.floor((2.0 * a / us + b) * u + c)
        if us >= 0.07 and v <= ratio:
            return count
        if count < 0.0 or count > n or v == 0.0:
            continue
        left = math.log(v * alpha / (a / (us * us) + b))
        right = (
            (mode + 0.5) * math.log((mode + 1.0) / (odds * (n - mode + 1.0)))
            + (n + 1.0) * math.log((n - mode + 1.0) / (n - count + 1.0))
            + (count + 0.5) * math.log(odds * (n - count + 1.0) / (count + 1.0))
            + _stirling(mode)
            + _stirling(n - mode)
            - _stirling(count)
            - _stirling(n - count)
        )
        if left <= right:
            return count


@part_kernel
def binomial_by_inversion(n, odds, none, state):  # type: ignore[no-untyped-def]
    """Next number of a binomial distribution with the odds p / (1 - p), 0 having the probability ``none``; for small means."""
    # Go through the probabilities from 0 on until they add up to a uniform number.
    left, count, chance = uniform(state), 0.0, none
    while left > chance and count < n:
        left -= chance
        count += 1.0
        chance *= odds * (n - count + 1.0) / count
    return count


@part_kernel
def binomial(n, p, state):  # type: ignore[no-untyped-def]
    """Next number, as float64, of how many of ``n`` are kept, each with probability ``p``; NaN where ``n`` is NaN."""
    if np.isnan(n):
        return np.nan
    if n <= 0.0 or p <= 0.0:
        return 0.0
    if p >= 1.0:
        return n
    less = min(p, 1.0 - p)
    if n * less >= _SMALL:
        count = _binomial_rejection(n, less, state)
    else:
        count = binomial_by_inversion(n, less / (1.0 - less), math.exp(n * math.log1p(-less)), state)
    return count if p <= 0.5 else n - count
