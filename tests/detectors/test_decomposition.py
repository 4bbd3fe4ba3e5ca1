"""Decompositions against their definition."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dqmroot import MonitorElement
from dqmroot.detectors import detector

Sampler = Callable[..., MonitorElement]


def test_pca_leaves_what_the_singular_vectors_do_not_explain(sample: Sampler) -> None:
    good, other = (sample(2, 50, n, seed=n).values() for n in (40, 12))
    made = detector("pca", components=3, k=5).fit(good)
    rows = good.reshape(40, -1).astype(np.float64)
    mean = rows.mean(axis=0)
    vectors = np.linalg.svd(rows - mean, full_matrices=False)[2][:3]
    rest = other.reshape(12, -1) - mean
    loss = np.square(rest - rest @ vectors.T @ vectors)
    score, bins = made.score_with_bins(other)
    np.testing.assert_allclose(bins.reshape(12, -1), loss, rtol=1e-3, atol=1e-4 * loss.max())
    np.testing.assert_allclose(score, np.sort(loss)[:, -5:].mean(axis=1), rtol=1e-4)
    np.testing.assert_allclose(
        made.encode(other) @ made.components_ + mean, made.reconstruct(other).reshape(12, -1), rtol=1e-4
    )


def test_nmf_explains_what_is_made_of_its_components() -> None:
    rng = np.random.default_rng(0)
    parts = np.stack([np.exp(-0.5 * ((np.arange(30) - centre) / 3) ** 2) for centre in (6, 15, 24)])
    good = rng.uniform(1, 5, (60, 3)) @ parts
    made = detector("nmf", components=3, iterations=2000).fit(good)
    mixed = rng.uniform(1, 5, (8, 3)) @ parts
    strange = mixed + 3 * (np.arange(30) == 10)
    assert made.score(mixed).max() < 1e-3
    assert made.score(strange).min() > 100 * made.score(mixed).max()
    assert (made.score_bins(strange).argmax(axis=1) == 10).all()
    assert (made.encode(mixed) >= 0).all()
