"""Models that an older version wrote load, and score as they did then."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from make_model import LEFT_OUT, sample

import dqmroot as dq
from dqmroot.detectors import detector_class, detector_names

DATA = Path(__file__).parent / "data"
NETWORKS = ("cnn_classifier", "conv_autoencoder", "poisson_autoencoder", "significance_network")


@pytest.mark.parametrize("version", [1])
def test_an_old_folder_loads(version: int) -> None:
    models = {model.me: model for model in dq.load_models(DATA / f"model_v{version}")}
    with np.load(DATA / f"model_v{version}_scores.npz", allow_pickle=False) as scores:
        known = {name: scores[name] for name in scores.files}
    assert {f"Old/{name}" for name in known} == set(models)
    for name, then in known.items():
        model = models[f"Old/{name}"]
        me = sample(detector_class(name).ndims[0]).replace(name=model.me)
        # Networks of another version of Keras, or on another processor, differ in the last digits.
        rtol = 1e-3 if name in NETWORKS else 1e-5
        np.testing.assert_allclose(model.score(me), then, rtol=rtol, atol=1e-7, err_msg=name)
        assert model.working_point is not None


def test_one_of_each_is_kept() -> None:
    head = json.loads((DATA / "model_v1" / "model.json").read_text(encoding="utf-8"))
    assert head["schema_version"] == 1
    assert {one["detector"] for one in head["models"]} >= set(detector_names()) - LEFT_OUT - ADDED_LATER


# Detectors that came after format 1.
ADDED_LATER = {"landau_fit", "nearest_template"}
