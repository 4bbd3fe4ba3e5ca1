"""Compiled kernels beside the best NumPy form, the peers' formula, and a plain parallel copy.

Run ``python benchmarks/kernels.py [--large] [--sweep] [--compile] [--json FILE]``. All columns of a row are measured in one
run, taking turns, and the best of several turns counts; ratios are what to quote. ``--large`` adds arrays of 1 GB, ``--sweep``
shapes from one bin to wide and long ones, ``--compile`` the time of first uses in fresh processes with an empty cache.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot import Axis, MonitorElement, inject
from dqmroot.kernels import bins, chain, faults, random, scale, smooth, top, windows
from dqmroot.kernels.rows import copy, over_rows, threads

Array = NDArray[Any]
Call = Callable[[], object]

SHAPES = {"20,000 × 102": (20_000, 102), "2,000 × 72 × 84": (2_000, 72, 84)}
REPEATS = 3
LARGE = {"1 GB: 2,600,000 × 102": (2_600_000, 102), "1 GB: 44,000 × 72 × 84": (44_000, 72, 84)}


@dataclass
class Row:
    """One line of the table: times in milliseconds; bandwidths as fractions of that of a plain parallel copy.

    ``bandwidth`` is that of a kernel that makes its result beside that of a copy that makes its own: both pay for new
    pages. ``ready`` is that of both into memory that is already there.
    """

    name: str
    shape: str
    kernel: float
    numpy: float | None = None
    peer: float | None = None
    bandwidth: float | None = None
    ready: float | None = None

    def __str__(self) -> str:
        def ratio(other: float | None) -> str:
            return f"{other:10.2f} {other / self.kernel:7.1f}×" if other is not None else " " * 19

        shares = [f"{100 * share:6.0f} %" if share is not None else " " * 8 for share in (self.bandwidth, self.ready)]
        numbers = f"{self.kernel:9.2f} {ratio(self.numpy)} {ratio(self.peer)} {' '.join(shares)}"
        return f"{self.name:34s} {self.shape:24s} {numbers}".rstrip()


def clock(*calls: Call | None, turns: int = 7) -> list[float | None]:
    """Best time of each call in milliseconds, the calls taking turns, a few times each: the first wakes threads up."""
    best: list[float | None] = [None if call is None else np.inf for call in calls]
    for turn in range(turns + 1):
        for i, call in enumerate(calls):
            if call is None:
                continue
            for _ in range(REPEATS):
                begin = time.perf_counter()
                call()
                took = 1e3 * (time.perf_counter() - begin)
                if turn:  # the first one compiles and warms up
                    best[i] = min(best[i] or np.inf, took)
    return best


def copy_speeds(x: Array, turns: int) -> tuple[float, float]:
    """Bytes per millisecond, read and written, of a plain parallel copy: into new memory, and into what is there."""
    out = np.empty_like(x)

    def part(first: int, last: int) -> None:
        out[first:last] = x[first:last]

    new, ready = clock(lambda: copy(x), lambda: over_rows(part, len(x), x.nbytes), turns=turns)
    return 2 * x.nbytes / (new or np.inf), 2 * x.nbytes / (ready or np.inf)


def lines_read(x: Array, kept: int) -> float:
    """Bytes of the cache lines that hold the first ``kept`` bytes of each row, as a share of all: memory is read in whole lines."""
    begin = x.ctypes.data + np.arange(64) * x[0].nbytes
    return float(np.mean((begin + kept - 1) // 64 - begin // 64 + 1)) * 64 / x[0].nbytes


def slices_rebin(x: Array) -> Array:
    """The fastest NumPy form: strided slices added, one axis after the other."""
    for axis in range(x.ndim - 1, 0, -1):
        even = tuple(slice(None, None, 2) if a == axis else slice(None) for a in range(x.ndim))
        odd = tuple(slice(1, None, 2) if a == axis else slice(None) for a in range(x.ndim))
        x = x[even] + x[odd]
    return x


def peer_rebin(x: Array) -> Array:
    """A loop over output bins, each a sum over a block of all lumisections."""
    if x.ndim == 2:
        return x.reshape(len(x), -1, 2).sum(axis=2)
    out = np.empty((len(x), x.shape[1] // 2, x.shape[2] // 2))
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            out[:, i, j] = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].sum(axis=(1, 2))
    return out


def numpy_normalise(x: Array) -> Array:
    return x / x.sum(axis=tuple(range(1, x.ndim)), keepdims=True)


def numpy_top(x: Array, r: Array) -> Array:
    d = ((x - r) ** 2).reshape(len(x), -1)
    return np.partition(d, -10, axis=1)[:, -10:].mean(axis=1)


def peer_top(x: Array, r: Array) -> Array:
    d = ((x - r) ** 2).reshape(len(x), -1)
    return np.sort(d, axis=1)[:, ::-1][:, :10].mean(axis=1)


def numpy_smooth(x: Array) -> Array:
    """Three shifted copies added, axis by axis, edges renormalised."""
    for axis in range(1, x.ndim):
        moved = np.moveaxis(x, axis, -1)
        out = moved.copy()
        out[..., 1:] += moved[..., :-1]
        out[..., :-1] += moved[..., 1:]
        norm = np.full(moved.shape[-1], 3, x.dtype)
        norm[[0, -1]] = min(2, moved.shape[-1])
        out /= norm
        x = np.moveaxis(out, -1, axis)
    return x


def peer_smooth(x: Array) -> Array:
    from scipy.signal import convolve

    window = np.ones((3,) * (x.ndim - 1)) / 3 ** (x.ndim - 1)
    return np.stack([convolve(row, window, "same") for row in x])


def numpy_running(x: Array) -> Array:
    out = x.copy()
    for back in range(1, min(5, len(x))):
        out[back:] += x[:-back]
    return out


def peer_running(x: Array) -> Array:
    return np.stack([x[max(0, i - 4) : i + 1].sum(axis=0) for i in range(len(x))])


def numpy_chain(full: Array, r: Array) -> Array:
    return numpy_top(numpy_normalise(slices_rebin(full[(slice(None), *[slice(1, -1)] * (full.ndim - 1))])), r)


def numpy_thin(x: Array, rng: np.random.Generator) -> Array:
    return rng.binomial(x.astype(np.int64), 0.5).astype(x.dtype)


def measure(name: str, shape: tuple[int, ...], turns: int) -> list[Row]:
    """Every kernel on contents of one shape."""
    rng = np.random.default_rng(1)
    x = rng.poisson(5, (min(shape[0], 2000), *shape[1:])).astype(np.float32)
    x = np.concatenate([x] * -(-shape[0] // len(x)))[: shape[0]]
    large = x.nbytes > 1 << 29
    new, ready = copy_speeds(x, turns)
    n, inner = len(x), tuple((0, size) for size in shape[1:])
    r = x[:2000].mean(axis=0)
    cuts = [np.arange(0, size + 1, 2) for size in shape[1:]]
    twos = (2,) * (x.ndim - 1)
    place, begin, one = np.arange(n), np.maximum(np.arange(n) - 4, 0), np.ones(n)
    window = [np.ones(3)] * (x.ndim - 1)
    halves = np.prod([0.5] * (x.ndim - 1))
    halved = bins.blocks_of(inner, twos)
    rows = [Row("plain parallel copy", name, 2 * x.nbytes / new, bandwidth=1.0, ready=1.0)]

    def add(
        what: str,
        kernel: Callable[[Array | None], object],
        plain: Call | None = None,
        peer: Call | None = None,
        touched: float | None = None,
        memory: Array | None = None,
    ) -> None:
        if large:
            plain = peer = None
        into = None if memory is None else (lambda: kernel(memory))
        took, numpy_took, peer_took, into_took = clock(lambda: kernel(None), plain, peer, into, turns=turns)
        assert took is not None
        shares = [
            None if touched is None or time is None else touched * x.nbytes / time / speed
            for time, speed in ((took, new), (into_took, ready))
        ]
        rows.append(Row(what, name, took, numpy_took, peer_took, *shares))

    same = np.empty(x.shape, np.float32)
    small = np.empty((n, *(size // 2 for size in shape[1:])), np.float32)
    part = np.empty((n, shape[1] // 2, *shape[2:]), np.float32)
    add(
        "rebin 2 (per axis)",
        lambda out: chain.prepare(x, halved, "", out),
        lambda: slices_rebin(x),
        lambda: peer_rebin(x),
        1 + halves,
        small,
    )
    merged = lambda out: bins.merge(x, cuts, None, out)  # noqa: E731
    add("merge to given groups", merged, lambda: slices_rebin(x), None, 1 + halves, small)
    half = tuple((0, size // 2) if a == 0 else (0, size) for a, size in enumerate(shape[1:]))
    cropped = (slice(None), slice(0, shape[1] // 2))
    kept = bins.blocks_of(half, (1,) * (x.ndim - 1))
    add(
        "crop to half",
        lambda out: chain.prepare(x, kept, "", out),
        lambda: np.copy(x[cropped]),
        None,
        lines_read(x, part[0].nbytes) + 0.5,
        part,
    )
    add(
        "normalise (integral)",
        lambda out: scale.normalise(x, "integral", inner, None, out),
        lambda: numpy_normalise(x),
        None,
        2,
        same,
    )
    peak = lambda: x / x.max(axis=tuple(range(1, x.ndim)), keepdims=True)  # noqa: E731
    add("normalise (maximum)", lambda out: scale.normalise(x, "maximum", inner, None, out), peak, None, 2, same)
    del same, small, part
    wide = np.empty(x.shape)
    add(
        "loss map",
        lambda out: top.differences(x, r, "squared", 0.0, out),
        lambda: np.square(np.subtract(x, r, dtype=np.float64)),
        None,
        3,
        wide,
    )
    del wide
    add(
        "top 10 squared",
        lambda _: top.top_mean(x, r, 10),
        lambda: numpy_top(x, r),
        lambda: peer_top(x, r),
    )
    if large:
        return rows
    add("smooth 3 (per axis)", lambda _: smooth.smooth(x, window), lambda: numpy_smooth(x), lambda: peer_smooth(x))
    add(
        "running sum of 5",
        lambda _: windows.window_sums(x, place, begin, one),
        lambda: numpy_running(x),
        lambda: peer_running(x),
    )
    full = np.pad(x, [(0, 0), *[(1, 1)] * (x.ndim - 1)])
    groups = bins.blocks_of(tuple((1, 1 + size) for size in shape[1:]), twos)
    usual = chain.prepare(full, groups, "integral")[0].mean(axis=0)
    add(
        "crop → rebin → normalise → score",
        lambda _: chain.score(full, groups, "integral", usual, 10),
        lambda: numpy_chain(full, usual),
    )
    keys, boxes = (
        random.keys_of(1, place),
        np.tile([[0, 1], [0, shape[1] if x.ndim > 2 else 1], [0, shape[-1]]], (n, 1, 1)),
    )

    def thin() -> None:
        four = copy(x).reshape(n, 1, -1, shape[-1])
        faults.change_counts(four, boxes, keys, keep=0.5)

    add("inject: degrade everything", lambda _: thin(), lambda: numpy_thin(x, rng))
    axes = tuple(Axis(size, 0, size) for size in reversed(shape[1:]))
    me = MonitorElement("me", "TH1F", axes, np.ones(n), place, np.ones(n), full)
    size = (5,) * len(axes)

    def plain_inject() -> Array:
        """What ``inject`` gives, in NumPy: counts, truth mask and entries."""
        out, truth = full.copy(), np.zeros(x.shape, bool)
        for i in range(n):
            at = tuple(slice(p, p + 5) for p in rng.integers(0, np.array(shape[1:]) - 4))
            truth[(i, *at)] = True
            out[i][tuple(slice(a.start + 1, a.stop + 1) for a in at)] = rng.binomial(x[(i, *at)].astype(int), 0.5)
        return out.sum(axis=tuple(range(1, x.ndim)))

    add("inject: degrade 5 × 5, with truth", lambda _: inject(me, "degraded", size=size, seed=1), plain_inject)
    return rows


SWEEP = (
    (1, 1),
    (1, 102),
    (10, 10),
    (1, 72, 84),
    (100, 102),
    (20, 8, 8, 8),
    (1000, 51),
    (100, 36, 42),
    (100_000, 3),
    (3, 1_000_000),
)


def sweep() -> None:
    """How many times faster than NumPy each kernel is, on shapes of every kind, in float32 and float64."""
    print(f"\n{'times faster than NumPy':24s}" + "".join(f"{'×'.join(map(str, shape)):>13s}" for shape in SWEEP))
    found: dict[str, list[str]] = {}
    for shape in SWEEP:
        for dtype in (np.float32, np.float64):
            for name, (kernel, plain) in sweep_calls(shape, dtype).items():
                a, b = per_call(kernel, plain)
                found.setdefault(f"{name} {np.dtype(dtype).str[1:]}", []).append(f"{b / a:6.1f} {1e6 * a:6.0f}")
    for name, ratios in found.items():
        print(f"{name:24s}" + "".join(ratios))
    print("the second number of each pair is microseconds a call")


def per_call(*calls: Call) -> list[float]:
    """Best time of each call in seconds, the calls taking turns for long enough to wake threads up."""
    best = [np.inf] * len(calls)
    for call in calls:
        call()
    for _ in range(12):
        for i, call in enumerate(calls):
            end = time.perf_counter() + 2e-3
            while True:
                begin = time.perf_counter()
                call()
                now = time.perf_counter()
                best[i] = min(best[i], now - begin)
                if now > end:
                    break
    return best


def sweep_calls(shape: tuple[int, ...], dtype: Any) -> dict[str, tuple[Call, Call]]:
    """Each kernel and the best NumPy form of all that it returns, float64 where the kernel sums in float64."""
    x = (np.random.default_rng(2).poisson(5, shape) + 1).astype(dtype)
    n, axes, bins_of = len(x), tuple(range(1, x.ndim)), int(np.prod(shape[1:]))
    inner = tuple((0, size) for size in shape[1:])
    twos = tuple(2 if size % 2 == 0 else 1 for size in shape[1:])
    groups = bins.blocks_of(inner, twos)
    half = tuple((0, max(1, size // 2)) for size in shape[1:])
    cut = (slice(None), *(slice(*pair) for pair in half))
    kept = bins.blocks_of(half, (1,) * (x.ndim - 1))
    r, k = x.mean(axis=0), min(10, bins_of)
    wide = r.astype(np.float64)
    columns = (n, *[1] * (x.ndim - 1))
    divisor, place = np.arange(1.0, n + 1), np.arange(n)
    begin, one = np.maximum(place - 4, 0), np.ones(n)
    by = divisor.reshape(columns)

    pairs = [
        [tuple(slice(first, None, 2) if a == axis else slice(None) for a in range(x.ndim)) for first in (0, 1)]
        for axis, factor in enumerate(twos, start=1)
        if factor == 2
    ]

    def rebinned() -> Array:
        out = x
        for even, odd in pairs:
            out = out[even] + out[odd]
        return out.copy() if out is x else out

    def best_mean(y: Array) -> Array:
        d = np.square(y - r).reshape(n, -1)
        return np.partition(d, -k, axis=1)[:, -k:].mean(axis=1, dtype=np.float64)

    usual = chain.prepare(x, groups, "integral")[0].mean(axis=0)

    def plain_chain() -> tuple[Array, ...]:
        y = rebinned()
        y = y / checked(y.sum(axis=axes, keepdims=True, dtype=np.float64))
        d, few = np.square(y - usual).reshape(n, -1), min(k, usual.size)
        return np.partition(d, -few, axis=1)[:, -few:].mean(axis=1, dtype=np.float64), negatives(y)

    def checked(divisor: Array) -> Array:
        divisor[~((divisor > 0) & (divisor < np.inf))] = np.nan
        return divisor

    def negatives(y: Array) -> Array:
        return (y < 0).sum(axis=axes)

    def divided(divisor: Array) -> tuple[Array, ...]:
        return (x / checked(divisor)).astype(dtype), divisor, negatives(x)

    return {
        "rebin": (lambda: bins.merge(x, groups), rebinned),
        "crop": (lambda: bins.merge(x, kept), lambda: x[cut].copy()),  # noqa: PLW0108 - the cut is part of it
        "normalise": (
            lambda: scale.normalise(x, "integral", inner),
            lambda: divided(x.sum(axis=axes, keepdims=True, dtype=np.float64)),
        ),
        "to the maximum": (
            lambda: scale.normalise(x, "maximum", inner),
            lambda: divided(x.max(axis=axes, keepdims=True)),
        ),
        "divisors": (
            lambda: scale.divisors(x, "integral"),
            lambda: (checked(x.sum(axis=axes, dtype=np.float64)), negatives(x)),
        ),
        "row sums": (lambda: scale.row_sums(x), lambda: x.sum(axis=axes, dtype=np.float64)),
        "scale rows": (lambda: scale.scale_rows(x, divisor), lambda: (x / by).astype(dtype)),
        "linear": (lambda: scale.linear(x, wide, wide), lambda: ((x - wide) / wide).astype(dtype)),
        "loss map": (lambda: top.differences(x, r), lambda: np.square(np.subtract(x, r, dtype=np.float64))),
        "top": (lambda: top.top_mean(x, r, k), lambda: best_mean(x)),
        "smooth": (
            lambda: smooth.smooth(x, [np.ones(3)] * (x.ndim - 1)),
            lambda: numpy_smooth(np.asarray(x, np.float64)).astype(dtype, copy=False),
        ),
        "running sum": (
            lambda: windows.window_sums(x, place, begin, one),
            lambda: numpy_running(np.asarray(x, np.float64)).astype(dtype, copy=False),
        ),
        "fused chain": (lambda: chain.score(x, groups, "integral", usual, min(k, usual.size)), plain_chain),
    }


HALVES = "bins.blocks_of(((0, 6), (0, 8)), (2, 2))"
COMPILED = {
    "merge": "bins.merge(x, [np.arange(0, 7, 2), np.arange(0, 9, 2)])",
    "merge few rows": "bins.merge(few, [np.arange(0, 7, 2), np.arange(0, 9, 2)])",
    "normalise": "scale.normalise(x, 'integral', ((0, 6), (0, 8)))",
    "normalise few rows": "scale.normalise(few, 'integral', ((0, 6), (0, 8)))",
    "chain: prepare": f"chain.prepare(x, {HALVES}, 'integral')",
    "top": "top.top_mean(x, few[0], 5)",
    "top of few rows": "top.top_mean(few, few[0], 5)",
    "top by insertion": "top.top_mean(np.ones((4, 80, 80), 'f4'), np.ones((80, 80), 'f4'), 5)",
    "top by partition": "top.top_mean(x, few[0], 20)",
    "chain: score": f"chain.score(x, {HALVES}, 'integral', np.ones((3, 4)), 5)",
    "smooth": "smooth.smooth(x, [np.ones(3), np.ones(3)])",
    "window sums": "windows.window_sums(few, np.arange(4), np.arange(4), np.ones(4))",
    "thin and add": "faults.change_counts(few[:, None].copy(), np.zeros((4, 3, 2), int), np.zeros(4, np.uint64))",
    "move along": "faults.move_along(few.copy(), np.ones((4, 6), bool), np.eye(8), np.zeros(4, np.uint64))",
    "exchange": "faults.exchange(few[:, None].copy(), np.zeros((4, 3, 2), int), np.zeros((4, 3, 2), int))",
}


def compile_times() -> None:
    """First use of each kernel in a fresh process, with an empty cache and with a filled one."""
    print(f"\n{'first use (s)':34s} {'compiled':>9s} {'cached':>9s}")
    for name, code in COMPILED.items():
        text = (
            "import time, numpy as np\n"
            "from dqmroot.kernels import bins, chain, faults, scale, smooth, top, windows\n"
            "scale.row_sums(np.ones((2, 2)))\n"  # Numba itself starts
            f"x = np.ones((4000, 6, 8), 'f4'); few = x[:4]; begin = time.perf_counter(); {code}; print(time.perf_counter() - begin)"
        )
        with tempfile.TemporaryDirectory() as folder:
            took = [
                float(
                    subprocess.check_output([sys.executable, "-c", text], env={**os.environ, "DQMROOT_CACHE": folder})
                )
                for _ in range(2)
            ]
        print(f"{name:34s} {took[0]:9.2f} {took[1]:9.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else "")
    parser.add_argument("--large", action="store_true", help="also arrays of 1 GB")
    parser.add_argument("--sweep", action="store_true", help="only shapes of every kind, beside NumPy")
    parser.add_argument("--compile", action="store_true", help="also the time of first uses")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.sweep:
        sweep()
        return
    print(f"{threads()} threads; milliseconds, best of {options.turns}; × is how many times faster the kernel is")
    print(
        f"{'':34s} {'':24s} {'kernel':>9s} {'NumPy':>10s} {'':8s} {'peer':>10s} {'':8s} {'of copy':>8s} {'ready':>8s}"
    )
    found = []
    for name, shape in (SHAPES | (LARGE if options.large else {})).items():
        for row in measure(name, shape, options.turns):
            print(row, flush=True)
            found.append(asdict(row))
    if options.compile:
        compile_times()
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
