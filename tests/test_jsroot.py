"""JSROOT, the ROOT of the browser, reads what is published and draws it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from certifications import MAP, SHAPE, make_certification

from dqmroot.publication import publish

VERSION = "7.11.2"
SCRIPT = Path(__file__).with_name("jsroot_draw.mjs")
TOP = "DQMData/Run 297050/dqmroot/Run summary/"
HOSTILE = "<script>alert(1)</script>/\"'&<img src=x onerror=alert(1)>"


@pytest.fixture(scope="session")
def jsroot(pytestconfig: pytest.Config) -> Path:
    """A folder in which ``import 'jsroot'`` works; installed once and kept in pytest's cache."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("no Node.js here")
    if pytestconfig.cache is None:
        pytest.skip("pytest has no cache to keep JSROOT in")
    folder = pytestconfig.cache.mkdir(f"jsroot-{VERSION}")
    if not (folder / "node_modules" / "jsroot" / "package.json").exists():
        command = [
            npm,
            "install",
            "--silent",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--prefix",
            str(folder),
            f"jsroot@{VERSION}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            pytest.skip(f"jsroot cannot be installed: {done.stderr.strip()[-200:]}")
    shutil.copyfile(SCRIPT, folder / SCRIPT.name)
    return folder


def draw(jsroot: Path, path: Path, folder: Path, *names: str) -> list[dict[str, Any]]:
    command = ["node", SCRIPT.name, str(path), str(folder), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=jsroot, timeout=120)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def texts(picture: Path) -> str:
    """Every text of a drawing, in one line."""
    return " ".join(text for text in ET.parse(picture).getroot().itertext() if text.strip())


def test_jsroot_draws_scores_flags_and_maps(jsroot: Path, tmp_path: Path) -> None:
    cert = make_certification()
    path = publish(cert, tmp_path, "/ZeroBias/Run2017B-dqmroot-v1/DQMIO")[0]
    names = [f"{TOP}MEs/{MAP}/{key}" for key in ("score_vs_ls", "flag_vs_ls", "mean_loss", "worst_ls_original")]
    names += [TOP + "EventInfo/reportSummaryMap", f"{TOP}MEs/{SHAPE}/worst_ls_loss"]
    drawn = draw(jsroot, path, tmp_path, *names)
    assert [object_["class"] for object_ in drawn] == ["TH1D", "TH1D", "TH2F", "TH2F", "TH2F", "TH1F"]
    assert [object_["name"] for object_ in drawn] == [name.rsplit("/", 1)[-1] for name in names]
    result = cert.mes[0]
    rows = result.run == 297050
    flags = np.array(drawn[1]["contents"])[result.lumi[rows]]
    np.testing.assert_array_equal(flags, result.flag[rows])
    losses = np.array(drawn[2]["contents"]).reshape(20, 26)[1:-1, 1:-1]
    np.testing.assert_array_equal(losses.astype(np.float32), result.mean_loss[297050].astype(np.float32))
    assert drawn[2]["xlabels"] == list(result.axes[0].labels)
    assert drawn[4]["ylabels"] == ["[verdict]", "depth1", "FEDTotalEventSize", "Mean"]
    for number in range(len(names)):
        svg = (tmp_path / f"{number}.svg").read_text()
        assert svg.startswith("<svg")
        assert len(re.findall(r"<path", svg)) >= 3
    assert "Lumisection" in texts(tmp_path / "0.svg")
    assert "FEDTotalEventSize" in texts(tmp_path / "4.svg")


def test_jsroot_reads_scalars(jsroot: Path, tmp_path: Path) -> None:
    path = publish(make_certification(), tmp_path, "/ZeroBias/Run2017B-dqmroot-v1/DQMIO")[0]
    text = "<iRun>i=297050</iRun>"
    # JSROOT takes the slash of </iRun> for a folder; the directory is asked by its keys instead.
    code = (
        "import { openFile } from 'jsroot';"
        f"const f = await openFile('file://{path}'); const d = await f.readDirectory('{TOP}EventInfo');"
        f"const k = d.fKeys.find(k => k.fName === '{text}'); console.log(k.fClassName, k.fTitle);"
    )
    done = subprocess.run(
        ["node", "--input-type=module", "-e", code], capture_output=True, text=True, check=False, cwd=jsroot
    )
    assert done.stdout.strip() == "TObjString Collectable string class", done.stderr


def test_hostile_names_and_labels_cannot_run(jsroot: Path, tmp_path: Path) -> None:
    import dataclasses

    from dqmroot.series import Axis

    cert = make_certification(((HOSTILE, "TH1F"),), runs=(297050,))
    labels = (HOSTILE, "javascript:alert(1)", "]]>", "x" * 10_000)
    axis = Axis(4, 0.0, 4.0, labels=labels, title=HOSTILE)
    result = dataclasses.replace(cert.mes[0], axes=(axis,), mean_loss={297050: np.ones(4)}, bad_fraction={}, worst={})
    path = publish(dataclasses.replace(cert, mes=(result,)), tmp_path, "/ZeroBias/Run2017B-dqmroot-v1/DQMIO")[0]
    import ROOT

    file = ROOT.TFile.Open(str(path))
    folder, here = file.Get(TOP + "MEs"), TOP + "MEs"
    while not folder.GetKey("mean_loss"):
        name = folder.GetListOfKeys().At(0).GetName()
        folder, here = folder.Get(name), f"{here}/{name}"
    file.Close()
    drawn = draw(jsroot, path, tmp_path, f"{here}/mean_loss", TOP + "EventInfo/reportSummaryMap")
    assert drawn[0]["xlabels"] == list(labels)
    for number in range(2):
        tags = {element.tag.rsplit("}", 1)[-1] for element in ET.parse(tmp_path / f"{number}.svg").iter()}
        assert not tags & {"script", "img", "foreignObject", "iframe"}
        attributes = {key for element in ET.parse(tmp_path / f"{number}.svg").iter() for key in element.attrib}
        assert not any(key.startswith("on") for key in attributes)
