"""The contract's base class: folders that hold something else, and what is passed on to a detector."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dqmroot.detectors import load_detector
from dqmroot.detectors.base import Detector
from dqmroot.errors import InputError, UsageError


class FarFromMean(Detector):
    """The example of the base class."""

    name = "far_from_mean"

    def __init__(self, *, power: float = 2.0) -> None:
        self.power = power

    def _learn(self, x, sample, progress):
        self.mean_ = x.mean(axis=0)
        self.sample_ = sample

    def _score(self, x, sample):
        return (np.abs(x - self.mean_) ** self.power).reshape(len(x), -1).mean(axis=1)

    def _state(self):
        return {"mean": self.mean_}

    def _restore(self, arrays):
        self.mean_ = arrays["mean"]


def test_the_example_works(sample, tmp_path: Path) -> None:
    good = sample(2, 50)
    made = FarFromMean(power=1.5).fit(good)
    assert repr(made) == "FarFromMean(power=1.5)"
    made.save(tmp_path)
    loaded = FarFromMean.load(tmp_path)
    assert loaded.power == 1.5
    np.testing.assert_array_equal(loaded.score(good), made.score(good))
    assert not made.localises
    assert not made.reconstructs


def test_empty_ls_are_not_learnt_from_and_runs_are_passed_on(sample) -> None:
    good = sample(1, 50, 30)
    contents = good.contents.copy()
    contents[4] = 0
    made = FarFromMean().fit(good.replace(contents=contents))
    assert len(made.sample_) == 29
    assert set(np.unique(made.sample_.run)) == {1, 2, 3}


@pytest.mark.parametrize(
    ("text", "tells"),
    [
        ("{", "JSON"),
        ("[]", "does not describe"),
        ('{"detector": "pca"}', "does not describe"),
        ('{"schema_version": 99, "detector": "x", "parameters": {}, "bins": [3]}', "later"),
        ('{"schema_version": 1, "detector": "x", "parameters": {}, "bins": [3]}', "unknown detector 'x'"),
        ('{"schema_version": 1, "detector": "dense_autoencoder", "parameters": {"kk": 1}, "bins": [3]}', "kk"),
        ('{"schema_version": 1, "detector": "dense_autoencoder", "parameters": {"k": 0}, "bins": [3]}', "k must be"),
        ('{"schema_version": 1, "detector": "dense_autoencoder", "parameters": {}, "bins": ["a"]}', "not a saved"),
    ],
)
def test_foreign_folders_are_told(text: str, tells: str, tmp_path: Path) -> None:
    (tmp_path / "detector.json").write_text(text)
    with (tmp_path / "arrays.npz").open("wb") as file:
        np.savez(file, mean=np.zeros(3))
    with pytest.raises(InputError, match=tells):
        load_detector(tmp_path)


def test_missing_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"detector\.json"):
        load_detector(tmp_path)
    FarFromMean().fit(np.ones((3, 4))).save(tmp_path)
    (tmp_path / "arrays.npz").unlink()
    with pytest.raises(InputError, match="No such file"):
        FarFromMean.load(tmp_path)
    (tmp_path / "arrays.npz").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(InputError, match="not a saved"):
        FarFromMean.load(tmp_path)


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    FarFromMean().fit(np.ones((3, 4))).save(tmp_path)
    with (tmp_path / "arrays.npz").open("wb") as file:
        np.savez(file, mean=np.array([print], dtype=object))
    with pytest.raises(InputError, match="not a saved"):
        FarFromMean.load(tmp_path)


def test_another_detector_is_told(tmp_path: Path) -> None:
    FarFromMean().fit(np.ones((3, 4))).save(tmp_path)
    data = json.loads((tmp_path / "detector.json").read_text())
    (tmp_path / "detector.json").write_text(json.dumps({**data, "detector": "other"}))
    with pytest.raises(InputError, match="not a far_from_mean"):
        FarFromMean.load(tmp_path)


def test_dimensions_are_checked() -> None:
    class OnlyMaps(FarFromMean):
        ndims = (2,)

    with pytest.raises(UsageError, match="2 dimensions"):
        OnlyMaps().fit(np.ones((3, 4)))
