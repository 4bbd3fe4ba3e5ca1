"""Campaigns: the same as one process says, whatever the number of workers, the order, or what dies on the way."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests_batch import everything, make, train, write_gui

from dqmroot.batch import campaign as module
from dqmroot.batch.campaign import dry_run
from dqmroot.certification import load_certification
from dqmroot.config import Campaign, Inputs, Training
from dqmroot.errors import InputError, UnknownNameError
from dqmroot.io.formats import list_mes
from dqmroot.pipeline import certify_files

Run = Callable[..., Any]


def test_a_campaign_says_what_one_process_says(
    campaign: Campaign, run: Run, files: list[Path], models: Path, tmp_path: Path
) -> None:
    told = run(campaign)
    assert told.status == 0
    assert told.summary["lumisections"] == 120
    assert told.summary["missing"] == 0
    whole, _ = certify_files(list(map(str, files)), models, tmp_path / "whole")
    assert told.summary["bad"] == int((whole.verdict == 1).sum()) >= 4
    out = Path(campaign.output.folder)
    for row in told.runs:
        cert = load_certification(out / "runs" / str(row["run"]))
        mine = whole.run == row["run"]
        assert np.array_equal(cert.lumi, whole.lumi[mine])
        assert np.array_equal(cert.verdict, whole.verdict[mine])
        for one, other in zip(cert.mes, whole.mes, strict=True):
            inside = other.run == row["run"]
            assert one.me == other.me
            assert np.array_equal(one.flag, other.flag[inside])
            np.testing.assert_allclose(one.score, other.score[inside], rtol=1e-5)
            np.testing.assert_allclose(one.mean_loss[row["run"]], other.mean_loss[row["run"]], rtol=1e-4, atol=1e-12)
            assert one.worst[row["run"]].lumi == other.worst[row["run"]].lumi
            assert np.array_equal(one.worst[row["run"]].original, other.worst[row["run"]].original)
    for name in ("golden.json", "bad.json", "not_judged.json"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_second_run_does_nothing_and_says_the_same(campaign: Campaign, run: Run) -> None:
    run(campaign)
    first = everything(Path(campaign.output.folder))
    log = Path(campaign.output.folder) / "log.jsonl"
    n_lines = len(log.read_text().splitlines())
    run(campaign)
    more = [json.loads(line) for line in log.read_text().splitlines()[n_lines:]]
    assert {row.get("step") for row in more if row["event"] == "done"} == {"index"}
    assert everything(Path(campaign.output.folder)) == first


def test_only_what_changed_is_done_again(campaign: Campaign, run: Run, files: list[Path], tmp_path: Path) -> None:
    copies = [Path(shutil.copy2(path, tmp_path)) for path in files]
    campaign = dataclasses.replace(campaign, inputs=Inputs(tuple(map(str, copies[:-1]))))
    run(campaign)
    log = Path(campaign.output.folder) / "log.jsonl"
    n_lines = len(log.read_text().splitlines())
    told = run(dataclasses.replace(campaign, inputs=Inputs(tuple(map(str, copies)))))
    more = [json.loads(line) for line in log.read_text().splitlines()[n_lines:]]
    done = [row["step"] for row in more if row["event"] == "done"]
    assert told.summary["lumisections"] == 120
    assert done.count("score") <= 2
    assert done.count("certify") == 1


def test_any_number_of_workers_and_any_order_of_files_say_the_same(
    campaign: Campaign, run: Run, files: list[Path], models: Path, tmp_path: Path
) -> None:
    run(campaign)
    turned = make(files[::-1], models, tmp_path / "other", None, workers=1)
    run(turned)
    one, other = everything(Path(campaign.output.folder)), everything(tmp_path / "other")
    # The order of the files stands in the lists of inputs, and nowhere else.
    same = {name for name in one if name.split("/")[-1] not in {"certification.json", "run.json"}}
    same -= {"manifest.json", "runs.json"}
    assert len(same) > 50
    assert {name: one[name] for name in same} == {name: other[name] for name in same}
    for name in one.keys() - same - {"runs.json", "manifest.json"}:
        left, right = json.loads(one[name]), json.loads(other[name])
        for one_or_other in (left, right):
            one_or_other.pop("inputs", None)
            one_or_other.pop("name", None)
        assert left == right


def break_files(files: list[Path], folder: Path) -> tuple[list[Path], list[Path]]:
    """Copy files and break four of them, each in another way."""
    copies = [Path(shutil.copy2(path, folder)) for path in files]
    size = copies[1].stat().st_size
    os.truncate(copies[1], size // 2)
    copies[4].write_bytes(b"")
    damaged = bytearray(copies[8].read_bytes())
    damaged[len(damaged) // 3 : len(damaged) // 2] = b"\xff" * (len(damaged) // 2 - len(damaged) // 3)
    copies[8].write_bytes(damaged)
    copies[13].unlink()
    return copies, [copies[i] for i in (1, 4, 8, 13)]


def test_broken_files_are_named_and_all_others_scored(
    campaign: Campaign, run: Run, files: list[Path], tmp_path: Path
) -> None:
    copies, broken = break_files(files, tmp_path)
    told = run(dataclasses.replace(campaign, inputs=Inputs(tuple(map(str, copies)))))
    assert told.status == 4
    manifest = json.loads((Path(campaign.output.folder) / "manifest.json").read_text())
    assert sorted(row["path"] for row in manifest["errors"]) == sorted(map(str, broken))
    assert all(Path(row["path"]).name in row["error"] for row in manifest["errors"])
    good = [path for path in copies if path not in broken]
    whole, _ = certify_files(list(map(str, good)), campaign.output.model or "", tmp_path / "whole")
    assert told.summary["lumisections"] == len(whole)
    assert told.summary["bad"] == int((whole.verdict == 1).sum())
    # What was broken is tried again, and done once it is there.
    for path in broken:
        shutil.copy2(files[copies.index(path)], path)
    told = run(dataclasses.replace(campaign, inputs=Inputs(tuple(map(str, copies)))))
    assert told.status == 0
    assert told.summary["lumisections"] == 120


def test_no_readable_input_is_status_3(campaign: Campaign, run: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.root"
    bad.write_bytes(b"root" * 100)
    told = run(dataclasses.replace(campaign, inputs=Inputs((str(bad), str(tmp_path / "absent.root")))))
    assert told.status == 3
    assert set(told.errors) == {str(bad), str(tmp_path / "absent.root")}


def test_a_copy_is_counted_once(campaign: Campaign, run: Run, files: list[Path], tmp_path: Path) -> None:
    copy = Path(shutil.copy2(files[0], tmp_path / "copy.root"))
    inputs = Inputs((str(files[0]), str(copy)))
    told = run(dataclasses.replace(campaign, inputs=inputs))
    assert told.copies == [(str(copy), str(files[0]))]
    assert told.status == 0
    cert = load_certification(Path(campaign.output.folder) / "runs" / "380000")
    alone, _ = certify_files([str(files[0])], campaign.output.model or "", tmp_path / "alone")
    assert np.array_equal(cert.mes[0].worst[380000].original, alone.mes[0].worst[380000].original)


def test_a_model_that_spans_lumisections_sees_whole_runs(
    campaign: Campaign, run: Run, files: list[Path], tmp_path: Path
) -> None:
    from dqmroot.model import load_models

    models = train(files, tmp_path / "drift", prepare="", detector_name="drifting_reference")
    assert all(model.spans_lumis for model in load_models(models))
    campaign = dataclasses.replace(campaign, output=dataclasses.replace(campaign.output, model=str(models)))
    told = run(campaign)
    assert told.status == 0
    whole, _ = certify_files(list(map(str, files)), models, tmp_path / "whole")
    for row in told.runs:
        cert = load_certification(Path(campaign.output.folder) / "runs" / str(row["run"]))
        assert np.array_equal(cert.verdict, whole.verdict[whole.run == row["run"]])


def test_a_poisoned_piece_does_not_take_the_campaign_with_it(
    campaign: Campaign, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.ScorePiece
    poisoned: list[Any] = []

    @dataclasses.dataclass
    class Poison:
        def __call__(self, last: bool) -> Any:
            os._exit(1)

    def make_piece(*args: Any) -> Any:
        piece = real(*args)
        if not poisoned:
            poisoned.append(piece)
            return Poison()
        return piece

    monkeypatch.setattr(module, "ScorePiece", make_piece)
    told = run(dataclasses.replace(campaign, resources=dataclasses.replace(campaign.resources, retries=1)))
    assert told.status == 4
    (failure,) = told.failures
    assert "worker died" in failure["error"]
    assert told.summary["missing"] == len(poisoned[0].keys)
    assert told.summary["lumisections"] == 120 - told.summary["missing"]
    assert failure["lumis"]
    # Once the poison is gone, the rerun does what is left.
    monkeypatch.setattr(module, "ScorePiece", real)
    told = run(campaign)
    assert (told.status, told.summary["lumisections"], told.summary["missing"]) == (0, 120, 0)


def test_what_is_missing_is_trained(campaign: Campaign, run: Run, tmp_path: Path) -> None:
    training = Training(
        mes=("Sub0/**",),
        last_runs=2,
        runs="380000-380001",
        since=380000,
        detector="pca",
        prepare="normalise(integral)",
    )
    output = dataclasses.replace(campaign.output, model=None)
    campaign = dataclasses.replace(campaign, training=training, output=output)
    told = run(campaign)
    assert told.status == 0
    models = json.loads((Path(output.folder) / "models" / "model.json").read_text())["models"]
    assert [one["me"] for one in models] == ["Sub0/Maps/occupancy4", "Sub0/Spectra/size0"]
    assert models[0]["sample"]["runs"] == [380000, 380001]
    outside = [row["mes"][0]["outside_training"] for row in told.runs]
    assert outside == [False, False, True]
    before = everything(Path(output.folder))
    run(campaign)
    assert everything(Path(output.folder)) == before
    changed = dataclasses.replace(training, last_runs=1)
    run(dataclasses.replace(campaign, training=changed))
    models = json.loads((Path(output.folder) / "models" / "model.json").read_text())["models"]
    assert models[0]["sample"]["runs"] == [380001]


def test_gui_files_are_judged_as_the_files_they_come_from(
    campaign: Campaign, run: Run, files: list[Path], models: Path, tmp_path: Path
) -> None:
    from dqmroot.io.formats import arrays

    found = arrays(list(map(str, files)))
    every = [found.series(name) for name in found.names]
    name = "DQM_V000{}_R000380002__ZeroBias__Run2024C__DQMIO.root"
    old, new = (tmp_path / name.format(version) for version in (1, 2))
    write_gui(old, [me[(me.run == 380002) & (me.lumi < 5)] for me in every])
    write_gui(new, [me[me.run == 380002] for me in every])
    told = run(dataclasses.replace(campaign, inputs=Inputs((str(old), str(new)))))
    assert (told.status, told.older) == (0, [(str(old), str(new))])
    cert = load_certification(Path(campaign.output.folder) / "runs" / "380002")
    assert cert.lumi.tolist() == list(range(41))  # LS 0 is the run as a whole
    nano, _ = certify_files(list(map(str, files)), models, tmp_path / "nano")
    assert np.array_equal(cert.verdict[1:], nano.verdict[nano.run == 380002])


def test_exported_models_judge_as_those_they_come_from(
    campaign: Campaign, run: Run, models: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    from dqmroot.deployment import export_models
    from dqmroot.model import load_models

    told = run(campaign)
    export_models(load_models(models), tmp_path / "exported")
    output = dataclasses.replace(campaign.output, folder=str(tmp_path / "other"), model=str(tmp_path / "exported"))
    exported = run(dataclasses.replace(campaign, output=output))
    assert exported.status == 0
    keys = ("lumisections", "good", "bad", "not judged")
    assert [[row[key] for key in keys] for row in exported.runs] == [[row[key] for key in keys] for row in told.runs]
    assert told.summary["bad"] >= 4


def test_a_broken_training_file_is_a_row(campaign: Campaign, run: Run, files: list[Path], tmp_path: Path) -> None:
    damaged = Path(shutil.copy2(files[3], tmp_path / "damaged.root"))
    os.truncate(damaged, damaged.stat().st_size // 2)
    absent = tmp_path / "absent.root"
    training = Training(
        mes=("Sub0/Spectra/size0",),
        files=tuple(map(str, [*files[:10], damaged, absent])),
        detector="pca",
        prepare="normalise(integral)",
    )
    output = dataclasses.replace(campaign.output, model=None)
    told = run(dataclasses.replace(campaign, training=training, output=output))
    assert told.status == 4
    assert set(told.errors) == {str(damaged), str(absent)}
    assert told.summary["lumisections"] == 120


def test_a_lumisection_without_any_element_has_its_verdict(
    campaign: Campaign, run: Run, files: list[Path], tmp_path: Path
) -> None:
    script = Path(__file__).parents[2] / "benchmarks"
    code = f"import sys; sys.path.insert(0, {str(script)!r}); from make_campaign import write_file; "
    code += f"write_file({str(tmp_path / 'bare.root')!r}, [(380000, 41)], 4)"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
    models = train(
        files, tmp_path / "maps", detector_name="pca", working_point="mean_sigma=5", patterns=("Sub0/Maps/*",)
    )
    campaign = dataclasses.replace(
        campaign,
        inputs=Inputs((*campaign.inputs.files, str(tmp_path / "bare.root"))),
        output=dataclasses.replace(campaign.output, model=str(models)),
    )
    told = run(campaign)
    assert (told.status, told.summary["missing"], told.summary["lumisections"]) == (0, 0, 121)
    cert = load_certification(Path(campaign.output.folder) / "runs" / "380000")
    assert cert.verdict[cert.lumi == 41].tolist() == [-1]
    assert cert.reasons[-1] == ("Sub0/Maps/occupancy4: not judged, no histogram in this LS",)


def test_an_lumisection_with_the_detector_off_is_not_judged(campaign: Campaign, run: Run, tmp_path: Path) -> None:
    dcs = tmp_path / "dcs.json"
    dcs.write_text('{"380000": [[11, 40]], "380001": [[1, 40]], "380002": [[1, 30]]}')
    told = run(dataclasses.replace(campaign, inputs=dataclasses.replace(campaign.inputs, dcs=str(dcs))))
    assert (told.status, told.summary["lumisections"], told.summary["not judged"]) == (0, 120, 20)
    cert = load_certification(Path(campaign.output.folder) / "runs" / "380002")
    assert (cert.verdict[cert.lumi > 30] == -1).all()
    assert all("detector off" in reason for reason in cert.reasons[-1])


def test_what_is_asked_for_later_is_made_of_the_same_pieces(campaign: Campaign, run: Run) -> None:
    output = dataclasses.replace(campaign.output, publish=False, report=False)
    assert run(dataclasses.replace(campaign, output=output)).status == 0
    out = Path(campaign.output.folder)
    kept = {
        "certification.json",
        "golden.json",
        "bad.json",
        "not_judged.json",
        "dials.json",
        "pictures.npz",
        "run.json",
    }
    assert {path.name for path in (out / "runs" / "380000").iterdir()} == kept
    assert "report/index.html" not in (out / "summary.html").read_text()
    before = {path: path.stat().st_mtime_ns for path in out.glob("pieces/*/*")}
    told = run(campaign)
    assert told.status == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("pieces/*/*")} == before
    more = {path.name for path in (out / "runs" / "380000").iterdir()} - kept
    assert {"scores.root", "report"} < more
    assert len(more) == 3


def test_a_dry_run_writes_nothing(campaign: Campaign) -> None:
    plan, told = dry_run(campaign)
    assert plan.n_lumis == 120
    assert plan.runs == (380000, 380001, 380002)
    assert told.status == 0
    assert not Path(campaign.output.folder).exists()


def test_a_dry_run_tells_what_no_file_has(campaign: Campaign, tmp_path: Path) -> None:
    output = dataclasses.replace(campaign.output, model=str(tmp_path / "models"))
    known = {me.name for me in list_mes(campaign.inputs.files) if me.axes}
    name = min(known)
    for mes, absent in (((name, "**"), None), ((name + "x",), name + "x"), (("**", "Pixle/*"), "Pixle/*")):
        training = Training(mes=mes, detector="pca")
        asked = dataclasses.replace(campaign, output=output, training=training)
        if absent is None:
            assert dry_run(asked)[0].n_lumis == 120
            continue
        with pytest.raises(
            UnknownNameError, match=f"unknown monitoring element {re.escape(repr(absent))} in the files"
        ) as told:
            dry_run(asked)
        assert name in str(told.value)
    assert not (tmp_path / "models").exists()


def test_no_model_and_no_training_is_told(campaign: Campaign, tmp_path: Path) -> None:
    output = dataclasses.replace(campaign.output, model=str(tmp_path / "nothing"))
    with pytest.raises(InputError, match=r"no model, and the campaign has no \[training\]"):
        dry_run(dataclasses.replace(campaign, output=output))


def write_toml(files: list[Path], models: Path, out: Path, path: Path) -> Path:
    path.write_text(
        f'[inputs]\nfiles = "{files[0].parent}/*.root"\n[output]\nfolder = "{out}"\nmodel = "{models}"\n'
        "[resources]\nworkers = 2\nlumis_per_piece = 4\nretry_delay = 0\n",
        encoding="utf-8",
    )
    return path


def command(toml: Path) -> list[str]:
    return [sys.executable, "-c", "import sys; from dqmroot.cli import main; sys.exit(main())", "batch", str(toml)]


@pytest.fixture(scope="module")
def undisturbed(
    files: list[Path], models: Path, scheduler: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the campaign of `write_toml` makes when nobody dies."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert module.run_campaign(make(files, models, out, scheduler, lumis_per_piece=4)).status == 0
    return everything(out)


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 20))])
@pytest.mark.parametrize("victim", ["worker", "campaign", pytest.param("nursery", marks=pytest.mark.slow)])
def test_kill_9_at_any_moment_changes_nothing(
    victim: str, seed: int, files: list[Path], models: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    """Twenty moments each; the scheduler is embedded, so killing the campaign kills it too."""
    import psutil

    out = tmp_path / "disturbed"
    toml = write_toml(files, models, out, tmp_path / "campaign.toml")
    toml.write_text(toml.read_text().replace("[output]", '[output]\ndataset = "/ZeroBias/Run2024C-dqmroot-v1/DQMIO"'))
    process = subprocess.Popen(command(toml), stderr=subprocess.DEVNULL, start_new_session=True)
    # After so many jobs of about forty, and a moment more; the campaign may die before it has begun.
    rng = random.Random(seed)
    after, more = rng.randrange(38), rng.uniform(0, 0.1)
    begun = victim == "campaign"
    try:
        log = out / "log.jsonl"
        while process.poll() is None and (not begun or sum('"done"' in line for line in _lines(log)) < after):
            begun = begun or any('"cluster"' in line for line in _lines(log))
            time.sleep(0.01)
        time.sleep(more)
        if process.poll() is None:
            if victim != "campaign":
                # Its child is what the workers are forked from; they begin anew with it.
                below = psutil.Process(process.pid).children(recursive=True)
                rng.choice([p for p in below if (p.ppid() == process.pid) == (victim == "nursery")]).kill()
                assert process.wait(300) == 0
            else:
                process.kill()
                process.wait(30)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    if victim == "campaign":
        again = subprocess.run(command(toml), capture_output=True, text=True, timeout=500, check=False)
        assert again.returncode == 0, again.stderr
        assert not [path for path in out.glob("*/**/.*.part") if path.exists()]
    assert everything(out) == undisturbed


def test_ctrl_c_is_told_in_two_lines_and_the_next_run_goes_on(
    files: list[Path], models: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "interrupted"
    toml = write_toml(files, models, out, tmp_path / "campaign.toml")
    toml.write_text(toml.read_text().replace("[output]", '[output]\ndataset = "/ZeroBias/Run2024C-dqmroot-v1/DQMIO"'))
    # What a shell starts in the background ignores Ctrl-C, and so does all that it starts in turn.
    listens = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    python, option, code, *words = command(toml)
    listening = [python, option, listens + code, *words]
    process = subprocess.Popen(listening, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        while process.poll() is None and not any('"cluster"' in line for line in _lines(out / "log.jsonl")):
            time.sleep(0.01)
        # As a terminal does: to the campaign and all its workers.
        os.killpg(process.pid, signal.SIGINT)
        told = process.communicate(timeout=120)[1].splitlines()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert told[-2:] == [
        "what is finished is kept: run the same command again to go on",
        "dqmroot batch: interrupted",
    ]
    assert not any("Traceback" in line for line in told)
    assert subprocess.run(command(toml), capture_output=True, timeout=500, check=False).returncode == 0
    assert everything(out) == undisturbed


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
