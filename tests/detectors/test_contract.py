"""What every detector of the registry promises. A new detector is held to it by its line in the registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dqmroot import MonitorElement
from dqmroot.detectors import Detector, detector, detector_class, detector_names, load_detector
from dqmroot.errors import (
    DQMError,
    EmptySelectionError,
    InputError,
    ModelMismatchError,
    NotFittedError,
    UnknownNameError,
    UsageError,
)
from dqmroot.evaluate import auc

Sampler = Callable[..., MonitorElement]
CASES = [(name, ndim) for name in detector_names() for ndim in detector_class(name).ndims]
PROMISES = [(name, sees) for name in detector_names() for sees in detector_class(name).sees]


def make(name: str, *, brief: bool = False) -> Detector:
    """A detector with its parameters for a quick look; ``brief`` trains no longer than it takes to be called trained."""
    parameters = dict(detector_class(name).quick)
    if brief and "epochs" in parameters:
        parameters["epochs"] = 2
    return detector(name, **parameters)


def judged(made: Detector, me: MonitorElement) -> np.ndarray:
    """Which LS have the history that a detector needs: `warmup` LS of the same run before them."""
    return np.concatenate([np.arange((me.run == run).sum()) >= made.warmup for run in np.unique(me.run)])


@pytest.fixture(scope="session")
def fitted(sample: Sampler, prepare: Sampler) -> Callable[[str, int], tuple[Detector, MonitorElement]]:
    """A detector that has learnt from the good sample, each only once, and other good LS."""
    known: dict[tuple[str, int, float], tuple[Detector, MonitorElement]] = {}

    def get(name: str, ndim: int, counts: float = 300) -> tuple[Detector, MonitorElement]:
        key = name, ndim, counts
        if key not in known:
            made = make(name)
            made.fit(prepare(sample(ndim, counts, seed=1), made.input))
            known[key] = made, sample(ndim, counts, 30, seed=2)
        made, other = known[key]
        return made, prepare(other, made.input)

    return get


@pytest.mark.parametrize(("name", "ndim"), CASES)
class TestContract:
    def test_scores_are_one_float64_per_ls(self, name, ndim, fitted) -> None:
        made, other = fitted(name, ndim)
        scores = made.score(other)
        assert scores.dtype == np.float64
        assert scores.shape == (len(other),)
        assert np.isfinite(scores[judged(made, other)]).all()

    def test_batch_equals_whole(self, name, ndim, fitted) -> None:
        made, other = fitted(name, ndim)
        if made.sequential:
            pytest.skip("scores of this detector depend on the LS before")
        whole = made.score(other)
        parts = np.concatenate([made.score(other[i : i + 7]) for i in range(0, len(other), 7)])
        np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-6 * np.abs(whole).max())

    def test_both_at_once_are_each_alone(self, name, ndim, fitted) -> None:
        made, other = fitted(name, ndim)
        if not made.localises:
            with pytest.raises(UsageError, match="cannot say"):
                made.score_with_bins(other)
            return
        empty = np.arange(len(other)) == len(other) - 2
        mixed = replace(other, contents=np.where(empty.reshape(-1, *[1] * ndim), 0, other.contents))
        for me in (other, mixed):
            score, bins = made.score_with_bins(me)
            np.testing.assert_allclose(score, made.score(me), rtol=1e-6)
            np.testing.assert_allclose(bins, made.score_bins(me), rtol=1e-6, atol=1e-6 * np.nanmax(bins))
            assert bins.shape == me.values().shape
        assert np.isnan(score[empty]).all()

    def test_inputs_are_not_changed(self, name, ndim, fitted) -> None:
        made, other = fitted(name, ndim)
        before = other.contents.copy()
        made.score(other)
        if made.localises:
            made.score_bins(other)
        if made.reconstructs:
            made.reconstruct(other)
        np.testing.assert_array_equal(other.contents, before)

    def test_learning_does_not_change_inputs_or_parameters(self, name, ndim, sample, prepare) -> None:
        made = make(name, brief=True)
        good = prepare(sample(ndim, 300, 30), made.input)
        before, parameters = good.contents.copy(), json.dumps(made.parameters)
        good.contents.flags.writeable = False
        made.fit(good)
        np.testing.assert_array_equal(good.contents, before)
        assert json.dumps(made.parameters) == parameters

    def test_same_seed_same_scores(self, name, ndim, fitted, sample, prepare) -> None:
        made, again = make(name, brief=True), make(name, brief=True)
        good, other = prepare(sample(ndim, 300, seed=1), made.input), fitted(name, ndim)[1]
        np.testing.assert_allclose(again.fit(good).score(other), made.fit(good).score(other), rtol=1e-5)

    def test_saved_is_loaded_equal(self, name, ndim, fitted, tmp_path: Path) -> None:
        made, other = fitted(name, ndim)
        made.save(tmp_path)
        assert {file.name for file in tmp_path.iterdir()} == {"detector.json", "arrays.npz"}
        loaded = load_detector(tmp_path)
        assert type(loaded) is type(made)
        assert json.dumps(loaded.parameters) == json.dumps(made.parameters)
        # A network that has just learnt and one that was built anew round differently on JAX.
        rounding = 1e-5 if hasattr(made, "epochs") else 0
        np.testing.assert_allclose(loaded.score(other), made.score(other), rtol=rounding)
        if made.localises:
            bins = made.score_bins(other)
            np.testing.assert_allclose(loaded.score_bins(other), bins, rtol=rounding, atol=rounding * np.nanmax(bins))

    def test_lost_array_is_told(self, name, ndim, fitted, tmp_path: Path) -> None:
        made, _ = fitted(name, ndim)
        made.save(tmp_path)
        with (tmp_path / "arrays.npz").open("wb") as file:
            np.savez(file, something=np.zeros(3))
        with pytest.raises(InputError, match=str(tmp_path)):
            load_detector(tmp_path)

    def test_bins_have_the_shape_of_the_sample(self, name, ndim, fitted) -> None:
        made, other = fitted(name, ndim)
        if made.encodes:
            codes = made.encode(other)
            assert codes.shape[0] == len(other)
            assert codes.shape[1] < other.values()[0].size
            assert np.isfinite(codes[judged(made, other)]).all()
        for works, call in [(made.localises, made.score_bins), (made.reconstructs, made.reconstruct)]:
            if not works:
                with pytest.raises(UsageError, match=name):
                    call(other)
                continue
            out = call(other)
            assert out.shape == other.values().shape
            assert np.isfinite(out[judged(made, other)]).all()

    def test_series_and_array_score_equal(self, name, ndim, fitted) -> None:
        made, other = fitted(name, ndim)
        one_run = other[other.run == 2]
        np.testing.assert_allclose(
            made.score(np.array(one_run.values())), made.score(one_run.replace(conditions={})), rtol=1e-6
        )

    def test_ls_that_cannot_be_judged_are_nan(self, name, ndim, fitted) -> None:
        made, other = fitted(name, ndim)
        values = np.array(other.values())
        values[-1] = 0
        values[-2].flat[5] = np.nan
        scores = made.score(values)
        assert np.isnan(scores[-2:]).all()
        assert np.isfinite(scores[made.warmup : -2]).all()
        assert len(made.score(values[:0])) == 0

    def test_other_bins_are_refused(self, name, ndim, fitted) -> None:
        made, other = fitted(name, ndim)
        with pytest.raises(ModelMismatchError, match=name):
            made.score(other.values()[:, 1:])

    def test_unfitted_is_told(self, name, ndim, sample, tmp_path: Path) -> None:
        made = make(name)
        with pytest.raises(NotFittedError, match=name):
            made.score(sample(ndim, 300, 3))
        with pytest.raises(NotFittedError, match=name):
            made.save(tmp_path)

    def test_bad_training_samples_are_told(self, name, ndim, sample) -> None:
        values = np.array(sample(ndim, 300, 6).values())
        with pytest.raises(EmptySelectionError, match=name):
            make(name).fit(values[:0])
        with pytest.raises(EmptySelectionError, match=name):
            make(name).fit(np.zeros_like(values))
        values[2].flat[3] = np.nan
        with pytest.raises(UsageError, match="1 of 6"):
            make(name).fit(values)
        with pytest.raises(UsageError, match=name):
            make(name).fit(np.ones(5))

    @pytest.mark.parametrize("what", ["one", "constant"])
    def test_poor_training_samples_work_or_are_told(self, name, ndim, what, sample, prepare) -> None:
        made = make(name, brief=True)
        good = prepare(sample(ndim, 300, 12), made.input)
        values = np.array(good.values()[:1]) if what == "one" else np.repeat(good.values()[:1] * 0 + 0.5, 12, axis=0)
        if what == "constant" and made.input == "counts":
            values = values * 100
        told = ""
        try:
            made.fit(values)
        except DQMError as error:
            told = str(error)
        if told:
            assert name in told
            assert "\n" not in told
        else:
            scores = made.score(np.repeat(good.values(), 2, axis=0))
            assert not np.isinf(scores).any()
            assert np.isfinite(scores[made.warmup :]).all()


@pytest.mark.parametrize(("name", "sees"), PROMISES, ids=str)
def test_it_sees_the_faults_it_declares(name, sees, fitted, sample, prepare, fault) -> None:
    made, _ = fitted(name, sees.ndim, sees.counts)
    clean = sample(sees.ndim, sees.counts, 60, seed=3)
    bad = fault(clean, sees.fault, sees.size)
    assert not np.array_equal(clean.contents, bad.contents)
    good_scores, bad_scores = (made.score(prepare(me, made.input)) for me in (clean, bad))
    good_scores, bad_scores = (s[~np.isnan(s)] for s in (good_scores, bad_scores))
    assert auc(good_scores, bad_scores) >= 0.9


def test_unknown_names_are_told() -> None:
    with pytest.raises(UnknownNameError, match="dense_autoencoder"):
        detector("dense_autoencodr")
    with pytest.raises(UnknownNameError, match="epochs"):
        detector("dense_autoencoder", epoch=3)


def test_every_detector_promises_something() -> None:
    assert [name for name in detector_names() if not detector_class(name).sees] == []
