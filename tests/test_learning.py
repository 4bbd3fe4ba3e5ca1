"""Many models in one go: the same as one by one, kept while unfinished, and joined by a trained combination."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from samples import PREPARE, FarFromMean, spectrum

from dqmroot.detectors import REGISTRY, batched, detector
from dqmroot.errors import UsageError
from dqmroot.learning import drop_checkpoint, train_combiner, train_many
from dqmroot.model import Model, load_combiner, load_models, save_models

RUNS = {1: 60, 2: 60, 3: 60}
NET = {"epochs": 6, "batch_size": 16, "k": 3}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "far_from_mean", "samples:FarFromMean")


def samples(n: int) -> list:
    return [spectrum(RUNS, seed=i, mean=8 + i).replace(name=f"Muon/Size{i}") for i in range(n)]


def models(n: int, name: str = "far_from_mean", **settings) -> list[Model]:
    return [Model(prepare=PREPARE, detector=detector(name, **settings)) for _ in range(n)]


def test_side_by_side_is_as_one_by_one() -> None:
    goods, many = samples(3), models(3)
    train_many(many, goods, "quantile", 0.9)
    for model, good in zip(many, goods, strict=True):
        alone = models(1)[0].train(good, "quantile", 0.9)
        assert model.describe() == alone.describe()
        np.testing.assert_array_equal(model.score(good), alone.score(good))


def test_equal_networks_learn_together(monkeypatch) -> None:
    sizes = []
    together = batched._fit_together

    def spy(detectors, *rest) -> None:
        sizes.append(len(detectors))
        together(detectors, *rest)

    monkeypatch.setattr(batched, "_fit_together", spy)
    many = models(3, "dense_autoencoder", **NET)
    train_many(many, samples(3))
    # Three folds and once with all runs.
    assert sizes == [3] * 4
    assert all(len(model.detector.history_["loss"]) == 6 for model in many)


class StoppedError(Exception):
    """The process is gone."""


@pytest.mark.parametrize("n", [1, 3])
def test_an_interrupted_training_goes_on(n: int, tmp_path: Path, monkeypatch) -> None:
    settings = {**NET, "epochs": 20}
    plain = models(n, "dense_autoencoder", **settings)
    train_many(plain, samples(n))

    def stop(done: int, total: int, text: str) -> None:
        passes.append(done)
        if len(passes) == 35:
            raise StoppedError

    passes: list[int] = []
    with pytest.raises(StoppedError):
        train_many(models(n, "dense_autoencoder", **settings), samples(n), progress=stop, checkpoint=tmp_path / "state")
    assert any((tmp_path / "state").iterdir())
    passes.clear()
    again = models(n, "dense_autoencoder", **settings)
    train_many(again, samples(n), progress=lambda done, *_: passes.append(done), checkpoint=tmp_path / "state")
    # The first fold is not learnt again, the second goes on after its tenth pass at least.
    assert 40 < len(passes) <= 50
    for one, other in zip(plain, again, strict=True):
        np.testing.assert_allclose(one.detector.history_["val_loss"], other.detector.history_["val_loss"], rtol=1e-4)
    (tmp_path / "state" / "notes.txt").write_text("mine")
    drop_checkpoint(tmp_path / "state")
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["notes.txt"]


def test_other_parameters_do_not_take_what_was_kept(tmp_path: Path) -> None:
    train_many(models(1, "dense_autoencoder", **NET), samples(1), checkpoint=tmp_path)
    other = models(1, "dense_autoencoder", **{**NET, "epochs": 3})
    train_many(other, samples(1), checkpoint=tmp_path)
    assert len(other[0].detector.history_["loss"]) == 3


def test_working_points_from_injected_faults(tmp_path: Path) -> None:
    made = models(1)[0].train(samples(1)[0], "detection_rate", 0.9, faults=[{"fault": "lost_tail", "position": 12.0}])
    point = made.working_point
    assert point is not None
    assert point.n_bad == 180
    assert point.expected_detection == pytest.approx(0.9, abs=0.01)
    assert "injected fault=lost_tail position=12.0" in point.source
    made.save(tmp_path / "m")
    assert load_models(tmp_path / "m")[0].working_point == point
    assert "of 180 bad LS" in (tmp_path / "m" / "card.md").read_text()


def test_working_points_from_labelled_runs() -> None:
    bad = spectrum({9: 40}, seed=7, mean=10)
    made = models(1)[0].train(spectrum(RUNS), "f1", 0.1, bad=bad.replace(name="Muon/Size"))
    assert made.working_point is not None
    assert made.working_point.n_bad == 40
    assert "40 bad LS of 1 runs" in made.working_point.source
    assert made.sample is not None
    assert 9 not in made.sample.runs
    with pytest.raises(UsageError, match="labelled or injected"):
        models(1)[0].train(spectrum(RUNS), "f1", 0.1)


@pytest.mark.parametrize("injected", [False, True])
def test_a_trained_combination(injected: bool, tmp_path: Path) -> None:
    many, goods = models(2), samples(2)
    if injected:
        train_many(many, goods, faults=[{"fault": "lost_tail", "position": 8.0}])
    else:
        bads = [spectrum({9: 60}, seed=7 + i, mean=11).replace(name=good.name) for i, good in enumerate(goods)]
        train_many(many, goods, bads=bads)
    made = train_combiner(many)
    assert made.mes == ("Muon/Size0", "Muon/Size1")
    held = [model.held_out for model in many]
    good = made.probability([part.score for part in held])
    assert np.mean(good > 0.5) < 0.15
    save_models(many, tmp_path / "m", made)
    assert load_combiner(tmp_path / "m") == made
    (tmp_path / "m" / "combiner.json").write_text("{}")
    with pytest.raises(Exception, match="checksum"):
        load_combiner(tmp_path / "m")


def test_a_combination_without_bad_ls_is_refused() -> None:
    many = models(1)
    train_many(many, samples(1))
    with pytest.raises(UsageError, match="needs bad LS"):
        train_combiner(many)
    assert FarFromMean.name == "far_from_mean"
