"""A campaign on files of an XRootD server, which dies on the way and comes back."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from servers import free_port, open_to_all, start_xrootd
from tests_batch import make

from dqmroot.batch.campaign import dry_run, run_campaign
from dqmroot.config import Inputs
from dqmroot.pipeline import certify_files

# Else the client goes on asking a dead server for minutes.
_IMPATIENT = {"XRD_CONNECTIONWINDOW": "1", "XRD_CONNECTIONRETRY": "1", "XRD_STREAMERRORWINDOW": "1"}


def test_a_server_that_dies_costs_what_was_not_read(
    files: list[Path], models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("xrootd") is None:
        pytest.skip("no xrootd server installed")
    if importlib.util.find_spec("XRootD") is None:
        pytest.skip("no XRootD client installed")
    for name, value in _IMPATIENT.items():
        monkeypatch.setenv(name, value)
    served, work = tmp_path / "served", tmp_path / "xrootd"
    served.mkdir()
    work.mkdir()
    for file in files[:8]:
        shutil.copy2(file, served)
    open_to_all(served)
    port = free_port()
    server, url = start_xrootd(served, work, port)
    try:
        inputs = Inputs(tuple(f"{url}/{file.name}" for file in files[:8]))
        campaign = make(files, models, tmp_path / "out", None, workers=1, lumis_per_piece=6, retries=0)
        campaign = dataclasses.replace(campaign, inputs=inputs)
        plan, _ = dry_run(campaign)
        assert (plan.n_lumis, len(plan.files)) == (48, 8)

        def report(what: str, done: int, total: int, rate: str) -> None:
            if what == "score" and done == 2:
                server.kill()
                server.wait()

        told = run_campaign(campaign, report=report)
        manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
        lost = {row["path"] for row in manifest["errors"]}
        assert told.status == 4
        assert 1 <= len(lost) < 8
        assert lost < set(inputs.files)
        assert 1 <= told.summary["missing"] < 48
        assert manifest["missing"]
        server, _ = start_xrootd(served, work, port)
        told = run_campaign(campaign)
        assert (told.status, told.summary["lumisections"], told.errors) == (0, 48, {})
        certify_files(list(map(str, files[:8])), models, tmp_path / "whole")
        for name in ("golden.json", "bad.json", "not_judged.json"):
            assert (tmp_path / "out" / name).read_text() == (tmp_path / "whole" / name).read_text()
    finally:
        server.kill()
        server.wait()
