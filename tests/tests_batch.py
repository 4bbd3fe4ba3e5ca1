"""What tests of campaigns share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from dqmroot.config import Campaign, Inputs, Output, Resources


def train(
    files: list[Path],
    out: Path,
    prepare: str = "normalise(integral)",
    patterns: tuple[str, ...] = ("**",),
    **settings: Any,
) -> Path:
    from dqmroot.pipeline import train_files

    runs = [380000, 380001]
    train_files(list(map(str, files)), list(patterns), out, select={"runs": runs}, prepare=prepare, **settings)
    return out


def make(files: list[Path], models: Path, out: Path, scheduler: str | None, **resources: Any) -> Campaign:
    settings: dict[str, Any] = {"lumis_per_piece": 10, "retry_delay": 0.0, "scheduler": scheduler, **resources}
    return Campaign(
        Inputs(tuple(map(str, files))),
        Output(str(out), str(models), "/ZeroBias/Run2024C-dqmroot-v1/DQMIO"),
        resources=Resources(**settings),
    )


def everything(out: Path) -> dict[str, Any]:
    """All that a campaign wrote, by file: JSON as bytes, arrays and histograms as numbers; time stamps left out."""
    found: dict[str, Any] = {}
    for path in sorted(
        path for path in [*out.glob("*.json"), *out.glob("runs/*/*")] if path.is_file() and ".part" not in str(path)
    ):
        name = str(path.relative_to(out))
        if path.suffix == ".json":
            found[name] = path.read_bytes()
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as stored:
                found.update({f"{name}:{key}": stored[key].tobytes() for key in stored.files})
        else:
            found.update({f"{name}:{key}": value for key, value in root_objects(path).items()})
    return found


def write_gui(path: Path, series: list[Any], whole: bool = True) -> Path:
    """Write series as a DQM GUI file with ROOT itself: each LS "By Lumi Section", and their sum as the run's summary."""
    import ROOT

    ROOT.TH1.AddDirectory(False)
    out = ROOT.TFile(str(path), "RECREATE")

    def folder(run: int, level: str, me: str) -> Any:
        subsystem, *more = me.split("/")[:-1]
        at = out
        for name in ("DQMData", f"Run {run}", subsystem, level, *more):
            at = at.GetDirectory(name) or at.mkdir(name)
        return at

    for me in series:
        for run in sorted(set(me.run.tolist())):
            total = None
            for i in [i for i, one in enumerate(me.run.tolist()) if one == run]:
                histogram = me.to_root(i)
                lumi = int(me.lumi[i])
                folder(run, f"By Lumi Section {lumi}-{lumi}", me.name).WriteTObject(histogram, me.name.split("/")[-1])
                if total is None:
                    total = histogram.Clone()
                else:
                    total.Add(histogram)
            if whole:
                folder(run, "Run summary", me.name).WriteTObject(total, me.name.split("/")[-1])
    out.Close()
    return path


def root_objects(path: Path) -> dict[str, Any]:
    import uproot

    found: dict[str, Any] = {}

    def walk(folder: Any, place: str) -> None:
        for key in folder._keys:
            what = key.get()
            name = f"{place}/{key.fName};{key.fCycle}"
            if key.fClassName.startswith("TDirectory"):
                walk(what, name)
            elif key.fClassName.startswith("TH"):
                found[name] = what.values(flow=True).tobytes()
            elif key.fClassName == "TTree":
                found[name] = json.dumps(what.arrays(library="np"), default=lambda array: array.tolist())
            elif "processTimeStamp" not in key.fName:
                found[name] = (key.fClassName, str(what))

    with uproot.open(path) as file:
        walk(file, "")
    assert found
    return found
