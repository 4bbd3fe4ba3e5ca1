"""The whole job on the data that dqmroot carries: two good runs to learn from, one run with known faults to find."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dqmroot.certification import Certification
from dqmroot.detectors import detector
from dqmroot.files import whole_file, write_text
from dqmroot.io.formats import arrays
from dqmroot.judgement import BAD, GOOD
from dqmroot.model import Model, save_models
from dqmroot.pipeline import Report, certify_files
from dqmroot.prepare import Preparation
from dqmroot.reports import draw_certification, gui_files
from dqmroot.reports import report as write_report

__all__ = ["DATA", "copy_data", "run_demo"]

# How each kind of histogram is prepared and learnt: spectra with their flow bins, maps rebinned for the dense network.
_RECIPES: dict[int, tuple[str, dict[str, Any]]] = {
    1: ("include_flow normalise(integral)", {"epochs": 250, "seed": 1}),
    2: ("rebin(2, 2) normalise(maximum)", {"epochs": 250, "seed": 1, "arch": [64], "learning_rate": 5e-4}),
}

DATA = Path(__file__).parent / "data"

_CAMPAIGN = """\
[inputs]
files = ["demo.root"]
runs = "355105"

[output]
folder = "campaign"
dataset = "/Demo/Run2024A-dqmroot-v1/DQMIO"

[training]
mes = ["CSC/**", "Hcal/**"]
files = ["demo.root"]
runs = "355100-355102"
detector = "pca"

[resources]
workers = 2
"""


def copy_data(folder: Path) -> list[Path]:
    """Write what every example in the help of the command line uses: the data that dqmroot carries, labels, a campaign.

    The columns of the labels are 1 good / 0 bad: ``hcal`` and ``csc`` of one monitoring element each, ``good`` of both.

    Raises:
        OutputError: The folder cannot be written.
    """
    truth = json.loads((DATA / "demo.json").read_text(encoding="utf-8"))
    rows = {(run, lumi): [1, 1] for run in truth["good_runs"] for lumi in range(1, 61)}
    rows |= {(truth["bad_run"], lumi): [1, 1] for lumi in range(1, 51)}
    for fault in truth["faults"]:
        first, last = fault["lumi"]
        for lumi in range(first, last + 1):
            rows[truth["bad_run"], lumi][not fault["me"].startswith("Hcal/")] = 0
    labels = [f"{run},{lumi},{min(both)},{both[0]},{both[1]}" for (run, lumi), both in rows.items()]
    texts = {"demo-labels.csv": "\n".join(["run,lumi,good,hcal,csc", *labels, ""]), "demo.toml": _CAMPAIGN}
    with whole_file(folder / "demo.root") as temporary:
        shutil.copyfile(DATA / "demo.root", temporary)
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in ("demo.root", *texts)]


def run_demo(out: Path, report: Report | None = None) -> list[str]:
    """Train on the good runs, certify the bad one, draw it, and compare with what is known to be wrong.

    Args:
        out: Output folder.
        report: Called while it works; optional.

    Returns:
        What was found and where the files are, line by line.
    """
    truth = json.loads((DATA / "demo.json").read_text(encoding="utf-8"))
    file = str(DATA / "demo.root")
    runs = truth["good_runs"]
    good = arrays(file, runs=runs)
    models = []
    for i, name in enumerate(good.names):
        if report:
            report("training", i, len(good.names), name)
        me = good.series(name)
        prepare, parameters = _RECIPES[len(me.axes)]
        model = Model(prepare=Preparation(prepare), detector=detector("dense_autoencoder", **parameters))
        models.append(model.train(me, "mean_sigma", 3))
    save_models(models, out / "model")
    bad_run = truth["bad_run"]
    cert, _ = certify_files([file], out / "model", out, runs=[bad_run], report=report)
    write_report(cert, out / "report", root_files=gui_files(out))
    pictures = draw_certification(cert, out / "pictures", progress=report)
    return [*_compare(cert, truth["faults"]), "", *_files(out, pictures)]


def _compare(cert: Certification, faults: Sequence[Any]) -> list[str]:
    """Say for each known fault how many of its LS were flagged, and how many sound LS were."""
    lines = [f"Run {cert.run[0]}: {len(cert)} LS judged by {len(cert.mes)} monitoring elements"]
    sound = np.ones(len(cert), np.bool_)
    for fault in faults:
        first, last = fault["lumi"]
        rows = (cert.lumi >= first) & (cert.lumi <= last)
        sound &= ~rows
        me = next(result for result in cert.mes if result.me == fault["me"])
        inside = (me.lumi >= first) & (me.lumi <= last)
        found = int((me.flag[inside] == BAD).sum())
        lines.append(
            f"  {fault['fault']:8} LS {first}-{last}, {fault['where']}: found in {found} of {int(inside.sum())} LS  ({fault['me']})"
        )
    kept = int((cert.verdict[sound] == GOOD).sum())
    lines.append(f"  sound    {kept} of {int(sound.sum())} LS without fault judged good")
    return lines


def _files(out: Path, pictures: Sequence[Path]) -> list[str]:
    gui = sorted(out.glob("DQM_V*.root"))
    return [
        "Files:",
        f"  {out / 'report' / 'index.html'}   open it in a browser: what is bad, and why",
        f"  {out / 'certification.json'}   verdict and reasons of each LS",
        f"  {out / 'golden.json'}   the good LS, as a plain golden JSON",
        *(f"  {path}   for the DQM GUI" for path in gui),
        f"  {out / 'model'}   the models; card.md tells what they learnt",
        f"  {out / 'pictures'}   {len(pictures)} pictures",
    ]
