"""Networks trained together learn what they learn alone."""

from __future__ import annotations

import numpy as np
import pytest

from dqmroot.detectors import detector
from dqmroot.detectors.batched import fit_many
from dqmroot.errors import EmptySelectionError, UsageError

RNG = np.random.default_rng(0)


def shapes(n_ls: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(rng.uniform(5, 50, 24), n_ls).astype(np.float32)


def test_together_equals_alone() -> None:
    samples = [shapes(80, seed) for seed in range(3)]
    settings = {"epochs": 8, "batch_size": 16, "learning_rate": 5e-3}
    together = [detector("dense_autoencoder", seed=i, **settings) for i in range(3)]
    fit_many(together, samples)
    for i, (made, sample) in enumerate(zip(together, samples, strict=True)):
        alone = detector("dense_autoencoder", seed=i, **settings).fit(sample)
        np.testing.assert_allclose(made.history_["val_loss"], alone.history_["val_loss"], rtol=1e-3)
        np.testing.assert_allclose(made.score(sample), alone.score(sample), rtol=2e-2)
        assert [w.shape for w in made.weights_] == [w.shape for w in alone.weights_]


def test_samples_may_differ_in_length_and_detectors_in_kind(tmp_path) -> None:
    samples = [shapes(80, 0), shapes(30, 1), shapes(50, 2)[:, :20], shapes(40, 3)]
    made = [detector("dense_autoencoder", epochs=3) for _ in range(3)] + [detector("pca")]
    fit_many(made, samples)
    for one, sample in zip(made, samples, strict=True):
        assert np.isfinite(one.score(sample)).all()
    made[1].save(tmp_path)
    np.testing.assert_array_equal(type(made[1]).load(tmp_path).score(samples[1]), made[1].score(samples[1]))


def test_networks_stop_one_by_one() -> None:
    samples = [shapes(60, 0), shapes(60, 1)]
    made = [detector("dense_autoencoder", epochs=200, patience=3, learning_rate=0.05, seed=i) for i in range(2)]
    fit_many(made, samples)
    lengths = [len(one.history_["val_loss"]) for one in made]
    assert max(lengths) < 200
    for one in made:
        losses = one.history_["val_loss"]
        assert len(losses) - 1 - int(np.argmin(losses)) == 3


def test_errors() -> None:
    with pytest.raises(UsageError, match="2 detectors for 1"):
        fit_many([detector("pca")] * 2, [shapes(5, 0)])
    with pytest.raises(EmptySelectionError):
        fit_many([detector("dense_autoencoder")], [shapes(5, 0)[:0]])
