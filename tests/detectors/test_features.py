"""Pictures of what a bottleneck has learnt."""

from __future__ import annotations

import numpy as np
import pytest

from dqmroot.detectors import detector
from dqmroot.detectors.features import feature_maps
from dqmroot.errors import EmptySelectionError, UsageError
from dqmroot.plot.features import plot_features


def test_a_feature_shows_the_bins_it_follows() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(5, 0.1, (80, 6, 8)).astype(np.float32)
    x[:, 1:3, 2:5] += rng.normal(0, 2, (80, 1, 1)).astype(np.float32)
    maps = feature_maps(detector("pca", components=2).fit(x), x)
    assert maps.shape == (2, 6, 8)
    inside = np.zeros((6, 8), bool)
    inside[1:3, 2:5] = True
    assert np.abs(maps[0][inside]).min() > 0.9
    assert np.abs(maps[0][~inside]).max() < 0.5
    assert np.abs(maps).max() <= 1 + 1e-9


def test_errors() -> None:
    made = detector("pca").fit(np.ones((5, 4)) + np.arange(5)[:, None])
    with pytest.raises(EmptySelectionError, match="at least 3"):
        feature_maps(made, np.ones((2, 4)))
    with pytest.raises(UsageError, match="no features"):
        feature_maps(detector("chi2").fit(np.ones((5, 4))), np.ones((5, 4)))
    with pytest.raises(UsageError, match="feature maps"):
        plot_features(np.ones(4))


@pytest.mark.parametrize("shape", [(14, 6, 8), (3, 20)])
def test_picture_has_the_strongest_features(shape) -> None:
    maps = np.random.default_rng(0).uniform(-0.1, 0.1, shape)
    maps[2] = 0.9
    figure = plot_features(maps, title="bottleneck")
    labels = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
    assert labels[0] == "feature 2"
    assert len(labels) == min(12, shape[0])
