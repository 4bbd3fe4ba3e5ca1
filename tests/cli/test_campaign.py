"""The verbs batch and watch: plans for people and machines, one-line mistakes, settings from options and files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from campaign_fixtures import files, models

from dqmroot.cli import build_parser, main
from dqmroot.cli.campaign import _watch_settings
from dqmroot.config import Alarm, Campaign, Inputs, Output, Resources, Site, Training, Watch
from dqmroot.errors import UsageError

__all__ = ["files", "models"]


@pytest.fixture
def toml(files: list[Path], models: Path, tmp_path: Path) -> Path:
    path = tmp_path / "campaign.toml"
    path.write_text(f'[inputs]\nfiles = "{files[0].parent}/*.root"\n[output]\nfolder = "out"\nmodel = "{models}"\n')
    return path


def test_a_dry_run_shows_the_plan(toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["batch", str(toml), "--dry-run"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[0].split("\t") == ["piece", "runs", "LS", "files"]
    assert "20 files, 120 LS of 3 runs" in told.err
    assert main(["batch", str(toml), "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert sum(piece["lumisections"] for piece in plan["pieces"]) == plan["lumisections"] == 120
    assert plan["runs"] == [380000, 380001, 380002]
    assert not (toml.parent / "out").exists()


def test_a_dry_run_names_what_is_broken(toml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.root"
    broken.write_bytes(b"root")
    toml.write_text(toml.read_text().replace('files = "', f'files = ["{broken}", "').replace('*.root"', '*.root"]'))
    assert main(["batch", str(toml), "--dry-run"]) == 4
    assert f"cannot be read: {broken}" in capsys.readouterr().err


def test_a_campaign_runs(toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["batch", str(toml), "--workers", "1", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["lumisections"] == 120
    assert "1 run lies outside the runs that their models learnt from: 380002" in told.err
    assert (toml.parent / "out" / "summary.html").is_file()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("folder", "foldr"), "unknown key 'foldr'"),
        (("[output]", '[output]\nrule = "most"'), "rule 'most'"),
        (("[output]", '[output]\ndataset = "x"'), "dataset 'x'"),
        (("[inputs]", '[inputs]\nruns = "9-1"'), "inputs.runs '9-1'"),
        (("[inputs]", '[training]\nmes = "x"\ndetector = "pcb"\n[inputs]'), "unknown detector 'pcb'"),
    ],
)
def test_a_mistake_is_one_line_before_any_work(
    change: tuple[str, str], told: str, toml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml.write_text(toml.read_text().replace(*change))
    assert main(["batch", str(toml)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert not (toml.parent / "out").exists()


def test_the_job_script_is_shown(toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["batch", str(toml), "--slurm", "--job-script"]) == 0
    assert "#SBATCH" in capsys.readouterr().out


def settings(*words: str) -> Watch:
    made: Watch = _watch_settings(build_parser().parse_args(["watch", *words]))
    return made


def test_watch_settings_come_from_options_and_files(tmp_path: Path) -> None:
    words = ["in", "--model", "m", "-o", "out", "--settle", "0", "--alarm", "2/4", "--command", "mail 'the shifter'"]
    made = settings(*words)
    assert (made.folders, made.model, made.output, made.settle) == (("in",), "m", "out", 0.0)
    assert made.alarm == (Alarm("alarm", 2, 4, command=("mail", "the shifter")),)
    path = tmp_path / "watch.toml"
    path.write_text('folders = ["in"]\nmodel = "m"\noutput = "out"\nsettle = 5\nparts = 3\n')
    made = settings("--config", str(path), "--settle", "1")
    assert (made.settle, made.parts, made.folders) == (1.0, 3, (str(tmp_path / "in"),))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--model", "m", "-o", "out"], "DIR is missing"),
        (["in", "-o", "out"], "--model is missing"),
        (["in", "--model", "m", "-o", "out", "--alarm", "three"], "expected N/M"),
        (["in", "--model", "m", "-o", "out", "--alarm", "5/3"], "n must be between 1 and of"),
        (["in", "--model", "m", "-o", "out", "--command", "x"], "need --alarm"),
    ],
)
def test_wrong_watch_options_are_told(words: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        settings(*words)


def test_watch_does_what_is_there_once(files: list[Path], models: Path, tmp_path: Path) -> None:
    words = ["watch", str(files[0].parent), "--model", str(models), "-o", str(tmp_path / "out"), "--settle", "0"]
    assert main([*words, "--once", "--quiet", "--refresh", "1e9"]) == 0
    assert len(list((tmp_path / "out" / "verdicts").glob("*/*.json"))) == 120


def test_every_key_is_documented() -> None:
    docs = Path(__file__).parents[2] / "docs"
    campaign, watch = ((docs / name).read_text() for name in ("campaign.md", "watch.md"))
    for kinds, text in (((Inputs, Output, Training, Resources, Site), campaign), ((Watch,), watch)):
        for kind in kinds:
            for one in dataclasses.fields(kind):
                assert f"`{one.name}`" in text or f"[[{one.name}]]" in text, f"{kind.__name__}.{one.name}"
    for one in dataclasses.fields(Campaign):
        assert f"[{one.name}]" in campaign
    for one in dataclasses.fields(Alarm):
        assert f"\n{one.name} = " in watch


def test_since_learns_from_a_run_on_and_tells_which_runs_lie_outside(
    toml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = '[training]\nmes = "Sub0/Spectra/*"\ndetector = "pca"\nprepare = "normalise(integral)"\n'
    toml.write_text(toml.read_text().split("model =")[0] + training)
    models = toml.parent / "out" / "models" / "model.json"
    assert main(["batch", str(toml), "--workers", "1", "--since", "380001"]) == 0
    assert "1 run lies outside the runs that their models learnt from: 380000" in capsys.readouterr().err
    assert json.loads(models.read_text())["models"][0]["sample"]["runs"] == [380001, 380002]
    # A rolling reference: the last run only; what changed is trained again without being told to.
    toml.write_text(toml.read_text() + "last_runs = 1\n")
    assert main(["batch", str(toml), "--workers", "1"]) == 0
    assert json.loads(models.read_text())["models"][0]["sample"]["runs"] == [380002]
    assert "2 runs lie outside" in capsys.readouterr().err


def test_what_is_missing_is_told_at_the_end(
    toml: Path, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, absent = tmp_path / "broken.root", tmp_path / "absent.root"
    broken.write_bytes(files[0].read_bytes()[:5000])
    listed = ", ".join(f'"{path}"' for path in (*files[1:3], broken, absent))
    toml.write_text(toml.read_text().replace(f'"{files[0].parent}/*.root"', f"[{listed}]"))
    toml.write_text(toml.read_text() + "[resources]\nworkers = 1\nretry_delay = 0\n")
    assert main(["batch", str(toml)]) == 4
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "left out" in line and "broken.root" in line]
    assert [line for line in lines if "left out" in line and "absent.root" in line]
    assert lines[-1].endswith("out/manifest.json tells what is missing")


def test_training_leaves_out_what_cannot_be_read(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.root"
    broken.write_bytes(files[1].read_bytes()[:5000])
    words = ["--me", "Sub0/Spectra/*", "--detector", "pca", "-o", str(tmp_path / "model")]
    assert main(["train", str(files[0]), str(broken), *words]) == 4
    assert f"left out: {broken}" in capsys.readouterr().err
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert [row["path"] for row in manifest["errors"]] == [str(broken)]
    assert main(["train", str(broken), *words]) == 3
