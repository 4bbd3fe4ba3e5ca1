"""Models of a campaign: one job per monitoring element, and one folder of all of them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dqmroot.batch.index import FileIndex, index_file
from dqmroot.batch.told import Told
from dqmroot.batch.work import TrainModel, digest
from dqmroot.config import Campaign, Training, parse_ranges
from dqmroot.detectors import detector
from dqmroot.errors import EmptySelectionError, InputError
from dqmroot.files import write_text
from dqmroot.io.formats import list_mes
from dqmroot.io.names import is_glob
from dqmroot.io.nanodqmio.plan import Query
from dqmroot.io.storage.source import expand
from dqmroot.model import load_models, save_models
from dqmroot.prepare import Preparation
from dqmroot.selection import Selection
from dqmroot.threshold import parse_working_point

__all__ = ["check_mes", "check_training", "train_missing"]

Jobs = Callable[[str, Mapping[str, tuple[Any, str]]], dict[str, Any]]

_KEPT = "training.json"


def check_training(training: Training) -> None:
    """Find mistakes in ``[training]`` before any work is done.

    Raises:
        UsageError: A detector, parameter, step or working point that does not exist or cannot be.
    """
    detector(training.detector, **training.parameters)
    parse_working_point(training.working_point)
    if training.prepare is not None:
        Preparation.parse(training.prepare)
    if training.runs is not None:
        parse_ranges(training.runs, "training.runs")
    if training.lumis is not None:
        parse_ranges(training.lumis, "training.lumis")


def check_mes(training: Training, inputs: Sequence[str]) -> None:
    """Find out whether the files to learn from have what ``mes`` asks for; as few of them are read as tell it.

    Args:
        training: Its settings.
        inputs: The inputs, which are learnt from where the training names no files of its own.

    Raises:
        UnknownNameError: Something asked for is in none of them.
        InputError: None of the files that the training names is there.
    """
    query = Query(training.mes, scope="all")
    for path in inputs if training.files is None else expand(training.files):
        query.takes([me.name for me in list_mes([path], errors=[]) if me.axes])
        if not query.absent():
            return
    query.check("the files to learn from")


def train_missing(
    campaign: Campaign,
    folder: Path,
    indices: Sequence[FileIndex],
    jobs: Jobs,
    told: Told,
    *,
    retrain: bool = False,
) -> bool:
    """Train the models that are not in ``folder``, or were made with other settings.

    A folder that no campaign made is used as it is.

    Args:
        campaign: Its settings.
        folder: Model folder.
        indices: The inputs, which are learnt from where the training names no files of its own.
        jobs: Does work on the cluster.
        told: Models that could not be made, and files that could not be learnt from, are told there.
        retrain: Whether to train models that are there.

    Returns:
        Whether anything was trained.

    Raises:
        EmptySelectionError: No run to learn from.
        InputError: None of the models could be made.
    """
    training = campaign.training
    there = (folder / "model.json").is_file()
    if training is None or (there and not retrain and not (folder / _KEPT).is_file()):
        return False
    settings = json.loads(json.dumps(dataclasses.asdict(training)))
    if there and not retrain and json.loads((folder / _KEPT).read_text(encoding="utf-8")) == settings:
        return False
    found = list(indices) if training.files is None else _indices(training.files, told)
    files = tuple(index.path for index in found)
    select = _selection(training, found)
    names = list(training.mes)
    if any(is_glob(name) for name in names):
        names = [me.name for me in list_mes(files, names, errors=[]) if me.axes]
    stamp = digest(settings, [[index.uuid, index.size] for index in found], select["runs"])
    parts = Path(campaign.output.folder) / "training" / stamp
    if retrain:
        shutil.rmtree(parts, ignore_errors=True)
    keywords = {
        "select": select,
        "labels": training.labels,
        "label_column": training.label_column,
        "min_entries_per_bin": training.min_entries_per_bin,
        "prepare": training.prepare,
        "detector_name": training.detector,
        "parameters": dict(training.parameters),
        "working_point": training.working_point,
    }
    work = {digest(stamp, me): (TrainModel(files, me, str(parts / digest(me)), keywords), me) for me in names}
    done = jobs("train", work)
    for errors in done.values():
        told.errors.update(errors)
    if not done:
        raise InputError(
            folder, f"no model could be trained: {told.failures[0]['error'] if told.failures else 'no ME'}"
        )
    save_models([load_models(call.folder)[0] for name, (call, _) in work.items() if name in done], folder)
    if len(done) == len(work):
        write_text(folder / _KEPT, json.dumps(settings, indent=1) + "\n")
    return True


def _indices(files: Sequence[str], told: Told) -> list[FileIndex]:
    out = []
    for path in expand(files):
        try:
            out.append(index_file(path))
        except InputError as error:
            told.errors[path] = str(error)
    if not out:
        raise InputError(files[0], "none of the files to learn from can be read")
    return out


def _selection(training: Training, indices: Sequence[FileIndex]) -> dict[str, Any]:
    """Return the selection of LS to learn from, with the runs by number."""
    lumis = None if training.lumis is None else parse_ranges(training.lumis, "training.lumis")
    ranges = None if training.runs is None else parse_ranges(training.runs, "training.runs")
    numbers = None if ranges is None else [run for first, last in ranges for run in range(first, last + 1)]
    selection = Selection.of(golden=training.golden, dcs=training.dcs, runs=numbers, lumis=lumis)
    keys = np.unique(np.concatenate([index.keys for index in indices]))
    keys = keys[selection.contains(keys >> np.uint64(32), keys & np.uint64(0xFFFFFFFF))]
    runs = np.unique(keys >> np.uint64(32))
    if training.since is not None:
        runs = runs[runs >= training.since]
    if training.last_runs is not None:
        runs = runs[-training.last_runs :]
    if len(runs) == 0:
        raise EmptySelectionError("training: no run left to learn from")
    return {"golden": training.golden, "dcs": training.dcs, "runs": runs.tolist(), "lumis": lumis}
