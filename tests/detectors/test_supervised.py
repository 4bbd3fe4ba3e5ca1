"""The study's classifiers layer by layer, faults injected on the fly, classes and their weights."""

from __future__ import annotations

import numpy as np
import pytest

from dqmroot.detectors import detector
from dqmroot.detectors.faults import FaultMaker, classes_of
from dqmroot.detectors.occupancy import Occupancy
from dqmroot.detectors.supervised import CNNClassifier, SignificanceNetwork
from dqmroot.errors import UnknownNameError, UsageError

FAULTS = [{"fault": "hot", "amount": [2.0, 5.0], "where": "channel"}, {"fault": "dead", "size": [3, 3]}]


@pytest.mark.parametrize(
    ("layout", "classes", "layers", "parameters"),
    [
        # By hand, 72 × 32: BN 4; 3·3·1·8+8; 3·3·8·8+8; Dense 17·7·8·2+2.
        ("strided", 2, ["BatchNormalization", "Conv2D", "Conv2D", "Dropout", "Flatten", "Dense"], 4 + 80 + 584 + 1906),
        # 2·2·10+10; BN 40; 3·3·10·8+8; 8·8+8; Dense 16·6·8·8+8; Dense 8·3+3.
        (
            "pooled",
            3,
            [
                *("Conv2D", "MaxPooling2D", "BatchNormalization", "Conv2D", "MaxPooling2D", "Conv2D"),
                *("Dropout", "Flatten", "Dense", "Dense"),
            ],
            50 + 40 + 728 + 72 + 16 * 6 * 8 * 8 + 8 + 27,
        ),
        (
            "normalised",
            3,
            [
                *("Conv2D", "BatchNormalization", "Activation", "MaxPooling2D", "Conv2D", "BatchNormalization", "Activation"),
                *("MaxPooling2D", "Conv2D", "BatchNormalization", "Activation", "Dropout", "Flatten"),
                *("Dense", "BatchNormalization", "Activation", "Dense"),
            ],
            50 + 40 + 728 + 32 + 72 + 32 + 16 * 6 * 8 * 8 + 8 + 32 + 27,
        ),
    ],
)  # fmt: skip
def test_the_study_networks(layout, classes, layers, parameters) -> None:
    faults = FAULTS if classes == 3 else FAULTS[:1]
    network = CNNClassifier(layout=layout, classes=classes, faults=faults).build((72, 32))
    assert [type(layer).__name__ for layer in network.layers] == layers
    assert network.count_params() == parameters
    assert network.output_shape == (None, classes)


def test_faults_touch_live_cells_and_differ_from_pass_to_pass(sample) -> None:
    good = np.asarray(sample(2, 100).values())
    occupancy = Occupancy.learn(good)
    maker = FaultMaker(FAULTS, occupancy, seed=1)
    first, kind = maker.make(good, 0)
    again, _ = maker.make(good, 0)
    other, _ = maker.make(good, 1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert sorted(np.bincount(kind)) == [30, 30]
    changed = first != good
    live = occupancy.shape.reshape(16, 24) > 0
    assert changed.reshape(60, -1).any(axis=1).mean() > 0.9  # a hot cell may happen to count the same
    assert not changed[:, ~live].any()
    assert (first.sum(axis=(1, 2)) - good.sum(axis=(1, 2)))[kind == 1].max() < 0


def test_the_mean_map_is_subtracted(sample) -> None:
    good = np.asarray(sample(2, 100).values())
    centred = CNNClassifier(faults=FAULTS)
    plain = CNNClassifier(faults=FAULTS, centred=False)
    centred.occupancy_ = plain.occupancy_ = Occupancy.learn(good)
    images, as_they_are = centred._images(good), plain._images(good)
    shape = plain.occupancy_.shape.reshape(good.shape[1:])
    np.testing.assert_allclose(
        as_they_are[..., 0] - images[..., 0], np.broadcast_to(shape / shape.max(), good.shape), atol=1e-6
    )
    assert np.abs(images.mean(axis=0)).max() < 0.05 < as_they_are.mean()


def test_statistics_of_batch_normalisation_keep_up_with_few_steps() -> None:
    """What Keras takes by default follows in hundreds of steps: the first pass then looked best, and was kept."""
    network = CNNClassifier(faults=FAULTS).build((72, 32))
    layers = [layer for layer in network.layers if type(layer).__name__ == "BatchNormalization"]
    assert len(layers) == 4
    assert all(layer.momentum**50 < 0.01 for layer in layers)


def test_classes() -> None:
    np.testing.assert_array_equal(classes_of(FAULTS, 3), [1, 2])
    np.testing.assert_array_equal(classes_of(FAULTS, 2), [1, 1])


def test_probabilities_sum_to_one_and_order_as_the_score(sample, fault) -> None:
    made = SignificanceNetwork(faults=FAULTS, windows=[[1, 1], [3, 3]], epochs=30, batch_size=16, learning_rate=1e-2)
    made.fit(sample(2, 100))
    clean = sample(2, 100, 30, seed=3)
    hot, dead = fault(clean, "hot", 1), fault(clean, "dead", 3)
    for me, right in ((clean, 0), (hot, 1), (dead, 2)):
        probability = made.probabilities(me)
        np.testing.assert_allclose(probability.sum(axis=1), 1)
        assert (probability.argmax(axis=1) == right).mean() > 0.8
        np.testing.assert_allclose(
            made.score(me), np.log((1 - probability[:, 0]) / probability[:, 0]), rtol=1e-3, atol=1e-3
        )


def test_class_weights_move_the_balance(sample) -> None:
    settings = {
        "layout": "strided",
        "faults": [{"fault": "dead", "size": [5, 5]}],
        "classes": 2,
        "epochs": 25,
        "batch_size": 16,
    }
    cautious, eager = (
        CNNClassifier(class_weights=weights, **settings).fit(sample(2, 20)).score(sample(2, 20, seed=4)).mean()
        for weights in ((10.0, 1.0), (1.0, 10.0))
    )
    assert eager > cautious + 1


@pytest.mark.parametrize(
    ("parameters", "error", "tells"),
    [
        ({"layout": "deep"}, UnknownNameError, "strided"),
        ({"classes": 4}, UsageError, "classes"),
        ({"faults": [{"fault": "dead"}]}, UsageError, "no fault of the class hot"),
        ({"faults": []}, UsageError, "faults"),
        ({"class_weights": (1.0,)}, UsageError, "1 class weights for 3"),
        ({"good_share": 1.0}, UsageError, "good_share"),
    ],
)
def test_impossible_parameters(parameters, error, tells) -> None:
    with pytest.raises(error, match=tells):
        detector("cnn_classifier", **parameters)


def test_faults_that_do_not_exist_are_told(sample) -> None:
    with pytest.raises(UnknownNameError, match="dead"):
        detector("cnn_classifier", classes=2, faults=[{"fault": "ded"}]).fit(sample(2, 100))
    with pytest.raises(UsageError, match="8 × 8"):
        CNNClassifier().build((6, 30))
