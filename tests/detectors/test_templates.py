"""The nearest template."""

from __future__ import annotations

import numpy as np
import pytest

from dqmroot.detectors import detector
from dqmroot.detectors.shapes import shares
from dqmroot.errors import UsageError


def two_kinds(n: int = 40) -> np.ndarray:
    """LS of two shapes by turns, which a mean over all would mix."""
    rng = np.random.default_rng(1)
    shapes = np.array([np.r_[np.ones(20), np.full(20, 3.0)], np.r_[np.full(20, 3.0), np.ones(20)]])
    return rng.poisson(500 * shapes[np.arange(n) % 2]).astype(np.float32)


def test_finds_the_kinds_of_good_lumisections() -> None:
    x = two_kinds()
    made = detector("nearest_template", templates=2).fit(x)
    means = [shares(x[kind::2]).mean(axis=0) for kind in (0, 1)]
    found = made.templates_[np.argsort(made.templates_[:, 0])]
    np.testing.assert_allclose(found, sorted(means, key=lambda shape: shape[0]))
    one = detector("nearest_template", templates=1).fit(x)
    np.testing.assert_allclose(one.templates_[0], shares(x).mean(axis=0))
    assert made.score(x).max() < 0.1 * one.score(x).min()


@pytest.mark.parametrize("k", [1, 10, 0])
def test_score_is_the_mean_of_the_largest_squares_to_the_nearest(k: int) -> None:
    x = two_kinds()
    made = detector("nearest_template", templates=3, k=k).fit(x)
    square = np.square(shares(x)[:, None] - made.templates_)
    nearest = square[np.arange(len(x)), square.sum(axis=2).argmin(axis=1)]
    np.testing.assert_allclose(made.score(x), np.sort(nearest, axis=1)[:, -(k or 40) :].mean(axis=1))
    np.testing.assert_allclose(made.score_bins(x), nearest)
    np.testing.assert_allclose(made.reconstruct(x).sum(axis=1), x.sum(axis=1), rtol=1e-6)


def test_fewer_lumisections_than_templates() -> None:
    assert detector("nearest_template").fit(two_kinds(3)).templates_.shape == (3, 40)
    assert detector("nearest_template").fit(np.ones((5, 8))).templates_.shape == (1, 8)


@pytest.mark.parametrize("wrong", [{"templates": 0}, {"k": -1}])
def test_impossible_parameters(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        detector("nearest_template", **wrong)
