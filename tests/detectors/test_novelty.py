"""The stored trees and support vectors give scikit-learn's own scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sklearn.ensemble
import sklearn.svm

from dqmroot.detectors import load_detector
from dqmroot.detectors.novelty import IsolationForest, OneClassSVM
from dqmroot.errors import InputError, UsageError

RNG = np.random.default_rng(0)
GOOD = RNG.normal(1, 0.1, (300, 8)).astype(np.float32)
OTHER = np.concatenate([RNG.normal(1, 0.1, (50, 8)), RNG.normal(1, 0.5, (50, 8))]).astype(np.float32)


def test_forest_equals_sklearn() -> None:
    made = IsolationForest(trees=50, samples=64, seed=3).fit(GOOD)
    expected = (
        -sklearn.ensemble.IsolationForest(n_estimators=50, max_samples=64, random_state=3)
        .fit(GOOD)
        .score_samples(OTHER)
    )
    np.testing.assert_allclose(made.score(OTHER), expected, rtol=1e-12)


def test_svm_orders_as_sklearn_does() -> None:
    made = OneClassSVM(nu=0.1, gamma=2).fit(GOOD)
    mean, spread = GOOD.astype(float).mean(axis=0), GOOD.astype(float).std(axis=0)
    machine = sklearn.svm.OneClassSVM(nu=0.1, gamma=2 / 8).fit((GOOD - mean) / spread)
    decision = machine.decision_function((OTHER - mean) / spread)
    # The kernel sum is decision - intercept; the score is minus its logarithm.
    np.testing.assert_allclose(np.exp(-made.score(OTHER)), decision - machine.intercept_, rtol=1e-5, atol=1e-12)


def test_svm_still_orders_far_away() -> None:
    made = OneClassSVM().fit(GOOD)
    far, further = made.score(np.array([np.full(8, 100.0), np.full(8, 200.0)]))
    assert np.isfinite(further)
    assert further > far


def test_damaged_trees_are_told(tmp_path: Path) -> None:
    made = IsolationForest(trees=3).fit(GOOD)
    for key, value in [("left_", 0), ("feature_", 8)]:
        damaged = IsolationForest(trees=3).fit(GOOD)
        getattr(damaged, key)[0, 1] = value
        damaged.save(tmp_path)
        with pytest.raises(InputError, match="stored trees"):
            load_detector(tmp_path)
    made.save(tmp_path)
    load_detector(tmp_path)


@pytest.mark.parametrize(
    "made", [lambda: IsolationForest(trees=0), lambda: OneClassSVM(nu=0), lambda: OneClassSVM(gamma=0)]
)
def test_impossible_parameters(made) -> None:
    with pytest.raises(UsageError, match="must be"):
        made()
