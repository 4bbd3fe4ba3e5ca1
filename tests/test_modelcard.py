"""The card of a model says what is known of it: its sample, its figures, and limits that are its own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import dqmroot as dq
from dqmroot.detectors import detector_names
from dqmroot.folds import TrainingSample
from dqmroot.modelcard import LIMITS, card_text


def spectra(runs: tuple[int, ...], *, n: int = 30, conditions: bool = False, empty: int = 3) -> dq.MonitorElement:
    rng = np.random.default_rng(1)
    mean = 200 * (1.5 + np.sin(np.arange(12)))
    mean[:empty] = 0
    inner = rng.poisson(mean, (n * len(runs), 12)).astype(np.float32)
    run, lumi = np.repeat(runs, n), np.tile(np.arange(11, 11 + n), len(runs))
    told = {"pileup": np.linspace(20, 60, len(run))} if conditions else {}
    contents = np.pad(inner, ((0, 0), (1, 1)))
    return dq.MonitorElement(
        "A/B", "TH1F", (dq.Axis(12, 0, 6),), run, lumi, inner.sum(axis=1), contents, conditions=told
    )


def test_the_card_tells_sample_figures_and_limits(tmp_path: Path) -> None:
    good = spectra((5, 6), conditions=True)
    model = dq.Model(prepare="normalise(integral)", detector=dq.detector("pca", components=2)).train(
        good, "mean_sigma", 3
    )
    model.save(tmp_path / "m")
    card = (tmp_path / "m" / "card.md").read_text()
    parts = dict(re.findall(r"## (\w[\w ]*)\n\n(.*?)(?=\n## |\Z)", card, re.DOTALL))
    assert set(parts) == {"Sample", "Figures", "Known limits"}
    assert "- 60 LS of 2 run(s), 5-6" in parts["Sample"]
    assert "  - 5: LS 11-40" in parts["Sample"]
    assert f"Entries of an LS: {good.entries.min():,.0f} to {good.entries.max():,.0f}" in parts["Sample"]
    assert "- pileup: 20 to 60" in parts["Sample"]
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\S+) \| (\d+) \(", parts["Figures"], re.MULTILINE)
    assert [row[:3] for row in rows] == [("5", "30", "0"), ("6", "30", "0")]
    held = model.held_out
    assert held is not None
    assert float(rows[0][3]) == pytest.approx(np.median(held.score[:30]), rel=1e-3)
    flagged = held.score > model.working_point.threshold
    assert [int(row[4]) for row in rows] == [int(flagged[:30].sum()), int(flagged[30:].sum())]
    limits = parts["Known limits"]
    assert "3 of 12 bins were never filled" in limits
    assert "Knows 2 runs only" in limits
    assert f"fewer than {good.entries.min():,.0f} entries were not tried, and are judged all the same" in limits
    assert "no conditions were given" not in limits
    assert "false rates below 0.016" in limits
    assert "Judges the shape only" in limits


def test_limits_follow_what_is_known() -> None:
    made = dq.Model(detector=dq.detector("pca", components=2), min_entries_per_bin=1).fit(spectra((5,), empty=0))
    card = card_text(made)
    assert "how runs differ from each other it has never seen" in card
    assert "Nothing is known of the pile-up" in card
    assert "never filled" not in card
    assert "all the same" not in card
    assert "shape only" not in card  # nothing was divided out
    assert "No working point" in card


def test_each_detector_has_limits_of_its_own() -> None:
    assert set(LIMITS) == set(detector_names())


def test_the_sample_survives_saving_and_early_versions_are_read(tmp_path: Path) -> None:
    model = dq.Model(detector=dq.detector("pca", components=2)).train(spectra((5, 6)))
    model.save(tmp_path / "m")
    (loaded,) = dq.load_models(tmp_path / "m")
    assert loaded.sample == model.sample
    assert json.loads((tmp_path / "m" / "model.json").read_text())["models"][0]["sample"]["lumis"]["5"] == [[11, 40]]
    assert TrainingSample.from_dict({"n": 3, "runs": [1], "held_out": ""}) == TrainingSample(3, (1,))
