"""The dense autoencoder: the study's network, and scoring without Keras."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dqmroot.detectors.dense import _ACTIVATIONS, _LOSSES, DenseAutoencoder
from dqmroot.errors import UnknownNameError, UsageError

SAMPLE = np.random.default_rng(0).dirichlet(np.full(30, 20.0), 200).astype(np.float32)


def test_the_study_network_has_10557_parameters() -> None:
    network = DenseAutoencoder().build(102)
    assert network.count_params() == 10557
    assert DenseAutoencoder().layers(102) == ([51, 102], ["tanh", "tanh"])


@pytest.mark.parametrize("act", sorted(_ACTIVATIONS))
def test_numpy_forward_equals_keras(act: str) -> None:
    made = DenseAutoencoder(arch=[12, 4, 12], act=["tanh", act, "relu"], output="sigmoid", epochs=2, opt="sgd").fit(
        SAMPLE
    )
    network = made.build(30)
    network.set_weights(made.weights_)
    np.testing.assert_allclose(made.reconstruct(SAMPLE), network.predict(SAMPLE, verbose=0), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("loss", _LOSSES)
def test_every_loss_is_learnt_with(loss: str) -> None:
    made = DenseAutoencoder(epochs=8, loss=loss, output="sigmoid", seed=1).fit(SAMPLE)
    assert made.history_["loss"][-1] < made.history_["loss"][0]


def test_best_weights_are_kept() -> None:
    made = DenseAutoencoder(epochs=30, learning_rate=0.05, patience=5, loss="mse").fit(SAMPLE)
    network = made.build(30)
    network.set_weights(made.weights_)
    held = SAMPLE[180:]
    assert float(network.test_on_batch(held, held)) == pytest.approx(min(made.history_["val_loss"]), rel=1e-4)


def test_training_stops_when_nothing_improves() -> None:
    made = DenseAutoencoder(epochs=300, learning_rate=0.5, patience=3, opt="sgd", validation=0.2).fit(SAMPLE)
    losses = made.history_["val_loss"]
    assert len(losses) < 300
    assert len(losses) - 1 - int(np.argmin(losses)) == 3


def test_seed_decides() -> None:
    first, again, other = (DenseAutoencoder(epochs=3, seed=seed).fit(SAMPLE).score(SAMPLE) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other, rtol=1e-3)


def test_score_is_the_mean_of_the_k_largest_squares() -> None:
    made = DenseAutoencoder(epochs=2, k=3).fit(SAMPLE)
    square = (SAMPLE.astype(np.float64) - made.reconstruct(SAMPLE)) ** 2
    np.testing.assert_allclose(made.score(SAMPLE), np.sort(square, axis=1)[:, -3:].mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(made.score_bins(SAMPLE), square, rtol=1e-6)


def test_encode_is_the_narrowest_layer() -> None:
    made = DenseAutoencoder(arch=[20, 5, 20], epochs=2).fit(SAMPLE)
    assert made.encode(SAMPLE).shape == (200, 5)


def test_progress_is_told() -> None:
    calls: list[tuple[int, int, str]] = []
    DenseAutoencoder(epochs=4).fit(SAMPLE, progress=lambda *a: calls.append(a))
    assert [call[:2] for call in calls] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert calls[0][2].startswith("loss ")


@pytest.mark.parametrize(
    ("parameters", "error", "tells"),
    [
        ({"loss": "msee"}, UnknownNameError, "mse"),
        ({"arch": [3], "act": ["tanhh"]}, UnknownNameError, "tanh"),
        ({"arch": [3], "act": ["tanh", "tanh"]}, UsageError, "1 hidden layers, but 2"),
        ({"epochs": -1}, UsageError, "epochs"),
        ({"validation": 1.0}, UsageError, "validation"),
    ],
)
def test_impossible_parameters_are_told(parameters, error, tells) -> None:
    with pytest.raises(error, match=tells):
        DenseAutoencoder(**parameters)


def test_k_larger_than_the_histogram_is_told() -> None:
    with pytest.raises(UsageError, match="only 6 bins"):
        DenseAutoencoder().fit(SAMPLE[:, :6])


def test_loss_that_runs_away_is_told() -> None:
    with pytest.raises(UsageError, match="learning rate"):
        DenseAutoencoder(output="linear", act=["linear"], arch=[30], opt="sgd", learning_rate=1e30, epochs=20).fit(
            SAMPLE
        )


def test_scoring_loads_no_deep_learning_library(tmp_path: Path) -> None:
    DenseAutoencoder(epochs=1).fit(SAMPLE).save(tmp_path)
    code = (
        "import sys, numpy as np; from dqmroot.detectors import load_detector;"
        f"load_detector({str(tmp_path)!r}).score(np.ones((3, 30), np.float32));"
        "assert not {'keras', 'tensorflow', 'jax'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
