"""Score tables against labels: figures per kind of fault, ROC, calibration, LS to detect, overlap of bins."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from samples import spectrum

from dqmroot.cli import main
from dqmroot.comparison import calibrate, compare_files
from dqmroot.errors import UnknownNameError
from dqmroot.io.tables.hdf5 import write_series
from dqmroot.io.tables.scores import write_scores
from dqmroot.scores import ScoreTable


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs of 40 LS: the first good, in the second a weak fault from LS 11 and a strong one from LS 21."""
    rng = np.random.default_rng(1)
    run, lumi = np.repeat([1, 2], 40), np.tile(np.arange(1, 41), 2)
    weak, strong = (run == 2) & (lumi > 10) & (lumi <= 20), (run == 2) & (lumi > 20)
    score = rng.exponential(1.0, 80) + 1.0 * weak + 9.0 * strong
    table = ScoreTable(run, lumi, np.full(80, "Muon/Size"), score, np.full(80, 6.0), (score > 6).astype(np.int8))
    write_scores(tmp_path / "s.csv", table)
    kinds = np.where(weak, "weak", np.where(strong, "strong", ""))
    good = ~(weak | strong)
    rows = [f"{r},{n},{int(g)},{k}\n" for r, n, g, k in zip(run, lumi, good, kinds, strict=True)]
    (tmp_path / "labels.csv").write_text("run,lumi,good,kind\n" + "".join(rows))
    return tmp_path / "s.csv", tmp_path / "labels.csv"


def test_figures_of_each_kind(files) -> None:
    one = compare_files(*files, kind_column="kind")["Muon/Size"]
    assert list(one.kinds) == ["strong", "weak"]
    assert one.kinds["strong"].auc == 1
    assert one.kinds["weak"].auc < 0.9
    assert one.kinds["weak"].n_good == one.figures.n_good == 50
    assert one.ls_to_detect == {2: pytest.approx(11, abs=10)}
    assert one.figures.auc_low < one.figures.auc < one.figures.auc_high


def test_the_corners_hold_the_whole_curve(files) -> None:
    scores, labels = files
    one = compare_files(scores, labels)["Muon/Size"]
    points = np.array([point[1:] for point in one.curve])
    area = np.sum(np.diff(points[:, 0]) * (points[1:, 1] + points[:-1, 1]) / 2)
    assert area == pytest.approx(one.figures.auc, abs=1e-12)
    assert points[0].tolist() == [0, 0]
    assert points[-1].tolist() == [1, 1]
    assert len(points) < 81


def test_a_probability_that_means_what_it_says() -> None:
    rng = np.random.default_rng(0)
    label = (np.arange(4000) % 2).astype(np.int8)
    score = np.where(label == 1, rng.normal(0, 1, 4000), rng.normal(1.5, 1, 4000))
    found = calibrate(score, label)
    assert found is not None
    assert found.error < 0.06
    assert calibrate(score[:3], label[:3]) is None


def test_a_missing_column_is_told(files) -> None:
    with pytest.raises(UnknownNameError, match="kind"):
        compare_files(*files, kind_column="kinds")


def test_the_verb(files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores, labels = map(str, files)
    asked = ["evaluate", scores, "--labels", labels, "--kind-column", "kind"]
    assert main([*asked, "--pictures", str(tmp_path / "p"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["Muon/Size"]
    assert set(told["kinds"]) == {"weak", "strong"}
    assert told["calibration"]["error"] < 0.5
    assert told["false_discovery_at_99"] is not None
    assert (tmp_path / "p" / "Muon" / "Size" / "calibration.png").stat().st_size > 5000
    assert main(asked) == 0
    out = capsys.readouterr().out
    assert "LS to detect" in out
    assert "weak" in out
    assert main([*asked, "--truth", "x.h5"]) == 2


def test_overlap_of_bins_found_and_faulty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = spectrum({1: 60, 2: 60, 3: 60})
    write_series(tmp_path / "good.h5", [good], [])
    h5, model = str(tmp_path / "good.h5"), str(tmp_path / "m")
    train = ["train", h5, "--me", good.name, "--detector", "max_pull", "--working-point", "quantile=0.99"]
    assert main([*train, "-o", model]) == 0
    faulty = str(tmp_path / "bad.h5")
    inject = ["inject", h5, "--me", good.name, "--fault", "dead", "--set", "size=2", "--set", "first=31"]
    assert main([*inject, "-o", faulty]) == 0
    scores = str(tmp_path / "s.csv")
    assert main(["score", faulty, "--model", model, "-o", scores]) == 0
    capsys.readouterr()
    asked = ["evaluate", scores, "--labels", f"{faulty}.labels.csv", "--kind-column", "kind", "--truth", faulty]
    assert main([*asked, "--model", model, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)[good.name]
    assert list(told["overlap"]) == ["dead 2"]
    assert 0 < told["overlap"]["dead 2"] <= 1
