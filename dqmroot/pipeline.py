"""The steps of the main job, path → path: train, score, evaluate, certify. Each restarts alone.

Broken inputs do not lose good results: they become rows of the manifest.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dqmroot._version import __version__
from dqmroot.certification import Certification, certify
from dqmroot.combine import TRAINED
from dqmroot.deployment import read_models
from dqmroot.detectors import Detector, detector, detector_class
from dqmroot.errors import EmptySelectionError, InputError, OutputError, UnknownNameError, UsageError
from dqmroot.files import folder_name, write_text
from dqmroot.injection import FAULTS, Injected, inject
from dqmroot.io.formats import arrays
from dqmroot.io.storage.identity import describe_file
from dqmroot.io.storage.source import expand
from dqmroot.io.tables.hdf5 import write_series
from dqmroot.io.tables.scores import check_suffix, write_scores
from dqmroot.labels import Labels
from dqmroot.learning import drop_checkpoint, train_combiner, train_many
from dqmroot.model import Model, load_combiner, save_models
from dqmroot.prepare import Preparation
from dqmroot.publication import check_dataset, publish
from dqmroot.runs import RunMask
from dqmroot.scores import ScoreTable, join
from dqmroot.selection import Mask
from dqmroot.series import MonitorElement
from dqmroot.threshold import need_bad, parse_working_point

__all__ = [
    "DEFAULT_DATASET",
    "Outcome",
    "Report",
    "certify_files",
    "default_preparation",
    "score_files",
    "train_files",
]

DEFAULT_DATASET = "/DQM/Run0-dqmroot-v1/DQMIO"

SCHEMA_VERSION = 1
_PICTURES = 20  # monitoring elements up to which the losses are drawn

Report = Callable[[str, int, int, str], None]
"""Called with (what is being done, steps done, steps in all, a short text)."""


@dataclass(frozen=True)
class Outcome:
    """What a step made of its inputs.

    Args:
        outputs: Files written.
        errors: Inputs that could not be read.
        summary: Figures, ready for JSON.
    """

    outputs: tuple[Path, ...]
    errors: tuple[InputError, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)


def train_files(
    files: Sequence[str],
    patterns: Sequence[str],
    out: str | Path,
    *,
    select: Mapping[str, Any] | None = None,
    labels: str | Path | None = None,
    label_column: str = "good",
    min_entries_per_bin: float = 0.0,
    prepare: str | None = None,
    detector_name: str = "dense_autoencoder",
    parameters: Mapping[str, Any] | None = None,
    working_point: str = "mean_sigma=3",
    faults: Sequence[Mapping[str, Any]] = (),
    combine: bool = False,
    checkpoint: str | Path | None = None,
    report: Report | None = None,
) -> Outcome:
    """Train one model per monitoring element and write a model folder; files that cannot be read are left out, and told.

    Dense autoencoders of equal shape learn together, so that many cost little more than one. Beside each network lie
    ``loss.csv`` and, up to 20 MEs, ``loss.png``.

    Args:
        files: nanoDQMIO files, globs or lists.
        patterns: Names or patterns of MEs.
        out: Model folder.
        select: Selection of LS, as `dqmroot.read` takes it: ``golden``, ``dcs``, ``runs``, ``lumis``.
        labels: A csv file with run, lumi and a column of 1 (good) and 0 (bad); LS that are not good are not learnt from, bad ones
            serve working points and the combination.
        label_column: That column.
        min_entries_per_bin: LS with fewer entries per bin are neither learnt from nor judged.
        prepare: Steps, such as ``"include_flow normalise(integral)"``; by default chosen by the number of bins.
        detector_name: Which detector.
        parameters: Its parameters.
        working_point: Such as ``"false_rate=1e-3"``; ``"detection_rate=0.99"`` and ``"f1=0.01"`` need bad LS or faults.
        faults: Faults put into LS that are kept apart, each as `dqmroot.inject` takes it, such as ``{"fault": "dead"}``.
        combine: Also train what joins the scores of all MEs to one probability; needs bad LS or faults.
        checkpoint: Folder in which the state of an unfinished training is kept; the same call goes on where it was.
        report: Called while training.

    Raises:
        DQMError: As `dqmroot.errors` draws it.
    """
    method, value = parse_working_point(working_point)
    detector(detector_name, **(parameters or {}))
    if prepare is not None:
        Preparation.parse(prepare)
    good_of = None if labels is None else Labels.from_csv(labels, label_column)
    for fault in faults:
        _check_fault(**fault)
    need_bad(method, good_of is not None or bool(faults))
    if combine and good_of is None and not faults:
        raise UsageError("a trained combination needs bad LS: labels with some, or faults to inject")
    _check_target(Path(out))
    paths = expand(files)
    errors: list[InputError] = []
    try:
        found = arrays(paths, patterns, errors=errors, **(select or {}))
    except UnknownNameError:
        _raise_if_none(paths, errors)
        raise
    _raise_if_none(paths, errors)
    series = [found.series(name) for name in found.names]
    if not series:
        raise EmptySelectionError(f"{', '.join(patterns)}: no lumisection left after selection")
    models, goods, bads = [], [], []
    for me in series:
        known = np.ones(len(me), np.int8) if good_of is None else good_of.look_up(me.run, me.lumi)
        goods.append(me[known == 1].require("the selection of good LS"))
        bads.append(None if faults or not (known == 0).any() else me[known == 0])
        made = detector(detector_name, **(parameters or {}))
        steps = default_preparation(me, made) if prepare is None else Preparation.parse(prepare)
        models.append(Model(prepare=steps, detector=made, min_entries_per_bin=min_entries_per_bin))
    what = series[0].name if len(series) == 1 else f"{len(series)} monitoring elements"
    train_many(
        models, goods, method, value, bads=bads, faults=faults, progress=_progress(report, what), checkpoint=checkpoint
    )
    save_models(models, out, train_combiner(models) if combine else None)
    if checkpoint is not None:
        drop_checkpoint(checkpoint)
    _draw_losses(models, Path(out))
    _write_manifest(Path(out) / "manifest.json", "train", paths, errors, {"mes": [model.me for model in models]})
    return Outcome((Path(out),), tuple(errors), {"models": [model.describe() for model in models]})


def _draw_losses(models: Sequence[Model], folder: Path) -> None:
    """Draw the loss of each pass beside ``loss.csv``."""
    learnt = [model for model in models if model.detector.history_.get("loss")]
    if not learnt or len(learnt) > _PICTURES:
        return
    from dqmroot.plot import plot_loss, save_figure

    for model in learnt:
        figure = plot_loss(model.detector.history_, title=model.me)
        save_figure(figure, folder / folder_name(model.me) / "loss.png")


def score_files(
    files: Sequence[str], model_folder: str | Path, out: str | Path, *, report: Report | None = None, **select: Any
) -> Outcome:
    """Score files with all models of a folder and write a table: run, lumi, me, score, threshold, flag.

    Raises:
        InputError: None of the files can be read.
    """
    check_suffix(out)
    _check_target(Path(out).parent)
    models = read_models(model_folder)
    paths = expand(files)
    series, errors = _read_for(models, paths, select, report)
    parts = []
    for model in models:
        me = series[model.me]
        score = model.score(me)
        point = model.working_point
        cut = float("nan") if point is None else point.threshold
        flag = np.full(len(me), -1, np.int8) if point is None else point.flag(score)
        names = np.full(len(me), model.me)
        parts.append(ScoreTable(me.run, me.lumi, names, score, np.full(len(me), cut), flag))
    table = join(parts)
    write_scores(out, table)
    manifest = Path(f"{out}.manifest.json")
    summary = {"rows": len(table), "flagged": int((table.flag == 1).sum()), "not_judged": int((table.flag < 0).sum())}
    told = {**summary, "outside_training": _outside(models, np.unique(table.run).tolist())}
    _write_manifest(manifest, "score", paths, errors, told)
    return Outcome((Path(out), manifest), errors, summary)


def certify_files(
    files: Sequence[str],
    model_folder: str | Path,
    out: str | Path,
    *,
    dataset: str = DEFAULT_DATASET,
    rule: str = "any",
    dcs: Mask | None = None,
    report: Report | None = None,
    **select: Any,
) -> tuple[Certification, Outcome]:
    """Certify files with all models of a folder; write the JSON files and one DQM GUI file per run.

    LS that are not in ``dcs``, the DCS-only JSON, are listed as not judged: the detector was off.

    Raises:
        InputError: None of the files can be read.
        UsageError: A dataset name that the GUI does not take.
    """
    check_dataset(dataset)
    folder = Path(out)
    _check_target(folder)
    models = read_models(model_folder)
    combiner = load_combiner(model_folder) if rule == TRAINED else None
    on = RunMask.from_json(Path(dcs)) if isinstance(dcs, str | os.PathLike) else dcs
    paths = expand(files)
    series, errors = _read_for(models, paths, select, report)
    if report:
        report("judging", 0, 1, "")
    cert = certify(
        list(series.values()),
        models,
        rule=rule,
        combiner=combiner,
        dcs=on,
        inputs=[describe_file(path) for path in _good(paths, errors)],
    )
    outputs = [*cert.save(folder), *publish(cert, folder, dataset=dataset)]
    summary = {**cert.to_dict()["counts"], "runs": len(np.unique(cert.run)), "lumisections": len(cert)}
    manifest = folder / "manifest.json"
    told = {**summary, "outside_training": _outside(models, np.unique(cert.run).tolist())}
    _write_manifest(manifest, "certify", paths, errors, told)
    return cert, Outcome((*outputs, manifest), errors, summary)


def inject_files(
    files: Sequence[str],
    patterns: Sequence[str],
    out: str | Path,
    fault: str,
    *,
    select: Mapping[str, Any] | None = None,
    report: Report | None = None,
    **parameters: Any,
) -> Outcome:
    """Put a fault into series and write them to HDF5, with their clean twins, the truth, and labels.

    The file holds each faulty series under its own name, the clean twin as ``clean/<name>`` and the bins that the fault was put
    into as ``truth/<name>`` (1 where it was). Beside it, ``<out>.labels.csv`` has run, lumi, good (0 where any is faulty) and kind.

    Args:
        files: Files of any kind that `dqmroot.read` takes.
        patterns: Names or patterns of MEs.
        out: HDF5 file.
        fault: Name of the fault.
        select: Selection of LS, as `dqmroot.read` takes it.
        report: Called for each ME.
        parameters: As `dqmroot.inject` takes them.

    Raises:
        DQMError: As `dqmroot.errors` draws it.
    """
    if Path(out).suffix not in {".h5", ".hdf5"}:
        raise UnknownNameError(
            "file ending of an injected series", Path(out).suffix or Path(out).name, (".h5", ".hdf5")
        )
    _check_fault(fault, **parameters)
    _check_target(Path(out).parent)
    paths = expand(files)
    found = arrays(paths, patterns, **(select or {}))
    written, faulty, lumisections = [], [], []
    for i, name in enumerate(found.names):
        if report:
            report("injecting", i, len(found.names), name)
        bad = inject(found.series(name), fault, **parameters)
        assert bad.clean is not None
        written += [bad.series, bad.clean.replace(name=f"clean/{name}"), _truth_of(bad)]
        faulty.append(bad.keys[bad.faulty])
        lumisections.append(bad.keys)
    if not written:
        raise EmptySelectionError(f"{', '.join(patterns)}: no lumisection left after selection")
    record = {"fault": fault, **parameters}
    write_series(out, written, [*map(describe_file, paths), {"injected": record}])
    keys = np.unique(np.concatenate(lumisections))
    bad_keys = np.unique(np.concatenate(faulty))
    kind = _kind(fault, parameters)
    good = ~np.isin(keys, bad_keys)
    rows = [
        f"{int(key) >> 32},{int(key) & 0xFFFFFFFF},{int(well)},{'' if well else kind}"
        for key, well in zip(keys, good, strict=True)
    ]
    labels = Path(f"{out}.labels.csv")
    write_text(labels, "\n".join(["run,lumi,good,kind", *rows]) + "\n")
    summary = {"mes": found.names, "lumisections": len(keys), "faulty": len(bad_keys), **record}
    return Outcome((Path(out), labels), (), summary)


def _kind(fault: str, parameters: Mapping[str, Any]) -> str:
    """Return a short name of a fault with its size and strength."""
    size = parameters.get("size")
    text = size if size is None or isinstance(size, int) else "×".join(map(str, size))
    told = [fault, text or parameters.get("where"), parameters.get("amount")]
    return " ".join(str(part) for part in told if part is not None).replace(",", ";")


def _check_fault(fault: str, **parameters: Any) -> None:
    """Find a fault or parameter that does not exist before any file is read."""
    if fault not in FAULTS:
        raise UnknownNameError("fault", fault, FAULTS)
    known = [*inspect.signature(inject).parameters][2:]
    for key in parameters:
        if key not in known:
            raise UnknownNameError("parameter", key, known, f"fault {fault}")


def _truth_of(bad: Injected) -> MonitorElement:
    """Return the bins that a fault was put into as a series of its own: 1 where it was."""
    contents = np.zeros(bad.contents.shape, np.float32)
    bad.view(contents)[...] = bad.truth
    entries = bad.truth.reshape(len(bad), -1).sum(axis=1)
    name, storage = f"truth/{bad.name}", f"TH{len(bad.axes)}F"
    return MonitorElement(name, storage, bad.axes, bad.run, bad.lumi, entries, contents, title=bad.title)


def default_preparation(me: MonitorElement, made: Detector) -> Preparation:
    """Choose steps: 1-D keeps its flow bins; a map is rebinned by twos for a dense network until it fits.

    A detector that needs to know the statistics gets counts, any other histograms of one size.
    """
    counts = made.input == "counts"
    if len(me.axes) == 1:
        return Preparation.parse("include_flow" if counts else "include_flow normalise(integral)")
    factors = [1] * len(me.axes)
    if isinstance(made, detector_class("dense_autoencoder")):
        bins = [axis.nbins for axis in me.axes]
        while np.prod(bins) > 2048 and any(n % 2 == 0 for n in bins):
            for i, n in enumerate(bins):
                if n % 2 == 0 and np.prod(bins) > 2048:
                    bins[i], factors[i] = n // 2, factors[i] * 2
    rebin = f"rebin({','.join(map(str, factors))}) " if max(factors) > 1 else ""
    return Preparation.parse(rebin if counts else f"{rebin}normalise(maximum)")


def _read_for(
    models: Sequence[Model], paths: Sequence[str], select: Mapping[str, Any], report: Report | None
) -> tuple[dict[str, MonitorElement], tuple[InputError, ...]]:
    """Read the MEs of the models from all files that can be read."""
    errors: list[InputError] = []
    if report:
        report("reading", 0, 1, f"{len(paths)} files")
    try:
        found = arrays(paths, [model.me for model in models], errors=errors, **select)
    except UnknownNameError:
        # Files that cannot be read hold no names: that is what to tell then.
        _raise_if_none(paths, errors)
        raise
    _raise_if_none(paths, errors)
    left = [model.me for model in models if model.me not in found.names]
    if left:
        raise EmptySelectionError(f"{', '.join(left)}: no lumisection left after selection")
    return {name: found.series(name) for name in found.names}, tuple(errors)


def _outside(models: Sequence[Model], runs: Sequence[int]) -> dict[str, list[int]]:
    """Return ME → the runs that lie outside those that its model has learnt from."""
    found = {model.me: model.sample.outside(runs) for model in models if model.sample}
    return {me: outside for me, outside in found.items() if outside}


def _raise_if_none(paths: Sequence[str], errors: Sequence[InputError]) -> None:
    """Raise where not one of the files could be read."""
    if len(errors) == 1 == len(paths):
        raise errors[0]
    if len(errors) == len(paths):
        raise InputError(errors[0].path, f"{errors[0].what} (and {len(errors) - 1} more files that cannot be read)")


def _good(paths: Sequence[str], errors: Sequence[InputError]) -> list[str]:
    broken = {error.path for error in errors}
    return [path for path in paths if path not in broken]


def _progress(report: Report | None, what: str) -> Callable[[int, int, str], None] | None:
    return None if report is None else lambda done, total, text: report(what, done, total, text)


def _check_target(folder: Path) -> None:
    """Find out before the work, not after it, that the output cannot be written."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise OutputError(f"{folder}: cannot be written: {place} is not a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: cannot be written: no permission in {place}")


def _write_manifest(
    path: Path, what: str, paths: Sequence[str], errors: Sequence[InputError], summary: Mapping[str, Any]
) -> None:
    """Write what was asked and read, and which inputs failed, one row each."""
    text = {
        "schema_version": SCHEMA_VERSION,
        "dqmroot_version": __version__,
        "step": what,
        "inputs": [describe_file(good) for good in _good(paths, errors)],
        "errors": [{"path": error.path, "error": str(error)} for error in errors],
        "summary": dict(summary),
    }
    write_text(path, json.dumps(text, indent=1) + "\n")
