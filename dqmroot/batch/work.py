"""What a worker does: index a file, train a model, score a piece, certify a run. Paths in, files out; models are loaded once."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.batch.index import FileIndex, identity, index_once
from dqmroot.batch.results import PieceResults, load_results, merge_results, save_results
from dqmroot.certification import combine
from dqmroot.combine import TRAINED
from dqmroot.deployment import read_models
from dqmroot.errors import DQMWarning, InputError, UsageError
from dqmroot.files import whole_folder
from dqmroot.io.formats import arrays
from dqmroot.judgement import BAD, GOOD, NOT_JUDGED, MEResult, judge
from dqmroot.model import Model, load_combiner
from dqmroot.publication import publish
from dqmroot.reports import report
from dqmroot.runs import RunMask
from dqmroot.selection import Selection

__all__ = ["CertifyRun", "IndexFiles", "ScorePiece", "TrainModel", "digest"]


def digest(*parts: Any) -> str:
    """Return 32 hexadecimal digits that stand for JSON-ready data."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, repr=False)
class IndexFiles:
    """Read the ``Indices`` of some files."""

    paths: tuple[str, ...]
    folder: str
    mes: tuple[str, ...] = ()

    def __call__(self, last: bool) -> dict[str, FileIndex]:
        """Do it, and return those that could be read; where none could, the error of the first is raised."""
        del last
        found, errors = {}, []
        for path in self.paths:
            try:
                found[path] = index_once(path, self.folder, self.mes)
            except InputError as error:
                errors.append(error)
        if errors and not found:
            raise errors[0]
        return found


@dataclass(frozen=True, repr=False)
class TrainModel:
    """Train the model of one monitoring element into a folder of its own; what is there already is kept."""

    files: tuple[str, ...]
    me: str
    folder: str
    settings: Mapping[str, Any]

    def __call__(self, last: bool) -> dict[str, str]:
        """Do it, and return path → error of the files that could not be learnt from."""
        del last
        # Loaded only where it is needed: workers that score start sooner.
        from dqmroot.pipeline import train_files

        if not (Path(self.folder) / "model.json").is_file():
            train_files(self.files, [self.me], self.folder, **self.settings)
        rows = json.loads((Path(self.folder) / "manifest.json").read_text(encoding="utf-8"))["errors"]
        return {row["path"]: row["error"] for row in rows}


@dataclass(frozen=True, eq=False, repr=False)
class ScorePiece:
    """Score one piece of work and write what came of it to ``target``.

    Args:
        keys: ``(n,)`` uint64 ``run << 32 | lumi``.
        files: Path → size and time, as they were when the piece was planned.
        mes: Monitoring elements.
        models: Model folder.
        stamp: What changes when the folder does, so that a worker loads the models anew.
        target: File of the results.
        threads: Threads that inflate baskets.
        on: ``(m,)`` uint64, the LS with the detector on; ``None`` where it is not known.
    """

    keys: NDArray[np.uint64]
    files: Mapping[str, tuple[int, int]]
    mes: tuple[str, ...]
    models: str
    stamp: str
    target: str
    threads: int = 1
    on: NDArray[np.uint64] | None = None

    def __call__(self, last: bool) -> dict[str, Any]:
        """Score; a file that cannot be read is an error while there are tries left, and left out in the ``last`` one.

        Raises:
            InputError: A file cannot be read, or is not as it was planned.
        """
        errors: list[InputError] = []
        results, refused = self._judge(errors)
        if errors and not last:
            raise errors[0]
        told = tuple(sorted({error.path: str(error) for error in errors}.items()))
        # With a file left out nobody knows which LS were in it alone; else each has its verdict, even an empty one.
        parts = [series.keys for series in results] if told else [self.keys]
        keys = np.unique(np.concatenate(parts)) if parts else np.empty(0, np.uint64)
        save_results(self.target, PieceResults(tuple(results), keys, told, tuple(refused)))
        return {"errors": list(told), "refused": list(refused)}

    def _judge(self, errors: list[InputError]) -> tuple[list[MEResult], list[tuple[str, str]]]:
        files = [path for path in self.files if self._as_planned(path, errors)]
        if not files:
            return [], []
        wanted = _mask(self.keys)
        with warnings.catch_warnings():
            # That a piece lacks an ME is no news: the certification of the run tells it for each LS.
            warnings.simplefilter("ignore", DQMWarning)
            try:
                found = arrays(files, self.mes, golden=wanted, missing="warn", threads=self.threads, errors=errors)
            except InputError as error:
                errors.append(error)
                return [], []
        results, refused = [], []
        on = None if self.on is None else Selection.of(dcs=_mask(self.on))
        for me in self.mes:
            if me in found.names:
                series = found.series(me)
                # A whole run of a DQM GUI file counts as selected where any LS of it is.
                mine = np.isin(series.keys, self.keys)
                series = series if mine.all() else series[mine]
                if len(series) == 0:
                    continue
                try:
                    results.append(judge(series, _models(self.models, self.stamp)[me], on))
                except UsageError as error:
                    refused.append((me, str(error)))
        return results, refused

    def _as_planned(self, path: str, errors: list[InputError]) -> bool:
        try:
            same = identity(path) == tuple(self.files[path])
        except InputError as error:
            errors.append(error)
            return False
        if not same:
            errors.append(InputError(path, "has changed since the campaign was planned; run it again"))
        return same


def _mask(keys: NDArray[np.uint64]) -> RunMask:
    return RunMask.from_lumis(keys >> np.uint64(32), keys & np.uint64(0xFFFFFFFF))


_LOADED: dict[tuple[str, str], dict[str, Model]] = {}


def _models(folder: str, stamp: str) -> dict[str, Model]:
    """Load the models of a folder, once in each worker."""
    if (folder, stamp) not in _LOADED:
        _LOADED.clear()
        _LOADED[folder, stamp] = {model.me: model for model in read_models(folder)}
    return _LOADED[folder, stamp]


@dataclass(frozen=True, eq=False, repr=False)
class CertifyRun:
    """Put the pieces of one run together, judge it and publish it, as a folder that appears whole.

    Args:
        run: Which run.
        pieces: Files of results.
        models: Model folder.
        stamp: As in `ScorePiece`.
        mes: Monitoring elements, in the order of the result.
        folder: Output folder of the run.
        name: What stands for everything that goes in; kept in ``run.json`` so that nothing is done twice.
        dataset: ``/PD/Era/Tier``.
        rule: How monitoring elements combine.
        inputs: Descriptions of the files of the run.
        published: Whether to write the DQM GUI file and the tree of scores.
        report: Whether to write the HTML report too.
    """

    run: int
    pieces: Sequence[str]
    models: str
    stamp: str
    mes: tuple[str, ...]
    folder: str
    name: str
    dataset: str
    rule: str
    inputs: Sequence[Mapping[str, Any]] = field(default=())
    published: bool = True
    report: bool = False

    def __call__(self, last: bool) -> dict[str, Any]:
        """Do it, and return the figures of the run."""
        del last
        models = _models(self.models, self.stamp)
        parts: dict[str, list[MEResult]] = {me: [] for me in self.mes}
        keys: list[NDArray[np.uint64]] = []
        for path in self.pieces:
            piece = load_results(path)
            keys.append(piece.keys[piece.keys >> np.uint64(32) == self.run])
            for result in piece.results:
                parts[result.me].append(result)
        results = [merge_results(parts.pop(me), self.run) or _nothing(models[me]) for me in self.mes]
        cert = combine(
            results,
            rule=self.rule,
            combiner=load_combiner(self.models) if self.rule == TRAINED else None,
            models={me: models[me].describe() for me in self.mes},
            inputs=self.inputs,
            lumis=np.concatenate(keys),
        )
        counts = {
            "lumisections": len(cert),
            "good": int((cert.verdict == GOOD).sum()),
            "bad": int((cert.verdict == BAD).sum()),
            "not judged": int((cert.verdict == NOT_JUDGED).sum()),
        }
        told = {"name": self.name, "run": self.run, **counts, "mes": [_figures(r, models[r.me]) for r in results]}
        if len(cert):
            with whole_folder(self.folder) as temporary:
                cert.save(temporary)
                if self.published:
                    publish(cert, temporary, self.dataset)
                if self.report:
                    report(cert, temporary / "report")
                text = json.dumps(told, indent=1, allow_nan=False) + "\n"
                (temporary / "run.json").write_text(text, encoding="utf-8")
        return told


def _nothing(model: Model) -> MEResult:
    """The result of a monitoring element that the run does not have."""
    none = np.empty(0, np.uint32)
    return MEResult(model.me, "", model.axes, none, none, np.empty(0), np.empty(0, np.int8), float("nan"))


def _figures(result: MEResult, model: Model) -> dict[str, Any]:
    """Figures of one ME in one run, for trends over runs."""
    judged = result.flag != NOT_JUDGED
    run = [int(result.run[0])] if len(result.run) else []
    return {
        "me": result.me,
        "judged": int(judged.sum()),
        "flagged": int((result.flag == BAD).sum()),
        "median_score": float(np.median(result.score[judged])) if judged.any() else None,
        "threshold": result.threshold if np.isfinite(result.threshold) else None,
        "expected_false_rate": result.expected_false_rate if np.isfinite(result.expected_false_rate) else None,
        "outside_training": bool(model.sample and model.sample.outside(run)),
    }
