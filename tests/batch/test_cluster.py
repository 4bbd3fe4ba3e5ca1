"""Slurm and HTCondor: what is handed in, and, where a Slurm is there, that it runs."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import LocalCluster
from loopback import slurm_missing, slurm_of_one_node
from tests_batch import everything, make

from dqmroot.batch.campaign import run_campaign
from dqmroot.batch.cluster import job_logs, job_script, open_client
from dqmroot.config import Campaign, Inputs, Output, Resources, Site
from dqmroot.errors import IncompleteError, UsageError


@pytest.fixture
def plain(tmp_path: Path) -> Campaign:
    return Campaign(Inputs(("x.root",)), Output(str(tmp_path / "out")))


def test_the_job_of_slurm_says_what_the_site_wants(plain: Campaign) -> None:
    site = Site(
        memory="3GiB",
        walltime="01:30:00",
        queue="short",
        account="cms",
        extra=("--qos=low",),
        prologue=("source /opt/env.sh",),
        python="/opt/python",
        interface="lo",
        worker_ports="10000:10100",
    )
    text = job_script(dataclasses.replace(plain, slurm=site), "slurm")
    lines = text.splitlines()
    for line in ("-p short", "-A cms", "--mem=3G", "-t 01:30:00", "--qos=low", "-n 1", "--cpus-per-task=1"):
        assert f"#SBATCH {line}" in lines, line
    assert "export NUMBA_NUM_THREADS=1" in lines
    assert lines.index("source /opt/env.sh") < next(i for i, line in enumerate(lines) if "dask_worker" in line)
    assert re.search(
        r"^/opt/python -m distributed.cli.dask_worker tcp://127.0.0.1:\d+ .*--nthreads 1 ", text, re.MULTILINE
    )
    assert "--worker-port 10000:10100" in text


def test_the_job_of_htcondor_says_what_the_site_wants(plain: Campaign) -> None:
    site = Site(memory="3GiB", disk="1GiB", walltime="01:00:00", extra=('+JobFlavour = "longlunch"',), interface="lo")
    text = job_script(dataclasses.replace(plain, htcondor=site), "htcondor")
    wanted = {
        "MY.DaskWorkerCores": "1",
        "RequestCpus": "MY.DaskWorkerCores",
        "+MaxRuntime": "3600",
        "+JobFlavour": '"longlunch"',
    }
    found = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
    for key, value in wanted.items():
        assert found[key] == value, text
    assert "distributed.cli.dask_worker" in text
    assert "NUMBA_NUM_THREADS=1" in text


def test_a_wrong_directive_is_told(plain: Campaign) -> None:
    with pytest.raises(UsageError, match="expected key = value"):
        job_script(dataclasses.replace(plain, htcondor=Site(extra=("JobFlavour",), interface="lo")), "htcondor")


def test_a_scheduler_that_is_not_there_is_told(plain: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = dataclasses.replace(plain, resources=Resources(scheduler="tcp//127.0.0.1"))
    with pytest.raises(UsageError, match="does not answer"), open_client(campaign):
        pass


@pytest.fixture
def slurm(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    missing = slurm_missing()
    if missing:
        pytest.skip(missing)
    with slurm_of_one_node(tmp_path_factory.mktemp("slurm") / "node") as configuration:
        monkeypatch.setenv("SLURM_CONF", str(configuration))
        yield


@pytest.mark.usefixtures("slurm")
def test_a_real_slurm_runs_a_campaign(files: list[Path], models: Path, scheduler: str, tmp_path: Path) -> None:
    one = make(files, models, tmp_path / "slurm", None)
    site = Site(jobs=2, memory="1GiB", walltime="00:10:00", interface="lo")
    told = run_campaign(dataclasses.replace(one, slurm=site), "slurm")
    assert (told.status, told.summary["lumisections"]) == (0, 120)
    jobs = list((tmp_path / "slurm" / "logs").glob("dask-worker-*"))
    assert len(jobs) >= 2
    run_campaign(make(files, models, tmp_path / "local", scheduler))
    assert everything(tmp_path / "slurm") == everything(tmp_path / "local")


def test_a_campaign_without_workers_says_so_and_goes_on_when_one_comes(
    files: list[Path], models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dqmroot.batch.cluster._FIRST", 0.2)
    with LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=":0") as cluster:
        said: list[str] = []

        def say(line: str) -> None:
            said.append(line)
            if line.startswith("no worker"):
                cluster.scale(1)

        told = run_campaign(make(files, models, tmp_path / "out", cluster.scheduler_address), say=say)
    assert (told.status, told.summary["lumisections"]) == (0, 120)
    assert "no worker for 0 s, waiting on" in said
    rows = map(json.loads, (tmp_path / "out" / "log.jsonl").read_text().splitlines())
    assert [row["seconds"] for row in rows if row["event"] == "no worker"][:1] == [0.2]


def test_where_jobs_of_a_site_write_is_told(plain: Campaign) -> None:
    assert job_logs(plain, "local") == ""
    assert job_logs(plain, "slurm") == str(Path(plain.output.folder) / "logs")
    assert job_logs(dataclasses.replace(plain, htcondor=Site(log_folder="/logs")), "htcondor") == "/logs"


@pytest.mark.slow
def test_a_scheduler_that_is_killed_leaves_what_is_finished(files: list[Path], models: Path, tmp_path: Path) -> None:
    address, processes = tmp_path / "scheduler.json", []
    python = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(address), "--nthreads", "1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    out = tmp_path / "out"
    try:
        words = ["--port", "0", "--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(address)]
        processes.append(subprocess.Popen([*python, *words], **quiet))
        while not address.exists():
            time.sleep(0.05)
        processes.append(subprocess.Popen([*worker, "--death-timeout", "5"], **quiet))
        url = json.loads(address.read_text())["address"]

        def kill() -> None:
            while not (out / "pieces").is_dir():
                time.sleep(0.01)
            processes[0].kill()

        thread = threading.Thread(target=kill)
        thread.start()
        with pytest.raises(IncompleteError, match="run the same command again"):
            run_campaign(make(files, models, out, url, lumis_per_piece=4))
        thread.join()
    finally:
        for process in processes:
            process.kill()
            process.wait()
    told = run_campaign(make(files, models, out, None, lumis_per_piece=4, workers=2))
    assert (told.status, told.summary["lumisections"]) == (0, 120)
    run_campaign(make(files, models, tmp_path / "other", None, lumis_per_piece=4, workers=2))
    assert everything(out) == everything(tmp_path / "other")
