"""The command line as its users type it: the main job on real ROOT files, and what happens when something is wrong."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dqmroot.cli import main
from dqmroot.demo import DATA
from dqmroot.runs import RunMask

DEMO = str(DATA / "demo.root")
SIZE = "CSC/FEDIntegrity/FEDTotalEventSize"
MAP = "Hcal/DigiTask/Occupancy/depth/depth1"
QUICK = ("--set", "epochs=60", "--seed", "1")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder trained quickly on the two good runs of the demo."""
    out = tmp_path_factory.mktemp("cli") / "model"
    assert main(["train", DEMO, "--me", "CSC/**", "--runs", "355100-355102", *QUICK, "-o", str(out)]) == 0
    return out


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    try:
        status = main([str(word) for word in words])
    except SystemExit as stop:
        status = int(stop.code or 0)
    told = capsys.readouterr()
    return status, told.out, told.err


def test_ls_lists_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "ls", DEMO)
    assert status == 0
    assert f"{MAP}\tTH2F\t84 × 72\t170\t355100, 355102, 355105" in out.splitlines()
    assert "3 monitoring elements" in err
    status, out, _ = run(capsys, "ls", DEMO, "--me", "**/depth1", "--json")
    assert [(me["name"], me["class"], me["bins"], me["n_ls"]) for me in json.loads(out)] == [
        (MAP, "TH2F", [84, 72], 170)
    ]


def test_score_evaluate_and_certify(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = tmp_path / "scores.csv"
    status, out, _ = run(capsys, "score", DEMO, "--model", model, "--runs", "355105", "-o", scores, "--json")
    assert status == 0
    assert json.loads(out)["rows"] == 50
    with scores.open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["lumi"]) for row in rows] == list(range(1, 51))
    shifted = [row["flag"] for row in rows if 31 <= int(row["lumi"]) <= 40]
    assert shifted == ["1"] * 10

    labels = tmp_path / "labels.csv"
    labels.write_text("run,lumi,good\n" + "".join(f"355105,{i},{int(not 31 <= i <= 40)}\n" for i in range(1, 51)))
    status, out, _ = run(capsys, "evaluate", scores, "--labels", labels, "--json")
    assert status == 0
    assert json.loads(out)[SIZE]["auc"] == 1.0

    cert = tmp_path / "cert"
    words = ("certify", DEMO, "--model", model, "--runs", "355105", "-o", cert, "--dataset", "/Demo/Run2024A-v1/DQMIO")
    status, out, err = run(capsys, *words, "--json")
    assert status == 0
    assert json.loads(out)["lumisections"] == 50
    assert "50 LS of 1 runs" in err
    told = json.loads((cert / "certification.json").read_text())
    assert len(told["lumisections"]) == 50
    assert told["inputs"][0]["size"] == Path(DEMO).stat().st_size
    bad = RunMask.from_json(cert / "bad.json")
    assert bad.contains([355105] * 10, range(31, 41)).all()
    assert (cert / "DQM_V0001_R000355105__Demo__Run2024A-v1__DQMIO.root").exists()
    assert run(capsys, *words, "--fail-on-bad")[0] == 10

    # With the detector off there is no verdict, and that is told.
    (tmp_path / "dcs.json").write_text('{"355105": [[11, 35]]}')
    assert run(capsys, *words, "--dcs", tmp_path / "dcs.json", "--json")[0] == 0
    told = json.loads((cert / "certification.json").read_text())
    assert len(told["lumisections"]) == 50
    assert told["lumisections"][0]["reasons"] == [f"{SIZE}: not judged, detector off"]
    assert json.loads((cert / "not_judged.json").read_text()) == {"355105": [[1, 10], [36, 50]]}
    assert json.loads((cert / "bad.json").read_text())["355105"] == [[31, 35]]


def test_injected_faults_are_found(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    import dqmroot as dq

    faulty = tmp_path / "faulty.h5"
    words = (
        "inject",
        DEMO,
        "--me",
        SIZE,
        "--fault",
        "scaled",
        "--set",
        "amount=1.15",
        "--set",
        "first=21",
        "--seed",
        "3",
    )
    status, out, _ = run(capsys, *words, "--runs", "355100", "-o", faulty, "--json")
    assert status == 0
    assert json.loads(out)["faulty"] == 40
    clean, truth = dq.read(faulty, f"clean/{SIZE}"), dq.read(faulty, f"truth/{SIZE}")
    np.testing.assert_array_equal(clean.contents, dq.read(DEMO, SIZE, runs=355100).contents)
    np.testing.assert_array_equal(truth.values().any(axis=1), truth.lumi >= 21)
    scores = tmp_path / "scores.parquet"
    assert run(capsys, "score", faulty, "--model", model, "-o", scores)[0] == 0
    status, out, _ = run(capsys, "evaluate", scores, "--labels", f"{faulty}.labels.csv", "--json")
    assert json.loads(out)[SIZE]["auc"] > 0.99


def test_extracted_series_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    import dqmroot as dq

    assert run(capsys, "extract", DEMO, "--runs", "355105", "-o", tmp_path / "series.h5")[0] == 0
    for me in dq.list_mes(tmp_path / "series.h5"):
        one, other = dq.read(DEMO, me.name, runs=355105), dq.read(tmp_path / "series.h5", me.name)
        np.testing.assert_array_equal(one.contents, other.contents)
        assert one.axes == other.axes
    status, _, err = run(
        capsys, "extract", DEMO, "--me", "Hcal/DigiTask/Ocupancy/depth/depth1", "-o", tmp_path / "x.h5"
    )
    assert status == 2
    assert f"nearest: {MAP}" in err
    assert not (tmp_path / "x.h5").exists()
    # What is there is written; what was asked for and is not there is named, and the exit status says so.
    words = ("extract", DEMO, "--me", SIZE, "--me", "Hcal/Lost", "--me", "Muon/**", "-o", tmp_path / "x.h5")
    status, _, err = run(capsys, *words)
    assert status == 4
    assert "dqmroot extract: in no file: Hcal/Lost\n" in err
    assert "dqmroot extract: in no file: Muon/**\n" in err
    assert [me.name for me in dq.list_mes(tmp_path / "x.h5")] == [SIZE]


def test_root_reads_what_was_certified(model: Path, tmp_path: Path) -> None:
    import ROOT

    assert main(["certify", DEMO, "--model", str(model), "--runs", "355105", "-o", str(tmp_path), "--quiet"]) == 0
    (path,) = tmp_path.glob("DQM_V0001_R000355105__*.root")
    told = json.loads((tmp_path / "certification.json").read_text())
    file = ROOT.TFile.Open(str(path))
    folder = file.Get(f"DQMData/Run 355105/dqmroot/Run summary/MEs/{SIZE}")
    score = folder.Get("score_vs_ls")
    assert score.ClassName().startswith("TH1")
    for lumi, value in zip(told["mes"][0]["lumi"], told["mes"][0]["score"], strict=True):
        assert score.GetBinContent(score.FindFixBin(lumi)) == pytest.approx(value, rel=1e-6)
    file.Close()


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["trian"], 2, "unknown verb 'trian'; nearest: train"),
        (["ls", DEMO, "--jsn"], 2, "unknown option --jsn; nearest: --json"),
        (["ls", "absent.root"], 3, "absent.root: No such file"),
        (["ls", "*.nothing"], 3, "*.nothing"),
        (["ls", DEMO, "--me", "Hcal/DigiTask/Ocupancy/depth/depth1"], 2, f"nearest: {MAP}"),
        (["train", DEMO, "--me", "CSC/FEDIntegrity/FEDTotalEventSise", "-o", "m"], 2, f"nearest: {SIZE}"),
        (["train", DEMO, "--me", SIZE, "--runs", "1", "-o", "m"], 2, "no lumisection left after selection"),
        (["train", DEMO, "--me", SIZE, "--detector", "dense_autoencodr", "-o", "m"], 2, "nearest: dense_autoencoder"),
        (["train", DEMO, "--me", SIZE, "--set", "epoch=3", "-o", "m"], 2, "nearest: epochs"),
        (["train", DEMO, "--me", SIZE, "--set", "k", "-o", "m"], 2, "expected key=value"),
        (["train", DEMO, "--me", SIZE, "--prepare", "rebinn(2)", "-o", "m"], 2, "rebin"),
        (["train", DEMO, "--me", SIZE, "--working-point", "quantil=0.9", "-o", "m"], 2, "nearest: quantile"),
        (["train", DEMO, "--me", SIZE, "--golden", "absent.json", "-o", "m"], 3, "absent.json: No such file"),
        (["train", DEMO, "--me", SIZE, "--labels", "absent.csv", "-o", "m"], 3, "absent.csv: No such file"),
        (["train", DEMO, "--me", SIZE, "--runs", "b-a", "-o", "m"], 2, "--runs 'b-a': expected numbers and ranges"),
        (["train", DEMO, "--me", SIZE, "-o", f"{DEMO}/m"], 5, "cannot be written"),
        (["score", DEMO, "--model", "absent", "-o", "s.csv"], 3, "absent: No such file or directory"),
        (["score", DEMO, "--model", ".", "-o", "s.csv"], 3, ".: is not a model folder; dqmroot train makes one"),
        (["ls", "."], 3, ".: a folder; name the files in it, such as './*.root'"),
        (["ls", "demo.root"], 3, "; dqmroot demo --data . writes it"),
        (["ls", "wrong.list"], 3, "wrong.list: taken for a list of files, and none of them is there"),
        (["extract", DEMO, "--lumis", "5-1", "-o", "s.h5"], 2, "did you mean 1-5?"),
        (["extract", DEMO, "--runs", "1", "-o", "s.h5"], 2, "see what the files hold with dqmroot ls"),
        (
            ["train", DEMO, "--me", SIZE, "--detector", "pca", "--set", "components=many", "-o", "m"],
            2,
            "must be a number",
        ),
        (["train", DEMO, "--me", SIZE, "--prepare", "rebin(", "-o", "m"], 2, "expected such as rebin(2, 2)"),
        (["batch", "demo.toml", "--workers", "0"], 2, "--workers 0: at least 1"),
        (["batch", "demo.toml"], 3, "; dqmroot demo --data . writes it"),
        (["export", "model.onnx", "-o", "x.onnx"], 2, "is exported already"),
        (["report", "."], 3, "certification.json: No such file or directory; dqmroot certify writes it"),
        (["demo", "--data", "broken.root"], 5, "broken.root is not a folder"),
        (["score", DEMO, "--model", "MODEL", "-o", "s.txt"], 2, "'.txt'"),
        (["score", DEMO, "--model", "MODEL", "-o", f"{DEMO}/s.csv"], 5, "cannot be written"),
        (["score", DEMO, "--model", "MODEL", "--runs", "1", "-o", "s.csv"], 2, "no lumisection left"),
        (["score", "broken.root", "--model", "MODEL", "-o", "s.csv"], 3, "broken.root: not a ROOT file"),
        (["score", "short.root", "--model", "MODEL", "-o", "s.csv"], 3, "short.root: truncated"),
        (["certify", "other.root", "--model", "MODEL", "-o", "c"], 2, SIZE),
        (["certify", DEMO, "--model", "MODEL", "-o", "c", "--dataset", "Demo"], 2, "Demo"),
        (
            ["certify", DEMO, "--model", "MODEL", "-o", "c", "--rule", "most"],
            2,
            "expected any, all, at_least_N or trained",
        ),
        (["evaluate", "absent.csv", "--labels", "absent.csv"], 3, "absent.csv: No such file"),
    ],
    ids=lambda value: " ".join(value[:1] + value[2:4])[:60] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_clear_line(
    words: list[str],
    status: int,
    told: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.root").write_bytes(b"no ROOT file at all" * 100)
    Path("short.root").write_bytes(Path(DEMO).read_bytes()[:100_000])
    Path("wrong.list").write_text("one.root\ntwo.root\n")
    before = sorted(path.name for path in Path().iterdir())
    if "other.root" in words:
        other_binning(Path("other.root"))
        before.append("other.root")
    found, out, err = run(capsys, *(str(model) if word == "MODEL" else word for word in words))
    assert found == status, err
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert told in lines[0]
    assert out == ""
    assert sorted(path.name for path in Path().iterdir()) == sorted(before), "something half-written was left behind"


def other_binning(path: Path) -> None:
    """Write a file with the demo's spectrum in other bins."""
    import rootfiles

    with rootfiles.writer(path) as out:
        out.begin(355105, 1)
        spectrum = rootfiles.root().TH1F("FEDTotalEventSize", "", 50, 0.0, 150.0)
        spectrum.Fill(40.0)
        out.add(SIZE, spectrum)
        out.end()


def test_a_broken_file_does_not_lose_the_others(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(DEMO, tmp_path / "good.root")
    (tmp_path / "broken.root").write_bytes(Path(DEMO).read_bytes()[:200_000])
    out = tmp_path / "scores.csv"
    status, _, err = run(capsys, "score", tmp_path / "*.root", "--model", model, "-o", out)
    assert status == 4
    assert "left out" in err
    assert "broken.root" in err
    manifest = json.loads((tmp_path / "scores.csv.manifest.json").read_text())
    assert [Path(row["path"]).name for row in manifest["errors"]] == ["broken.root"]
    assert len(out.read_text().splitlines()) == 171


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_told_before_the_work(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    status, _, err = run(capsys, "certify", DEMO, "--model", model, "-o", tmp_path / "locked" / "c")
    assert status == 5
    assert "no permission" in err


def test_help_has_an_example_for_each_verb(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "--help")
    for verb in ("ls", "train", "score", "evaluate", "certify", "demo"):
        assert f"    {verb}" in out
        status, told, _ = run(capsys, verb, "--help")
        assert status == 0
        assert f"dqmroot {verb}" in told.split("example:")[1]


def test_a_closed_pipe_is_no_error() -> None:
    code = "import sys; from dqmroot.cli import main; sys.exit(main(['ls', sys.argv[1], '--json']))"
    with subprocess.Popen(
        [sys.executable, "-c", code, DEMO], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
        assert process.wait(60) == 0, err
    assert b"Traceback" not in err


@pytest.mark.slow
def test_the_demo_finds_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "demo", "-o", tmp_path / "out")
    assert status == 0
    assert err.count("found in 10 of 10 LS") == 3
    assert len(list((tmp_path / "out" / "pictures").rglob("*.png"))) == 12
