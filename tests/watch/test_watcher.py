"""Online: the same verdicts as batch, whatever lands when; alarms once; nothing lost at any end of the process."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests_batch import train, write_gui

from dqmroot.certification import Certification, load_certification
from dqmroot.config import Alarm, Watch
from dqmroot.errors import UsageError
from dqmroot.pipeline import certify_files
from dqmroot.watch.watcher import Watcher, watch

WORDS = {0: "good", 1: "bad", -1: "not judged"}


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settings(models: Path, tmp_path: Path) -> Watch:
    (tmp_path / "in").mkdir()
    return Watch((str(tmp_path / "in"),), str(models), str(tmp_path / "out"), settle=0.0, refresh=1e9, idle=1e9)


@pytest.fixture
def start(clock: Clock) -> Iterator[Callable[[Watch], Watcher]]:
    made: list[Watcher] = []

    def one(settings: Watch) -> Watcher:
        made.append(Watcher(settings, clock))
        return made[-1]

    yield one
    for watcher in made:
        watcher.close()


def land(file: Path, settings: Watch, name: str = "") -> Path:
    """Rename a copy into the folder, as careful writers do."""
    target = Path(settings.folders[0]) / (name or file.name)
    temporary = target.with_name(f".{target.name}")
    shutil.copy2(file, temporary)
    temporary.replace(target)
    return target


def verdicts(settings: Watch) -> dict[tuple[int, int], str]:
    found = {}
    for path in Path(settings.output).glob("verdicts/*/*.json"):
        told = json.loads(path.read_text())
        assert path == Path(settings.output) / "verdicts" / str(told["run"]) / f"{told['lumi']:05d}.json"
        found[told["run"], told["lumi"]] = told["verdict"]
    return found


def of(cert: Certification) -> dict[tuple[int, int], str]:
    rows = zip(cert.run.tolist(), cert.lumi.tolist(), cert.verdict.tolist(), strict=True)
    return {(run, lumi): WORDS[verdict] for run, lumi, verdict in rows}


def test_a_replay_says_what_batch_says(
    settings: Watch, start: Any, clock: Clock, files: list[Path], models: Path, tmp_path: Path
) -> None:
    rng = random.Random(1)
    landing = rng.sample(files, len(files))[:-2]  # two never come
    watcher = start(settings)
    for i, file in enumerate(landing):
        land(file, settings)
        if i % 4 == 0:
            land(file, settings, f"copy{i}.root")
        if i % 5 == 0:
            (Path(settings.folders[0]) / f"broken{i}.root").write_bytes(b"root" + bytes(200))
        clock.now += 23
        watcher.step()
    whole, _ = certify_files(list(map(str, landing)), models, tmp_path / "whole")
    assert verdicts(settings) == of(whole)
    errors = dict(watcher.state.errors())
    assert sum("is a copy of" in error for error in errors.values()) == 5
    assert sum("broken" in path for path in errors) == 4


def gui_files(files: list[Path], folder: Path) -> list[Path]:
    """One DQM GUI file for each run, with its LS and its summary."""
    from dqmroot.io.formats import arrays

    found = arrays(list(map(str, files)))
    every = [found.series(name) for name in found.names]
    runs = sorted(set(every[0].run.tolist()))
    names = [folder / f"DQM_V0001_R{run:09d}__ZeroBias__Run2024C__DQMIO.root" for run in runs]
    return [write_gui(path, [me[me.run == run] for me in every]) for path, run in zip(names, runs, strict=True)]


def test_dqm_gui_files_are_judged_by_lumisection_and_run(
    settings: Watch, start: Any, clock: Clock, files: list[Path], models: Path, tmp_path: Path
) -> None:
    (tmp_path / "gui").mkdir()
    harvested = gui_files(files, tmp_path / "gui")
    watcher = start(settings)
    for file in harvested:
        land(file, settings)
        clock.now += 23
        watcher.step()
    assert watcher.state.errors() == []
    whole, _ = certify_files(list(map(str, harvested)), models, tmp_path / "whole")
    found = verdicts(settings)
    assert found == of(whole)
    assert len(found) == 123  # 3 runs of 40 LS, and each run as a whole
    assert {run for run, lumi in found if lumi == 0} == {380000, 380001, 380002}
    nano, _ = certify_files(list(map(str, files)), models, tmp_path / "nano")
    assert {key: verdict for key, verdict in found.items() if key[1]} == of(nano)


def test_a_later_version_of_a_gui_file_counts(
    settings: Watch, start: Any, clock: Clock, files: list[Path], tmp_path: Path
) -> None:
    from dqmroot.io.formats import arrays

    found = arrays(list(map(str, files)))
    every = [found.series(name) for name in found.names]
    bad = [me[(me.run == 380002) & (me.lumi > 36)].replace(run=np.full(4, 380000, np.uint32)) for me in every]
    good = [me[(me.run == 380000) & (me.lumi > 36)] for me in every]
    name = "DQM_V000{}_Sub0_R000380000.root"
    watcher = start(settings)
    for version, series in ((1, bad), (2, good)):
        land(write_gui(tmp_path / name.format(version), series), settings)
        watcher.step()
        clock.now += 1
        assert {verdicts(settings)[380000, lumi] for lumi in (37, 38, 39, 40)} == {"bad" if version == 1 else "good"}


def test_several_folders_and_what_lies_below_them(
    settings: Watch, start: Any, clock: Clock, files: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "second" / "deep").mkdir(parents=True)
    both = dataclasses.replace(settings, folders=(*settings.folders, str(tmp_path / "second")))
    watcher = start(both)
    land(files[0], both)
    shutil.copy2(files[1], tmp_path / "second" / "deep")
    (tmp_path / "second" / "notes.txt").write_text("not looked at")
    clock.now += 1
    assert watcher.step() == 12
    assert watcher.state.errors() == []


def test_a_late_part_opens_its_lumisection_again(
    settings: Watch, start: Any, clock: Clock, files: list[Path], models: Path, tmp_path: Path
) -> None:
    script = Path(__file__).parents[2] / "benchmarks"
    code = f"import sys; sys.path.insert(0, {str(script)!r}); from make_campaign import write_file; "
    code += f"write_file({str(tmp_path / 'late.root')!r}, [(380000, 1), (380000, 2)], 5, frozenset({{(380000, 1)}}), 7)"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
    late = tmp_path / "late.root"
    watcher = start(dataclasses.replace(settings, parts=2, wait=60.0))
    land(files[0], settings)
    assert watcher.step() == 0  # one part of two: it waits
    clock.now += 61
    assert watcher.step() == 6
    assert verdicts(settings)[380000, 1] == "good"
    land(late, settings)
    clock.now += 1
    assert watcher.step() == 2
    path = Path(settings.output) / "verdicts" / "380000" / "00001.json"
    told = json.loads(path.read_text())
    assert (told["revision"], len(told["files"])) == (2, 2)
    whole, _ = certify_files([str(files[0]), str(late)], models, tmp_path / "whole")
    assert verdicts(settings) == of(whole)
    assert told["verdict"] == "bad"


def test_a_file_that_is_written_over_counts_anew(settings: Watch, start: Any, clock: Clock, files: list[Path]) -> None:
    watcher = start(settings)
    target = land(files[0], settings, "same.root")
    watcher.step()
    clock.now += 11
    shutil.copy2(files[1], target)
    watcher.step()
    first = {key for key, verdict in verdicts(settings).items() if verdict == "not judged"}
    assert len(first) == 6  # what the file no longer has
    assert len(verdicts(settings)) == 12


def test_a_file_settles_before_it_counts(settings: Watch, start: Any, clock: Clock, files: list[Path]) -> None:
    watcher = start(dataclasses.replace(settings, settle=2.0))
    target = Path(settings.folders[0]) / "slow.root"
    data = files[0].read_bytes()
    for size in (len(data) // 3, len(data) // 2, len(data)):
        target.write_bytes(data[:size])
        clock.now += 1
        assert watcher.step() == 0
    clock.now += 1
    assert watcher.step() == 0
    clock.now += 1
    assert watcher.step() == 6
    assert watcher.state.errors() == []


def test_models_that_span_lumisections_stay_right(
    settings: Watch, start: Any, clock: Clock, files: list[Path], tmp_path: Path
) -> None:
    models = train(files, tmp_path / "drift", prepare="", detector_name="drifting_reference")
    settings = dataclasses.replace(settings, model=str(models))
    watcher = start(settings)
    for file in random.Random(3).sample(files, len(files)):
        land(file, settings)
        clock.now += 23
        watcher.step()
    whole, _ = certify_files(list(map(str, files)), models, tmp_path / "whole")
    assert verdicts(settings) == of(whole)
    scores = {}
    for path in Path(settings.output).glob("verdicts/380001/*.json"):
        told = json.loads(path.read_text())
        scores[told["lumi"]] = told["mes"][whole.mes[0].me]["score"]
    mine = whole.mes[0].run == 380001
    assert list(scores) != []
    np.testing.assert_allclose([scores[lumi] for lumi in sorted(scores)], whole.mes[0].score[mine], rtol=1e-5)


def test_an_alarm_is_told_once_on_each_change(
    settings: Watch, start: Any, clock: Clock, files: list[Path], tmp_path: Path
) -> None:
    told = tmp_path / "told"
    told.mkdir()
    script = f"import sys, pathlib, json; t = sys.stdin.read(); pathlib.Path({str(told)!r}, str(json.loads(t)['id'])).write_text(t)"
    command = (sys.executable, "-c", script)
    alarms = (
        Alarm("any", 2, 4, command=command),
        Alarm("maps", 1, 2, me="Sub0/Maps/*", severity="warning", command=command),
        Alarm("never", 1, 2, me="Sub9/**", command=command),
    )
    settings = dataclasses.replace(settings, alarm=alarms)
    watcher = start(settings)
    for i, file in enumerate(files):
        land(file, settings)
        clock.now += 23
        watcher.step()
        if i == 10:
            watcher.close()
            watcher = start(settings)  # a restart in between repeats nothing
    watcher.step()
    bodies = [json.loads(path.read_text()) for path in sorted(told.iterdir(), key=lambda path: int(path.name))]
    raised = [body for body in bodies if body["state"] == "raised"]
    assert [body["id"] for body in bodies] == list(range(1, len(bodies) + 1))
    last = {body["alarm"]: body for body in bodies}
    assert set(last) == {"any", "maps"}
    assert last["any"]["state"] == "raised"
    assert last["maps"]["severity"] == "warning"
    assert {one["run"] for one in last["any"]["bad"]} == {380002}
    assert all(one["lumi"] > 36 for one in raised[-1]["bad"])
    states = [body["state"] for body in bodies if body["alarm"] == "any"]
    assert states == (["raised", "cleared"] * len(states))[: len(states)]


def test_an_alarm_that_cannot_be_told_is_kept(
    settings: Watch, start: Any, clock: Clock, files: list[Path], tmp_path: Path
) -> None:
    flag, told = tmp_path / "up", tmp_path / "told"
    command = ("sh", "-c", f"test -e {flag} && cat >> {told}")
    watcher = start(dataclasses.replace(settings, alarm=(Alarm("bad", 1, 1, command=command),)))
    for file in files[-3:]:
        land(file, settings)
        clock.now += 23
        watcher.step()
    assert not told.exists()
    assert len(watcher.state.unsent()) >= 1
    flag.touch()
    clock.now += 23
    watcher.step()
    clock.now += 23
    watcher.step()
    assert watcher.state.unsent() == []
    assert '"state": "raised"' in told.read_text()


def test_an_alarm_is_posted(settings: Watch, start: Any, clock: Clock, files: list[Path]) -> None:
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    got: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/alarm"
        watcher = start(dataclasses.replace(settings, alarm=(Alarm("bad", 1, 1, url=url),)))
        land(files[-1], settings)
        watcher.step()
        server.shutdown()
        thread.join()
    assert [(body["alarm"], body["state"]) for body in got] == [("bad", "raised")]


def test_a_run_that_ends_is_certified_as_in_batch(
    settings: Watch, start: Any, clock: Clock, files: list[Path], models: Path, tmp_path: Path
) -> None:
    watcher = start(dataclasses.replace(settings, idle=100.0, refresh=5.0))
    land(files[0], settings)
    watcher.step()
    clock.now += 6
    watcher.step()
    run = Path(settings.output) / "runs" / "380000"
    live = load_certification(run)
    assert len(live) == 6
    assert len(list(run.glob("DQM_V0001_R000380000__*.root"))) == 1
    clock.now += 101
    watcher.step()
    deadline = time.monotonic() + 120
    while watcher.busy and time.monotonic() < deadline:
        time.sleep(0.1)
        watcher.step()
    whole, _ = certify_files([str(files[0])], models, tmp_path / "whole")
    ended = load_certification(run)
    assert of(ended) == of(whole) == of(live)
    assert ended.mes[0].worst[380000].lumi == whole.mes[0].worst[380000].lumi
    assert (run / "report" / "index.html").is_file()


def command(settings: Watch) -> list[str]:
    code = "import sys; from dqmroot.cli import main; sys.exit(main())"
    options = ["--model", settings.model, "-o", settings.output, "--settle", "0", "--idle", "1e9", "--refresh", "1e9"]
    return [sys.executable, "-c", code, "watch", settings.folders[0], *options]


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 7))])
def test_kill_9_loses_and_repeats_nothing(
    seed: int, settings: Watch, files: list[Path], models: Path, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    alarm = ["--alarm", "2/4", "--command", f"sh -c 'cat >> {told}; echo >> {told}'"]
    process = subprocess.Popen([*command(settings), *alarm], stderr=subprocess.DEVNULL)
    rng = random.Random(seed)
    try:
        for file in files:
            land(file, settings)
            time.sleep(rng.uniform(0, 0.8 * 10 / len(files)))
        wait = time.monotonic() + 60
        n = rng.randrange(10, 100)
        while time.monotonic() < wait and len(list(Path(settings.output).glob("verdicts/*/*.json"))) < n:
            time.sleep(0.005)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run([*command(settings), *alarm, "--once"], check=True, stderr=subprocess.DEVNULL, timeout=120)
    whole, _ = certify_files(list(map(str, files)), models, tmp_path / "whole")
    assert verdicts(settings) == of(whole)
    bodies = [json.loads(line) for line in told.read_text().splitlines() if line]
    assert [body["id"] for body in bodies] == list(range(1, len(bodies) + 1))
    assert bodies[-1]["state"] == "raised"


@pytest.mark.slow
def test_an_hour_of_lumisections_in_flat_memory(settings: Watch, start: Any, clock: Clock, tmp_path: Path) -> None:
    import psutil

    script = Path(__file__).parents[2] / "benchmarks" / "make_campaign.py"
    sizes = ["--runs", "4", "--lumis", "900", "--mes", "2", "--files", "900"]
    subprocess.run([sys.executable, "-W", "ignore", str(script), str(tmp_path / "hour"), *sizes], check=True)
    files = sorted((tmp_path / "hour").glob("*.root"))
    models = train(files[:100], tmp_path / "hour-models", detector_name="pca", working_point="mean_sigma=5")
    settings = dataclasses.replace(settings, model=str(models))
    rng = random.Random(5)
    landing = [file for file in rng.sample(files, len(files)) if rng.random() > 0.03]
    watcher, memory = start(settings), []
    for i, file in enumerate(landing):
        land(file, settings)
        if i % 50 == 0:
            land(file, settings, f"copy{i}.root")
        clock.now += 23
        watcher.step()
        memory.append(psutil.Process().memory_info().rss / 2**20)
    whole, _ = certify_files(list(map(str, landing)), models, tmp_path / "whole")
    assert verdicts(settings) == of(whole)
    assert memory[-1] - memory[len(memory) // 3] < 30


def test_a_person_is_told_what_is_scored_and_what_is_left_out(settings: Watch, files: list[Path]) -> None:
    land(files[0], settings)
    (Path(settings.folders[0]) / "broken.root").write_bytes(b"root" + bytes(200))
    lines: list[str] = []
    watch(settings, once=True, say=lines.append)
    n = sum(1 for _ in Path(settings.output).glob("verdicts/*/*.json"))
    assert len(lines) == 3
    assert lines[0].startswith("watching ")
    assert lines[1].startswith("left out: ")
    assert "broken.root" in lines[1]
    bad = list(verdicts(settings).values()).count("bad")
    assert lines[2] == f"run 380000: {n} LS scored, {bad} bad, 0 wait"


def test_what_cannot_be_watched_is_told(settings: Watch, start: Any) -> None:
    with pytest.raises(UsageError, match="not a folder"):
        start(dataclasses.replace(settings, folders=("/nowhere",)))
    with pytest.raises(UsageError, match="nonsense"):
        start(dataclasses.replace(settings, dataset="nonsense"))
