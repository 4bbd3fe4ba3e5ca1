"""Large results are written past the caches, and are the same to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from twins import halves, whole

from dqmroot.kernels import bins, chain, rows, scale, stream, top

Array = NDArray[Any]
Call = Callable[[Array, Array | None], Array]

SHAPES = [(1, 1), (3, 1), (5, 15), (5, 16), (7, 17), (40, 102), (3, 6, 8), (9, 36, 42), (2, 3, 5, 7), (2, 3000)]


CALLS: dict[str, Call] = {
    "normalise": lambda x, out: scale.normalise(x, "integral", whole(x), None, out)[0],
    "normalise to the maximum": lambda x, out: scale.normalise(x, "maximum", whole(x), None, out)[0],
    "scale rows": lambda x, out: scale.scale_rows(x, np.arange(1.0, len(x) + 1), None, out),
    "rebin": lambda x, out: chain.prepare(x, bins.blocks_of(whole(x), halves(x)), "", out)[0],
    "rebin, normalise": lambda x, out: chain.prepare(x, bins.blocks_of(whole(x), halves(x)), "integral", out)[0],
    "crop": lambda x, out: chain.prepare(
        x, bins.blocks_of(tuple((size // 3, size) for size in x.shape[1:]), (1,) * (x.ndim - 1)), "", out
    )[0],
    "merge": lambda x, out: bins.merge(x, [np.unique([0, 1, size]) for size in x.shape[1:]], None, out),
    "loss map": lambda x, out: top.differences(x, x[0], "squared", 0.0, out),
}


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Whether results are written past the caches, whatever their size."""

    def choose(on: bool) -> None:
        for module in (stream, bins):
            monkeypatch.setattr(module, "LARGE", 1 if on else 1 << 60)

    return choose


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_streamed_results_are_the_same(
    call: Call, dtype: str, streamed: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_WORTH_A_THREAD", 1)
    for shape in SHAPES:
        x = np.random.default_rng(3).poisson(5, shape).astype(dtype)
        streamed(False)
        wanted = call(x, None)
        streamed(True)
        # Every place in a cache line at which a result may begin, what lies beside it untouched, any number of threads.
        for offset in (0, 1, 5, 8, 15, 16):
            memory = np.full(wanted.size + 32, -1, wanted.dtype)
            for n in (1, 3):
                rows.set_threads(n)
                found = call(x, memory[offset : offset + wanted.size])
                rows.set_threads(None)
                np.testing.assert_array_equal(found, wanted)
            assert np.shares_memory(found, memory)
            assert (memory[:offset] == -1).all()
            assert (memory[offset + wanted.size :] == -1).all()


def test_the_line_is_used_from_a_size_on(monkeypatch: pytest.MonkeyPatch) -> None:
    out = np.empty(1000, np.float32)
    monkeypatch.setattr(stream, "LARGE", out.nbytes + 1)
    assert stream.gather(out, 0)[0] is out
    monkeypatch.setattr(stream, "LARGE", out.nbytes)
    line, _ = stream.gather(out, 0, 5000)
    assert not np.shares_memory(line, out)
    assert len(line) >= 5000
    assert line.ctypes.data % 64 == 0


def test_memory_that_is_not_aligned_is_written_as_ever(streamed: Callable[[bool], None]) -> None:
    streamed(True)
    x = np.random.default_rng(4).poisson(5, (9, 102)).astype(np.float32)
    memory = np.zeros(x.nbytes + 1, np.uint8)
    out = memory[1:].view(np.float32).reshape(x.shape)
    assert not out.flags.aligned
    scale.normalise(x, "integral", ((0, 102),), None, out)
    np.testing.assert_allclose(out, x / x.sum(axis=1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("mode", ["integral", "maximum"])
def test_negative_values_are_counted_among_signs(mode: str) -> None:
    x = np.ones((4, 300), np.float32)
    x[1, [3, 299]] = -1
    x[2, 5] = -0.0
    x[3, 7] = -np.float32(np.nan)
    made, divisor, negative = scale.normalise(x, mode, ((0, 300),))
    assert negative.tolist() == [0, 2, 0, 0]
    wanted = x.sum(axis=1) if mode == "integral" else x.max(axis=1)
    np.testing.assert_allclose(divisor, wanted)
    np.testing.assert_allclose(made, x / wanted[:, None], rtol=1e-6)
    nothing = -np.ones((2, 3), np.float32)
    assert np.isnan(scale.normalise(nothing, mode, ((0, 3),))[1]).all()
