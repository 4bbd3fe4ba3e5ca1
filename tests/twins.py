"""Every kernel beside its definition in plain NumPy. The tests compare the two, the benchmarks time them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.kernels import bins, chain, faults, scale, smooth, top, windows

Array = NDArray[Any]
Call = Callable[[Array], Any]

LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "as it is": lambda x: x,
    "without flow bins": lambda x: np.pad(x, [(0, 0), *[(1, 2)] * (x.ndim - 1)])[(..., *[slice(1, -2)] * (x.ndim - 1))],
    "last first": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "each second": lambda x: np.repeat(x, 2, axis=0)[::2],
    "columns first": np.asfortranarray,
}


@dataclass(frozen=True)
class Twin:
    """A kernel and its definition, both functions of the contents ``(n, [z,] [y,] x)`` alone.

    Args:
        kernel: The compiled form.
        definition: The plainest NumPy form, in float64.
        bandwidth: Whether it is bound by memory: bytes read and written are then compared with a plain copy.
    """

    kernel: Call
    definition: Call
    bandwidth: bool = False


def wide(x: Array) -> Array:
    return np.asarray(x, np.float64)


def axes_of(x: Array) -> tuple[int, ...]:
    return tuple(range(1, x.ndim))


def columns(x: Array) -> tuple[int, ...]:
    """A shape that lets one number per row meet all bins."""
    return (-1, *[1] * (x.ndim - 1))


def kept(x: Array) -> np.dtype[Any]:
    """The type in which a kernel gives back what it makes of ``x``."""
    return np.dtype(np.float32 if x.dtype == np.float32 else np.float64)


def cuts_of(x: Array) -> list[Array]:
    """Uneven groups: a first bin alone, then pairs, then what is left."""
    return [np.unique([0, min(1, n), *range(1, n, 2), n]) for n in x.shape[1:]]


def merge_definition(x: Array, cuts: list[Array]) -> Array:
    out = wide(x)
    for axis, cut in enumerate(cuts, start=1):
        groups = [out.take(range(a, b), axis=axis).sum(axis=axis) for a, b in itertools.pairwise(cut)]
        out = np.stack(groups, axis=axis)
    return out


def whole(x: Array) -> tuple[tuple[int, int], ...]:
    return tuple((0, size) for size in x.shape[1:])


def halves(x: Array) -> tuple[int, ...]:
    return tuple(2 if size % 2 == 0 else 1 for size in x.shape[1:])


def region_of(x: Array) -> tuple[tuple[int, int], ...]:
    """All but the first bin, if there is more than one."""
    return tuple((1, n) if n > 1 else (0, n) for n in x.shape[1:])


def inside(x: Array) -> Array:
    return x[(slice(None), *(slice(a, b) for a, b in region_of(x)))]


def divisor_definition(x: Array, mode: str) -> Array:
    inner = wide(inside(x))
    found = inner.sum(axis=axes_of(x)) if mode == "integral" else inner.max(axis=axes_of(x), initial=-np.inf)
    return np.where((found > 0) & (found < np.inf), found, np.nan)


def normalise_definition(x: Array, mode: str) -> tuple[Array, Array, Array]:
    divisor = divisor_definition(x, mode)
    return wide(x) / divisor.reshape(columns(x)), divisor, np.count_nonzero(inside(x) < 0, axis=axes_of(x))


def map_of(x: Array, low: float = 0.5) -> Array:
    """Some positive map in the bins of ``x``."""
    size = int(np.prod(x.shape[1:]))
    return (low + np.arange(size) % 7 / 3).reshape(x.shape[1:])


def divisor_of(x: Array) -> Array:
    return 1.0 + np.arange(len(x)) % 5


WEIGHTS = np.array([0.25, 0.5, 0.25])


def smooth_definition(x: Array) -> Array:
    out = wide(x)
    for axis in axes_of(x):
        n = x.shape[axis]
        sums, norm = np.zeros(out.shape), np.zeros(n)
        moved, target = np.moveaxis(out, axis, -1), np.moveaxis(sums, axis, -1)
        for i in range(n):
            for step, weight in zip((-1, 0, 1), WEIGHTS, strict=True):
                if 0 <= i + step < n:
                    target[..., i] += weight * moved[..., i + step]
                    norm[i] += weight
        out = np.moveaxis(target / norm, -1, axis)
    return out


def window_of(x: Array) -> tuple[Array, Array]:
    """Rows in reversed order, in windows of three; the first of all has none."""
    n = len(x)
    begin = np.maximum(np.arange(n) - 2, 0)
    begin[:1] = -1
    return np.arange(n)[::-1].copy(), begin


def window_definition(x: Array, *, product: bool) -> Array:
    order, begin = window_of(x)
    out = np.empty(x.shape)
    for i, row in enumerate(order):
        rows = wide(x)[order[begin[i] : i + 1]] if begin[i] >= 0 else np.full((1, *x.shape[1:]), np.nan)
        out[row] = rows.prod(axis=0) if product else 0.5 * rows.sum(axis=0)
    return out


def difference_definition(x: Array, r: Array, kind: str, floor: float = 0.0) -> Array:
    x, r = np.broadcast_arrays(wide(x), wide(r))
    below = np.maximum(r, floor)
    if kind == "squared":
        return (x - r) ** 2
    if kind == "chi2":
        found = (x - r) ** 2 / below
    elif kind == "pull":
        found = np.abs(x - r) / np.sqrt(below)
    else:
        log = np.zeros(x.shape)
        np.log(x / np.where(below > 0, below, 1), out=log, where=x > 0)
        found = np.where((below > 0) | (x == 0), 2 * (x * log - x + below), np.inf)
        return np.where(np.isnan(x + r), np.nan, np.where(x < 0, np.nan, np.maximum(found, 0)))
    found = np.where(x == r, 0, np.where(below > 0, found, np.inf))
    return np.where(np.isnan(x + r), np.nan, found)


def top_definition(found: Array, k: int) -> Array:
    flat = found.reshape(len(found), math.prod(found.shape[1:]))
    # A NaN is sorted to the end, so that the mean is NaN too.
    return np.sort(flat, axis=1)[:, flat.shape[1] - k :].mean(axis=1)


def k_of(x: Array) -> int:
    return min(10, math.prod(x.shape[1:]))


def factors_of(x: Array) -> tuple[int, ...]:
    return tuple(next((f for f in (2, 3) if (b - a) % f == 0), 1) for a, b in region_of(x))


def chain_definition(x: Array, mode: str) -> Array:
    inner = wide(inside(x))
    out = merge_definition(inner, [np.arange(0, n + 1, f) for n, f in zip(inner.shape[1:], factors_of(x), strict=True)])
    if mode:
        found = out.sum(axis=axes_of(x)) if mode == "integral" else out.max(axis=axes_of(x), initial=-np.inf)
        out = out / np.where((found > 0) & (found < np.inf), found, np.nan).reshape(columns(x))
    return out


def chain_reference(x: Array) -> Array:
    return map_of(np.empty((1, *((b - a) // f for (a, b), f in zip(region_of(x), factors_of(x), strict=True)))), 0.0)


def spread_of(n: int) -> Array:
    """Three quarters stay, one quarter goes to the next bin."""
    return np.where(np.arange(n)[:, None] == n - 1, np.eye(n), 0.75 * np.eye(n) + 0.25 * np.eye(n, k=1))


def moved_kernel(x: Array) -> Array:
    out = np.ascontiguousarray(x, kept(x)).copy().reshape(len(x), math.prod(x.shape[1:-1]), x.shape[-1])
    active = np.ones(out.shape[:2], bool)
    faults.move_along(out, active, spread_of(x.shape[-1]), np.arange(len(x), dtype=np.uint64), random=False)
    return out.reshape(x.shape)


def four_of(x: Array) -> Array:
    return x.reshape(len(x), *[1] * (4 - x.ndim), *x.shape[1:])


def half_of(x: Array) -> Array:
    """The box of the first half of x, for each row."""
    box = np.array([[0, n] for n in four_of(x).shape[1:]])
    box[2, 1] //= 2
    return np.tile(box, (len(x), 1, 1))


def thinned_kernel(x: Array) -> Array:
    """Half of what is there, and what a map adds, in the first half of x."""
    out = np.ascontiguousarray(x, kept(x)).copy()
    four = four_of(out)
    mean = map_of(x).reshape(four.shape[1:])
    keys = np.arange(len(x), dtype=np.uint64)
    faults.change_counts(four, half_of(x), keys, keep=0.5, mean=mean, rate=divisor_of(x), factor=3.0, random=False)
    return out


def thinned_definition(x: Array) -> Array:
    out = wide(x).copy()
    half = x.shape[-1] // 2
    gain = 3.0 * map_of(x) * divisor_of(x).reshape(columns(x)) * (np.prod(x.shape[1:]) > 1)
    out[..., :half] = 0.5 * out[..., :half] + gain[..., :half]
    return out


def top_twin(kind: str, *, shared: bool = True, k: int | None = None, floor: float = 0.0) -> Twin:
    def reference(x: Array) -> Array:
        usual = map_of(x, 0.0)
        return usual if shared else usual + divisor_of(x).reshape(columns(x))

    return Twin(
        lambda x: top.top_mean(x, reference(x), min(k or k_of(x), math.prod(x.shape[1:])), kind, floor),
        lambda x: top_definition(
            difference_definition(x, reference(x), kind, floor), min(k or k_of(x), math.prod(x.shape[1:]))
        ),
    )


TWINS: dict[str, Twin] = {
    "merge": Twin(
        lambda x: bins.merge(x, cuts_of(x), kept(x)), lambda x: merge_definition(x, cuts_of(x)), bandwidth=True
    ),
    "normalise to the integral": Twin(
        lambda x: scale.normalise(x, "integral", region_of(x), kept(x)),
        lambda x: normalise_definition(x, "integral"),
        bandwidth=True,
    ),
    "normalise to the maximum": Twin(
        lambda x: scale.normalise(x, "maximum", region_of(x), kept(x)),
        lambda x: normalise_definition(x, "maximum"),
        bandwidth=True,
    ),
    "divisors": Twin(
        lambda x: scale.divisors(inside(x), "integral"),
        lambda x: (divisor_definition(x, "integral"), np.count_nonzero(inside(x) < 0, axis=axes_of(x))),
    ),
    "scale rows": Twin(
        lambda x: scale.scale_rows(x, divisor_of(x), kept(x)),
        lambda x: wide(x) / divisor_of(x).reshape(columns(x)),
        bandwidth=True,
    ),
    "row sums": Twin(scale.row_sums, lambda x: wide(x).sum(axis=axes_of(x))),
    "linear": Twin(
        lambda x: scale.linear(x, map_of(x), map_of(x, 0.0), kept(x)),
        lambda x: (wide(x) - map_of(x, 0.0)) / map_of(x),
        bandwidth=True,
    ),
    "smooth": Twin(lambda x: smooth.smooth(x, [WEIGHTS] * (x.ndim - 1), kept(x)), smooth_definition, bandwidth=True),
    "window sums": Twin(
        lambda x: windows.window_sums(x, *window_of(x), np.full(len(x), 0.5), kept(x)),
        lambda x: window_definition(x, product=False),
    ),
    "window products": Twin(
        lambda x: windows.window_products(x, *window_of(x)), lambda x: window_definition(x, product=True)
    ),
    "differences": Twin(
        lambda x: top.differences(x, map_of(x, 0.0)), lambda x: difference_definition(x, map_of(x, 0.0), "squared")
    ),
    "top squared": top_twin("squared"),
    "top squared, own references": top_twin("squared", shared=False),
    "top squared, forty": top_twin("squared", k=40),
    "top squared, many": top_twin("squared", k=100),
    "maximum": top_twin("squared", k=1),
    "top chi2": top_twin("chi2"),
    "top chi2 with a floor": top_twin("chi2", floor=1.0),
    "top deviance": top_twin("deviance"),
    "top pull": top_twin("pull"),
    "crop and rebin": Twin(
        lambda x: chain.prepare(x, bins.blocks_of(region_of(x), factors_of(x)))[0],
        lambda x: chain_definition(x, ""),
        bandwidth=True,
    ),
    "crop, rebin, normalise": Twin(
        lambda x: chain.prepare(x, bins.blocks_of(region_of(x), factors_of(x)), "integral")[0],
        lambda x: chain_definition(x, "integral"),
        bandwidth=True,
    ),
    "crop, rebin, normalise to the maximum": Twin(
        lambda x: chain.prepare(x, bins.blocks_of(region_of(x), factors_of(x)), "maximum")[0],
        lambda x: chain_definition(x, "maximum"),
    ),
    "crop, rebin, normalise, score": Twin(
        lambda x: chain.score(
            x,
            bins.blocks_of(region_of(x), factors_of(x)),
            "integral",
            chain_reference(x),
            k_of(chain_reference(x)[None]),
        )[0],
        lambda x: top_definition(
            difference_definition(chain_definition(x, "integral"), chain_reference(x), "squared"),
            k_of(chain_reference(x)[None]),
        ),
    ),
    "move along": Twin(
        moved_kernel,
        # Where nothing goes, not even infinity times nothing goes.
        lambda x: np.where(spread_of(x.shape[-1]) > 0, wide(x)[..., :, None] * spread_of(x.shape[-1]), 0).sum(axis=-2),
    ),
    "thin and add": Twin(thinned_kernel, thinned_definition),
    "copy counts": Twin(
        faults.copy_counts,
        lambda x: (
            wide(x),
            np.count_nonzero(wide(x) < 0, axis=axes_of(x)),
            np.count_nonzero((np.floor(wide(x)) != wide(x)) & ~np.isnan(wide(x)), axis=axes_of(x)),
        ),
        bandwidth=True,
    ),
    "box sums": Twin(
        lambda x: faults.box_sums(four_of(np.ascontiguousarray(x, kept(x))), half_of(x)),
        lambda x: wide(x)[..., : x.shape[-1] // 2].sum(axis=axes_of(x)),
    ),
}
