"""Every picture of a certification and of an evaluation is written, none outside its folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from certifications import MAP, SHAPE, make_certification

from dqmroot.cli import main
from dqmroot.errors import EmptySelectionError, UsageError
from dqmroot.labels import Labels
from dqmroot.reports import draw_certification, draw_evaluation
from dqmroot.scores import ScoreTable


def test_every_element_and_run_is_drawn(tmp_path: Path) -> None:
    seen: list[str] = []
    cert = make_certification([(MAP, "TH2F"), (SHAPE, "TH1F")], runs=(297050,))
    written = draw_certification(cert, tmp_path, progress=lambda *told: seen.append(told[3]))
    names = ("run297050_score.png", "run297050_worst.png", "run297050_mean_loss.png", "run297050_bad_fraction.png")
    assert written == [tmp_path / me / name for me in (MAP, SHAPE) for name in names]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)
    assert seen == [MAP, SHAPE]


def test_hostile_names_stay_in_the_folder(tmp_path: Path) -> None:
    names = ["../../escape", "/etc/passwd\n$^" + "x" * 3000]
    cert = make_certification([(name, "TProfile") for name in names], runs=(7,), n_ls=15)
    written = draw_certification(cert, tmp_path / "in" / "side", kind="pdf")
    assert len(written) == 8
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(written)
    assert all(path.resolve().is_relative_to(tmp_path / "in" / "side") for path in written)


def test_only_kinds_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="png or pdf, not 'exe'"):
        draw_certification(make_certification(), tmp_path, kind="exe")


@pytest.fixture
def table() -> ScoreTable:
    rng = np.random.default_rng(1)
    run, lumi = np.full(80, 7), np.tile(np.arange(1, 41), 2)
    score = rng.exponential(1.0, 80) + 3 * (lumi > 30)
    me = np.repeat(["Hcal/Map", "Muon/Size"], 40)
    return ScoreTable(run, lumi, me, score, np.full(80, 2.5), (score > 2.5).astype(np.int8))


def test_scores_with_labels(table: ScoreTable, tmp_path: Path) -> None:
    csv = tmp_path / "labels.csv"
    csv.write_text("run,lumi,good\n" + "".join(f"7,{lumi},{int(lumi <= 30)}\n" for lumi in range(1, 41)))
    labels = Labels.from_csv(csv)
    written = draw_evaluation(table, labels, tmp_path / "out")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in written] == [
        "Hcal/Map/distribution.png",
        "Hcal/Map/confusion.png",
        "Muon/Size/distribution.png",
        "Muon/Size/confusion.png",
        "roc.png",
        "roc_log.png",
    ]
    assert all(path.stat().st_size > 5000 for path in written)
    csv.write_text("run,lumi,good\n7,1,1\n")
    with pytest.raises(EmptySelectionError, match="0 bad LS"):
        draw_evaluation(table, Labels.from_csv(csv), tmp_path / "none")


def test_the_verb_draws_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_certification([(SHAPE, "TH1F")], runs=(7,), n_ls=15).save(tmp_path)
    assert (
        main(["report", str(tmp_path), "--pictures", str(tmp_path / "p"), "--format", "pdf", "--label", "Preliminary"])
        == 0
    )
    assert "4 pictures in" in capsys.readouterr().err
    assert len(list((tmp_path / "p").rglob("*.pdf"))) == 4
