"""The convolutional autoencoder of the study."""

from __future__ import annotations

import numpy as np
import pytest

from dqmroot.detectors.convolutional import ConvAutoencoder
from dqmroot.errors import UnknownNameError, UsageError


@pytest.mark.parametrize(("bins", "padded"), [((72, 32), (72, 32)), ((72, 84), (72, 88)), ((5, 9), (8, 16))])
def test_the_study_network_has_148521_parameters(bins, padded) -> None:
    network = ConvAutoencoder().build(bins)
    assert network.count_params() == 148521
    assert network.input_shape == (None, *padded, 1)
    assert network.output_shape == (None, *padded, 1)


def test_levels_follow_each_other_as_in_the_study() -> None:
    shapes = [layer.output.shape[1:] for layer in ConvAutoencoder().build((72, 32)).layers if "conv" in layer.name]
    assert shapes == [
        (72, 32, 86),
        (36, 16, 64),
        (18, 8, 32),
        (9, 4, 32),
        (18, 8, 64),
        (36, 16, 86),
        (72, 32, 1),
    ]


@pytest.mark.parametrize(("n", "bins"), [(150, (36, 42)), (1, (72, 84)), (600, (10, 10)), (3, (400, 400))])
def test_few_large_maps_go_through_a_network_at_once(
    monkeypatch: pytest.MonkeyPatch, n: int, bins: tuple[int, int]
) -> None:
    seen = []

    class Echo:
        def predict_on_batch(self, x: np.ndarray) -> np.ndarray:
            seen.append(x.shape)
            return x

    monkeypatch.setattr("dqmroot.detectors.network.gpus", list)
    made = ConvAutoencoder()
    made._network = Echo()
    images = np.random.default_rng(3).random((n, *bins, 1), np.float32)
    assert np.array_equal(made.run(images), images)
    assert len(set(seen)) == 1
    assert seen[0][0] == 1 or np.prod(seen[0]) <= 1 << 16
    assert seen[0][0] <= 256


def test_padding_is_cropped_back(sample) -> None:
    odd = sample(2, 100).values()[:, :15, :21]
    made = ConvAutoencoder(filters=(4, 4), epochs=1).fit(odd)
    images, _ = made._images(odd)
    assert images.shape[1:] == (16, 24, 1)
    np.testing.assert_allclose(
        images[:, 0:15, 1:22, 0] * made.largest_ * made.occupancy_.rate(odd.reshape(len(odd), -1))[:, :, None],
        odd,
        rtol=1e-4,
    )
    assert made.reconstruct(odd).shape == odd.shape


def test_study_settings_work(sample) -> None:
    good = sample(2, 100)
    made = ConvAutoencoder(filters=(4,), opt="adadelta", loss="binary_crossentropy", distance="squared", epochs=2).fit(
        good
    )
    assert np.isfinite(made.score(good)).all()
    assert made.score_bins(good).reshape(len(good), -1).max(axis=1) == pytest.approx(made.score(good))


def test_validation_is_a_run_of_its_own(sample) -> None:
    from dqmroot.detectors.training import held_rows

    good = sample(2, 100)
    held = held_rows(good, 0.1)
    assert len(np.unique(good.run[held])) == 1
    assert not set(good.run[held]) & set(good.run[~held])
    assert held_rows(good[good.run < 3], 0.1).sum() == 4
    assert not held_rows(good, 0.0).any()


def test_interrupted_training_goes_on(sample, tmp_path) -> None:
    good = sample(2, 100)

    class StoppedError(Exception):
        pass

    def stop(done: int, of: int, text: str) -> None:
        if done == 3:
            raise StoppedError

    settings = {"filters": (4,), "epochs": 6, "batch_size": 16}
    whole = ConvAutoencoder(**settings).fit(good)
    state = tmp_path / "state.npz"
    with pytest.raises(StoppedError):
        ConvAutoencoder(**settings).fit(good, progress=stop, checkpoint=state)
    resumed = ConvAutoencoder(**settings).fit(good, checkpoint=state)
    assert len(resumed.history_["loss"]) == 6
    np.testing.assert_allclose(resumed.history_["loss"], whole.history_["loss"], rtol=1e-4)
    state.write_bytes(b"no")
    with pytest.raises(UsageError, match="not a checkpoint"):
        ConvAutoencoder(**settings).fit(good, checkpoint=state)


@pytest.mark.parametrize(
    ("parameters", "error", "tells"),
    [
        ({"loss": "mss"}, UnknownNameError, "mse"),
        ({"distance": "square"}, UnknownNameError, "squared"),
        ({"precision": "float16"}, UnknownNameError, "mixed_float16"),
        ({"filters": ()}, UsageError, "filters"),
        ({"epochs": 0}, UsageError, "epochs"),
        ({"learning_rate": 0}, UsageError, "learning_rate"),
        ({"validation": 1}, UsageError, "validation"),
    ],
)
def test_impossible_parameters(parameters, error, tells) -> None:
    with pytest.raises(error, match=tells):
        ConvAutoencoder(**parameters)


def test_unknown_optimiser_is_told(sample) -> None:
    with pytest.raises(UsageError, match="adm"):
        ConvAutoencoder(opt="adm").fit(sample(2, 100))
