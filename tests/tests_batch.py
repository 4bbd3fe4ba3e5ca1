"""What tests of campaigns share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from dqmroot.config import Campaign, Inputs, Output, Resources


def train(files: list[Path], out: Path, prepare: str = "normalise(integral)", **settings: Any) -> Path:
    from dqmroot.pipeline import train_files

    runs = [380000, 380001]
    train_files(list(map(str, files)), ["**"], out, select={"runs": runs}, prepare=prepare, **settings)
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
