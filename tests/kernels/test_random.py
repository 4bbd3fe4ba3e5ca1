"""Random numbers: one stream per key, exact distributions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dqmroot.kernels import faults
from dqmroot.kernels.random import keys_of, uniforms

N = 200_000


def twin(key: int, k: int) -> list[float]:
    """SplitMix64, word for word."""
    out, mask = [], 2**64 - 1
    for _ in range(k):
        key = (key + 0x9E3779B97F4A7C15) & mask
        z = key
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        out.append(((z ^ (z >> 31)) >> 11) * 2.0**-53)
    return out


def test_streams_are_splitmix64_and_differ() -> None:
    keys = keys_of(3, np.arange(1000), np.arange(1000) % 7)
    assert len(np.unique(keys)) == 1000
    drawn = uniforms(keys, 5)
    assert drawn[17].tolist() == twin(int(keys[17]), 5)
    assert not np.array_equal(keys, keys_of(4, np.arange(1000), np.arange(1000) % 7))
    assert stats.kstest(uniforms(keys_of(1, np.arange(N)), 1)[:, 0], "uniform").pvalue > 1e-4
    flat = uniforms(keys, 200)
    assert abs(np.corrcoef(flat[:-1].ravel(), flat[1:].ravel())[0, 1]) < 0.01


def agrees(drawn: np.ndarray, law: object) -> None:
    low, high = (int(edge) for edge in law.ppf([1e-4, 1 - 1e-4]))  # type: ignore[attr-defined]
    edges = np.unique(np.linspace(low, high, 40).astype(int))
    below = np.concatenate([[0], law.cdf(edges), [1]])  # type: ignore[attr-defined]
    wanted = np.diff(below) * drawn.size
    found = np.histogram(drawn, [-np.inf, *(edges + 0.5), np.inf])[0]
    enough = wanted > 20
    chi2 = ((found - wanted)[enough] ** 2 / wanted[enough]).sum()
    assert stats.chi2.sf(chi2, max(enough.sum() - 1, 1)) > 1e-5
    assert ((drawn >= 0) & (drawn == np.floor(drawn))).all()


@pytest.mark.parametrize("mean", [0.01, 0.7, 5.0, 9.99, 10.0, 30.0, 1e3, 1e6])
def test_poisson(mean: float) -> None:
    drawn = faults.draw_poisson(np.full((N // 100, 100), mean), keys_of(1, np.arange(N // 100)))
    agrees(drawn, stats.poisson(mean))


@pytest.mark.parametrize(
    ("n", "p"), [(1, 0.5), (5, 0.3), (30, 0.9), (50, 0.2), (100, 0.05), (1000, 0.7), (10**6, 1e-5), (10**8, 0.4)]
)
def test_binomial(n: int, p: float) -> None:
    rows = N // 100
    counts = np.full((rows, 1, 1, 100), float(n))
    boxes = np.tile([[0, 1], [0, 1], [0, 100]], (rows, 1, 1))
    faults.change_counts(counts, boxes, keys_of(2, np.arange(rows)), keep=p)
    assert counts.max() <= n
    agrees(counts, stats.binom(n, p))


def test_numbers_that_are_none() -> None:
    drawn = faults.draw_poisson(np.array([[np.nan, 0.0, -1.0]]), keys_of(1, np.arange(1)))
    np.testing.assert_array_equal(drawn, [[np.nan, 0, 0]])
    counts = np.array([[[[np.nan, 3.0, 7.0]]]])
    faults.change_counts(counts, np.array([[[0, 1], [0, 1], [0, 3]]]), keys_of(1, np.arange(1)), keep=0.5)
    assert np.isnan(counts[0, 0, 0, 0])
    assert (counts[0, 0, 0, 1:] <= [3, 7]).all()
