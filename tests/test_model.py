"""The saved unit: fit, working points kept apart, save and load, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from samples import PREPARE, FarFromMean, spectrum, trained

from dqmroot.detectors import REGISTRY, detector
from dqmroot.errors import (
    EmptySelectionError,
    InputError,
    ModelMismatchError,
    NotFittedError,
    OutputError,
    UnknownNameError,
    UsageError,
)
from dqmroot.model import Model, load_models, save_models
from dqmroot.prepare import Preparation
from dqmroot.series import Axis
from dqmroot.threshold import NO_SPREAD


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "far_from_mean", "samples:FarFromMean")


def test_a_shifted_spectrum_is_flagged() -> None:
    model = trained()
    good, bad = spectrum({9: 30}, seed=5), spectrum({9: 30}, seed=6, mean=12)
    assert model.working_point is not None
    assert model.working_point.flag(model.score(bad)).min() == 1
    assert model.working_point.flag(model.score(good)).mean() < 0.2
    assert model.score_bins(bad).shape == (30, 20)
    np.testing.assert_allclose(model.reconstruct(good).sum(axis=1), good.values().sum(axis=1), rtol=0.05)


@pytest.mark.parametrize(
    ("runs", "n_sample", "n_point", "told"),
    [
        ({1: 50}, 40, 10, "last fifth in time of run 1"),
        ({1: 10, 2: 20}, 30, 30, "left out in turn"),
        (dict.fromkeys(range(1, 11), 10), 80, 20, "runs 3, 8"),
    ],
)
def test_working_points_come_from_lumisections_not_trained_on(
    runs: dict[int, int], n_sample: int, n_point: int, told: str
) -> None:
    seen: list[set[int]] = []

    class Spy(FarFromMean):
        def _learn(self, x, sample, progress) -> None:  # type: ignore[no-untyped-def]
            seen.append(set(sample.keys.tolist()))
            super()._learn(x, sample, progress)

        def _score(self, x, sample):  # type: ignore[no-untyped-def]
            assert not seen[-1] & set(sample.keys.tolist())
            return super()._score(x, sample)

    model = Model(prepare=Preparation.parse(PREPARE), detector=Spy()).train(spectrum(runs))
    assert model.sample is not None
    assert model.working_point is not None
    assert model.sample.n == n_sample
    assert model.working_point.n == n_point
    assert told in model.sample.held_out


def test_a_score_without_spread_is_no_cut() -> None:
    good = spectrum({1: 20})
    same = good.replace(contents=np.repeat(good.contents[:1], 20, axis=0), entries=np.full(20, 500))
    model = Model(prepare=Preparation.parse(PREPARE), detector=FarFromMean(floor=9e-6)).train(same)
    assert model.working_point is not None
    assert model.working_point.note == NO_SPREAD
    assert model.working_point.flag(model.score(same)).tolist() == [-1] * 20


@pytest.mark.parametrize(
    "prepare", ["include_flow normalise(integral)", "normalise(maximum)", "smooth(1) rebin(2)", ""]
)
def test_many_lumisections_score_as_all_at_once(prepare: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The score of a model takes some LS at a time; it is that of the detector on all that were prepared together."""
    good = spectrum({1: 40})
    contents = good.contents.copy()
    contents[7] = 0
    model = Model(prepare=prepare, detector=detector("dense_autoencoder", epochs=1, batch_size=8)).fit(good)
    me = good.replace(contents=contents)
    expected = model.detector.score(model.preparation.apply(me))
    assert np.flatnonzero(np.isnan(expected)).tolist() == [7]
    for at_once in (250_000, 3 * 102):
        monkeypatch.setattr("dqmroot.prepare.fused.AT_ONCE", at_once)
        monkeypatch.setattr("dqmroot.detectors.dense.AT_ONCE", at_once)
        np.testing.assert_allclose(model.score(me), expected, rtol=1e-3)
    assert model.score(me[:0]).shape == (0,)


@pytest.mark.parametrize("name", ["dense_autoencoder", "nearest_template", "pca"])
@pytest.mark.parametrize("prepare", ["include_flow normalise(integral)", "smooth(1) rebin(2)", ""])
def test_detectors_of_values_alone_say_the_same_without_errors(name: str, prepare: str) -> None:
    """Where such a detector sees what is bad, and what it expects, follows to the bit from values prepared without errors."""
    settings = {"epochs": 1, "batch_size": 8} if name == "dense_autoencoder" else {}
    good = spectrum({1: 40, 2: 10})
    contents = good.contents.astype(np.float64) * 1.1
    contents[7] = 0
    me = good.replace(storage="TH1D", contents=contents, sumw2=2 * contents)
    model = Model(prepare=prepare, detector=detector(name, **settings)).fit(me[contents.any(axis=1)])
    assert model.detector.values_only
    prepared = model.preparation.apply(me)
    score, bins = model.score_with_bins(me)
    np.testing.assert_array_equal(score, model.detector.score_with_bins(prepared)[0])
    np.testing.assert_array_equal(bins, model.score_bins(me))
    np.testing.assert_array_equal(bins, model.preparation.invert(model.detector.score_bins(prepared)))
    if model.detector.reconstructs:
        expected = model.preparation.restore(model.detector.reconstruct(prepared), me)
        np.testing.assert_array_equal(model.reconstruct(me), expected)
    assert np.flatnonzero(np.isnan(score)).tolist() == [7]


def test_low_statistics_are_neither_learnt_nor_judged() -> None:
    model = Model(prepare=Preparation.parse(PREPARE), detector=FarFromMean(), min_entries_per_bin=20)
    good = spectrum({1: 30})
    poor = good.replace(entries=np.where(good.lumi == 3, 100, good.entries))
    model.train(poor)
    assert model.sample is not None
    assert model.sample.n == 24
    assert np.flatnonzero(np.isnan(model.score(poor))).tolist() == [2]
    with pytest.raises(EmptySelectionError, match="enough entries"):
        model.fit(good.replace(entries=np.zeros(30)))


def test_models_read_back_equal(tmp_path: Path) -> None:
    models = [trained(), trained(name="Hcal/../<x>", method="quantile")]
    save_models(models, tmp_path / "m")
    again = load_models(tmp_path / "m")
    assert [model.me for model in again] == ["Muon/Size", "Hcal/../<x>"]
    for old, new in zip(models, again, strict=True):
        me = spectrum({5: 10}, name=old.me)
        np.testing.assert_array_equal(old.score(me), new.score(me))
        np.testing.assert_array_equal(old.score_bins(me), new.score_bins(me))
        assert old.working_point == new.working_point
        assert old.describe() == new.describe()
    card = (tmp_path / "m" / "card.md").read_text()
    assert "# Muon/Size" in card
    assert "expected false rate" in card
    assert [model.me for model in load_models(tmp_path / "m", ["Muon/Size"])] == ["Muon/Size"]
    with pytest.raises(UnknownNameError, match="nearest: Muon/Size"):
        load_models(tmp_path / "m", ["Muon/Sise"])


def test_no_file_of_a_model_is_a_pickle(tmp_path: Path) -> None:
    trained().save(tmp_path / "m")
    files = [path for path in (tmp_path / "m").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".npz", ".md"}
    for path in files:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                assert all(arrays[name].dtype != object for name in arrays.files)


def test_foreign_changed_and_later_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a model folder; dqmroot train makes one"):
        load_models(tmp_path)
    trained().save(tmp_path / "m")
    arrays = tmp_path / "m" / "Muon" / "Size" / "arrays.npz"
    good = arrays.read_bytes()
    arrays.write_bytes(good[:-1] + b"x")
    with pytest.raises(InputError, match=r"arrays\.npz: is not the file that was saved"):
        load_models(tmp_path / "m")
    arrays.unlink()
    with pytest.raises(InputError, match=r"arrays\.npz: No such file"):
        load_models(tmp_path / "m")
    head = json.loads((tmp_path / "m" / "model.json").read_text())
    (tmp_path / "m" / "model.json").write_text(json.dumps({**head, "schema_version": 99}))
    with pytest.raises(InputError, match="written by a later dqmroot"):
        load_models(tmp_path / "m")
    for text in ("", "[]", "{}", '{"schema_version": 1, "models": [{}]}', '{"schema_version": 1, "models": 3}'):
        (tmp_path / "m" / "model.json").write_text(text)
        with pytest.raises(InputError, match=r"model\.json"):
            load_models(tmp_path / "m")


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    with pytest.raises(UsageError, match="not a model folder"):
        trained().save(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "years of work"
    (tmp_path / "file").write_text("")
    with pytest.raises((UsageError, OutputError), match="file"):
        trained().save(tmp_path / "file" / "model")


def test_other_elements_and_bins_are_refused() -> None:
    model = trained()
    me = spectrum({1: 5})
    with pytest.raises(ModelMismatchError, match="the model is of Muon/Size, the data of Other"):
        model.score(me.replace(name="Other"))
    with pytest.raises(ModelMismatchError, match=r"Muon/Size: bins 20 in \[0, 30\]"):
        model.score(me.replace(axes=(Axis(20, 0, 30),)))
    with pytest.raises(NotFittedError, match="call fit first"):
        Model(detector=FarFromMean()).score(me)
    with pytest.raises(EmptySelectionError, match="too few"):
        Model(detector=FarFromMean()).train(me[:4])
    with pytest.raises(UsageError, match="two models of the same"):
        save_models([model, model], "unused")


def test_what_is_no_detector_or_no_series_is_refused() -> None:
    with pytest.raises(UsageError, match=r"detector 'pca': expected a Detector; dqmroot.detector makes one by name"):
        Model(detector="pca")  # type: ignore[arg-type]
    with pytest.raises(ModelMismatchError, match="takes a MonitorElement with its axes, not ndarray"):
        trained().score(np.zeros((3, 12)))  # type: ignore[arg-type]
