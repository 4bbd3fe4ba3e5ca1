"""The verdict: good, bad or not judged for each lumisection, with the reasons."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot._version import __version__
from dqmroot.combine import combine_flags
from dqmroot.display import card, strip_picture
from dqmroot.errors import InputError, UnknownNameError, UsageError
from dqmroot.examples import (
    Examples,
    WorstLS,
    collect_examples,
    read_pictures,
    reference_by_run,
    write_pictures,
)
from dqmroot.files import json_by_line, write_text
from dqmroot.model import Model
from dqmroot.runs import RunMask
from dqmroot.series import Axis, MonitorElement

__all__ = ["BAD", "GOOD", "NOT_JUDGED", "Certification", "MEResult", "WorstLS", "certify", "load_certification"]

GOOD, BAD, NOT_JUDGED = 0, 1, -1

SCHEMA_VERSION = 1

_BLOCK = 512  # LS whose loss maps are held at a time


@dataclass(frozen=True, eq=False)
class MEResult:
    """What one model said of one monitoring element, over all its LS.

    Args:
        me: Name of the monitoring element.
        storage: Its ROOT class.
        axes: Its own axes.
        run: ``(n,)`` uint32.
        lumi: ``(n,)`` uint32.
        score: ``(n,)`` float64; NaN is not judged.
        flag: ``(n,)`` int8: 1 bad, 0 good, -1 not judged.
        threshold: The cut; NaN where there is none.
        note: What to know about the cut; may be empty.
        expected_false_rate: Share of good LS expected to be flagged; NaN where there is no cut.
        mean_loss: Run → ``(…, y, x)`` mean badness per bin over the judged LS; empty where the detector cannot say where.
        bad_fraction: Run → ``(…, y, x)`` share of judged LS in which the bin lies above the bin cut; may be empty.
        worst: Run → its worst LS.
        reference: Run → ``(…, y, x)`` mean of its good LS, or of those of all runs where it has none; may be empty.
        examples: Bad LS and their neighbours with pictures; ``None`` where none is bad.
        bad_bins: ``(n,)`` int32, number of bins above the bin cut; -1 where the LS or its bins were not judged.
    """

    me: str
    storage: str
    axes: tuple[Axis, ...]
    run: NDArray[np.uint32]
    lumi: NDArray[np.uint32]
    score: NDArray[np.float64]
    flag: NDArray[np.int8]
    threshold: float
    note: str = ""
    expected_false_rate: float = float("nan")
    mean_loss: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)
    bad_fraction: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)
    worst: Mapping[int, WorstLS] = field(default_factory=dict)
    reference: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)
    examples: Examples | None = None
    bad_bins: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        if self.bad_bins is None:
            object.__setattr__(self, "bad_bins", np.full(len(self.run), NOT_JUDGED, np.int32))


@dataclass(frozen=True, eq=False)
class Certification:
    """One verdict per lumisection.

    Args:
        run: ``(n,)`` uint32, with `lumi` sorted and unique.
        lumi: ``(n,)`` uint32.
        verdict: ``(n,)`` int8: 0 good, 1 bad, -1 not judged.
        reasons: Why an LS is bad or not judged, one tuple of texts per LS.
        mes: The single results.
        rule: How they were combined.
        models: What judged: ME → description.
        inputs: What was read, one description per file.

    Examples:
        >>> len(cert), sorted(set(cert.verdict.tolist()))
        (50, [0, 1])
    """

    run: NDArray[np.uint32]
    lumi: NDArray[np.uint32]
    verdict: NDArray[np.int8]
    reasons: tuple[tuple[str, ...], ...]
    mes: tuple[MEResult, ...]
    rule: str = "any"
    models: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[Mapping[str, Any], ...] = ()

    def __len__(self) -> int:
        return len(self.run)

    def __repr__(self) -> str:
        counts = ", ".join(f"{int((self.verdict == v).sum())} {name}" for v, name in _NAMES.items())
        return f"<Certification of {len(self)} LS in {len(np.unique(self.run))} runs by {len(self.mes)} MEs: {counts}>"

    def _repr_html_(self) -> str:
        rows = {name: int((self.verdict == v).sum()) for v, name in _NAMES.items()}
        rows |= {f"flagged by {one.me}": int((one.flag == BAD).sum()) for one in self.mes}
        return card(f"Certification of {len(self)} LS, rule {self.rule}", rows, strip_picture(self.verdict))

    def mask(self, verdict: int) -> RunMask:
        """Return the LS of one verdict (`GOOD`, `BAD`, `NOT_JUDGED`) as a run mask."""
        chosen = self.verdict == verdict
        return RunMask.from_lumis(self.run[chosen], self.lumi[chosen])

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready content of ``certification.json``, without the header that publishing adds."""
        lumisections = [
            {"run": run, "lumi": lumi, "verdict": _NAMES[verdict], "reasons": list(reasons)}
            for run, lumi, verdict, reasons in zip(
                self.run.tolist(), self.lumi.tolist(), self.verdict.tolist(), self.reasons, strict=True
            )
        ]
        return {
            "rule": self.rule,
            "counts": {name: int((self.verdict == verdict).sum()) for verdict, name in _NAMES.items()},
            "models": dict(self.models),
            "mes": [_me_to_dict(result) for result in self.mes],
            "lumisections": lumisections,
            "inputs": [dict(entry) for entry in self.inputs],
        }

    def to_dials(self) -> dict[str, Any]:
        """Return the bad LS as DIALS gives its ``cert-json``: run → LS → the models that flagged it, with their score."""
        out: dict[str, dict[str, list[dict[str, Any]]]] = {str(run): {} for run in np.unique(self.run).tolist()}
        for i, result in enumerate(self.mes):
            rows = result.flag == BAD
            columns = (result.run[rows].tolist(), result.lumi[rows].tolist(), result.score[rows].tolist())
            for run, lumi, score in zip(*columns, strict=True):
                told = {"model_id": i, "me_id": i, "filename": "", "me": result.me, "mse": score}
                out[str(run)].setdefault(str(lumi), []).append(told)
        return {run: dict(sorted(by_lumi.items(), key=lambda item: int(item[0]))) for run, by_lumi in out.items()}

    def save(self, folder: str | Path) -> list[Path]:
        """Write the certification, readable by machines, people and `load_certification`.

        ``certification.json`` and ``pictures.npz`` hold all of it; ``golden.json``, ``bad.json`` and ``not_judged.json`` are
        plain run → LS ranges; ``dials.json`` has the shape of DIALS' list of bad LS.

        Returns:
            The files written.

        Raises:
            OutputError: The folder cannot be written.
        """
        head = {"schema_version": SCHEMA_VERSION, "dqmroot_version": __version__}
        texts = {
            "certification.json": json_by_line({**head, **self.to_dict()}),
            "golden.json": self.mask(GOOD).to_json(),
            "bad.json": self.mask(BAD).to_json(),
            "not_judged.json": self.mask(NOT_JUDGED).to_json(),
            "dials.json": json.dumps(self.to_dials(), allow_nan=False) + "\n",
        }
        place = Path(folder)
        write_pictures(place / _PICTURES, self.mes)
        for name, text in texts.items():
            write_text(place / name, text)
        return [*(place / name for name in texts), place / _PICTURES]


_PICTURES = "pictures.npz"

_NAMES = {GOOD: "good", BAD: "bad", NOT_JUDGED: "not judged"}
_VERDICTS = {name: verdict for verdict, name in _NAMES.items()}


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _me_to_dict(result: MEResult) -> dict[str, Any]:
    return {
        "me": result.me,
        "storage": result.storage,
        "axes": [axis.to_dict() for axis in result.axes],
        "threshold": _number(result.threshold),
        "note": result.note,
        "expected_false_rate": _number(result.expected_false_rate),
        "judged": int((result.flag >= 0).sum()),
        "flagged": int((result.flag == BAD).sum()),
        "not_judged": int((result.flag < 0).sum()),
        "run": result.run.tolist(),
        "lumi": result.lumi.tolist(),
        "score": [_number(score) for score in result.score.tolist()],
        "flag": result.flag.tolist(),
    }


def load_certification(path: str | Path) -> Certification:
    """Read what `Certification.save` wrote.

    Args:
        path: The folder, or its ``certification.json``. Without ``pictures.npz`` beside it, the result has no pictures.

    Raises:
        InputError: Missing, damaged, or written by a later dqmroot.

    Examples:
        >>> written = cert.save("out")
        >>> len(dq.load_certification("out"))
        50
    """
    given = Path(path)
    file = given / "certification.json" if given.is_dir() else given
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        if data["schema_version"] > SCHEMA_VERSION:
            raise InputError(file, f"format {data['schema_version']} of a later dqmroot; known is {SCHEMA_VERSION}")
        lumisections = data["lumisections"]
        mes = [_me_from_dict(one) for one in data["mes"]]
        pictures = read_pictures(file.with_name(_PICTURES), mes)
        return Certification(
            run=np.array([row["run"] for row in lumisections], np.uint32),
            lumi=np.array([row["lumi"] for row in lumisections], np.uint32),
            verdict=np.array([_VERDICTS[row["verdict"]] for row in lumisections], np.int8),
            reasons=tuple(tuple(map(str, row["reasons"])) for row in lumisections),
            mes=tuple(replace(result, **fields) for result, fields in zip(mes, pictures, strict=True)),
            rule=str(data["rule"]),
            models=data["models"],
            inputs=tuple(data["inputs"]),
        )
    except OSError as error:
        raise InputError(error.filename or file, error.strerror or str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(file, f"does not hold a certification: {type(error).__name__} {error}") from error


def _me_from_dict(data: Mapping[str, Any]) -> MEResult:
    return MEResult(
        me=str(data["me"]),
        storage=str(data["storage"]),
        axes=tuple(map(Axis.from_dict, data["axes"])),
        run=np.array(data["run"], np.uint32),
        lumi=np.array(data["lumi"], np.uint32),
        score=np.array([np.nan if x is None else x for x in data["score"]], np.float64),
        flag=np.array(data["flag"], np.int8),
        threshold=_or_nan(data["threshold"]),
        note=str(data["note"]),
        expected_false_rate=_or_nan(data["expected_false_rate"]),
    )


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def certify(
    series: MonitorElement | Sequence[MonitorElement],
    models: Model | Sequence[Model],
    *,
    rule: str = "any",
    inputs: Sequence[Mapping[str, Any]] = (),
) -> Certification:
    """Judge lumisections with one model per monitoring element.

    Args:
        series: The data, one series per ME, in any order; LS in any order, none twice.
        models: Models with working points, one per ME.
        rule: ``"any"`` (one flagged ME makes the LS bad), ``"at_least_2"`` …, or ``"all"``.
        inputs: Descriptions of the files, kept in the result.

    Raises:
        UnknownNameError: A model for which there is no series.
        UsageError: A model without working point, an LS twice, an impossible rule.

    Examples:
        >>> cert = dq.certify(new, model)
        >>> int((cert.verdict == 1).sum()) > 0
        True
    """
    given = [series] if isinstance(series, MonitorElement) else list(series)
    asked = [models] if isinstance(models, Model) else list(models)
    by_name = {me.name: me for me in given}
    for model in asked:
        if model.me not in by_name:
            raise UnknownNameError("monitoring element", model.me, by_name, "the data given to certify")
    results = tuple(judge(by_name[model.me], model) for model in asked)
    return combine(results, rule=rule, models={model.me: model.describe() for model in asked}, inputs=inputs)


def combine(
    results: Sequence[MEResult],
    *,
    rule: str = "any",
    models: Mapping[str, Any] | None = None,
    inputs: Sequence[Mapping[str, Any]] = (),
) -> Certification:
    """Make one verdict per LS from the results of several MEs; an LS that no ME judged is not judged."""
    if not results:
        raise UsageError("nothing to certify: no model was given")
    keys = np.unique(np.concatenate([_keys(result) for result in results]))
    flags = np.full((len(results), len(keys)), NOT_JUDGED, np.int8)
    reasons: list[list[str]] = [[] for _ in keys]
    for row, result in zip(flags, results, strict=True):
        at = np.searchsorted(keys, _keys(result))
        row[at] = result.flag
        for i, flag, score in zip(at.tolist(), result.flag.tolist(), result.score.tolist(), strict=True):
            if flag == BAD:
                reasons[i].append(f"{result.me}: score {score:.4g} above {result.threshold:.4g}")
            elif flag == NOT_JUDGED:
                why = "empty or not a number" if np.isnan(score) else result.note or "no working point"
                reasons[i].append(f"{result.me}: not judged, {why}")
        absent = np.ones(len(keys), np.bool_)
        absent[at] = False
        for i in np.flatnonzero(absent).tolist():
            reasons[i].append(f"{result.me}: not judged, no histogram in this LS")
    return Certification(
        run=(keys >> np.uint64(32)).astype(np.uint32),
        lumi=(keys & np.uint64(0xFFFFFFFF)).astype(np.uint32),
        verdict=combine_flags(flags, rule),
        reasons=tuple(map(tuple, reasons)),
        mes=tuple(results),
        rule=rule,
        models=dict(models or {}),
        inputs=tuple(dict(entry) for entry in inputs),
    )


def judge(me: MonitorElement, model: Model) -> MEResult:
    """Score and flag one series with its model, and keep what explains the verdict.

    Raises:
        UsageError: No working point, or an LS twice.
        ModelMismatchError: The model is of another ME or other bins.
    """
    point = model.working_point
    if point is None:
        raise UsageError(f"{model.me}: the model has no working point; call set_working_point first")
    me = me.sort()
    if len(np.unique(me.keys)) != len(me):
        raise UsageError(f"{me.name}: the same lumisection stands in the series twice")
    score = model.score(me)
    flag = point.flag(score)
    mean_loss, bad_fraction, worst = {}, {}, {}
    bad_bins = np.full(len(me), NOT_JUDGED, np.int32)
    for run in np.unique(me.run).tolist():
        rows = np.flatnonzero((me.run == run) & np.isfinite(score))
        if len(rows) == 0:
            continue
        if model.detector.localises:
            mean_loss[run], share, counts = _loss_summary(me, model, rows)
            if share is not None and counts is not None:
                bad_fraction[run], bad_bins[rows] = share, counts
        worst[run] = _worst(me, model, score, int(rows[np.argmax(score[rows])]))
    return MEResult(
        me=me.name,
        storage=me.storage,
        axes=me.axes,
        run=me.run,
        lumi=me.lumi,
        score=score,
        flag=flag,
        threshold=point.threshold,
        note=point.note,
        expected_false_rate=point.expected_false_rate,
        mean_loss=mean_loss,
        bad_fraction=bad_fraction,
        worst=worst,
        reference=reference_by_run(me, flag),
        examples=collect_examples(me, model, score, flag),
        bad_bins=bad_bins,
    )


def _loss_summary(
    me: MonitorElement, model: Model, rows: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.int32] | None]:
    """Return, over the LS ``rows``, the mean loss per bin, the share of LS in which a bin is bad, and bad bins per LS."""
    total = np.zeros(me.bins)
    above = np.zeros(me.bins)
    counts = np.zeros(len(rows), np.int32)
    block = len(rows) if model.spans_lumis else _BLOCK
    for start in range(0, len(rows), block):
        loss = model.score_bins_at(me, rows[start : start + block])
        total += loss.sum(axis=0)
        if model.bin_cut is not None:
            bad = loss > model.bin_cut
            above += bad.sum(axis=0)
            counts[start : start + block] = bad.reshape(len(bad), -1).sum(axis=1)
    if model.bin_cut is None:
        return total / len(rows), None, None
    return total / len(rows), above / len(rows), counts


def _worst(me: MonitorElement, model: Model, score: NDArray[np.float64], at: int) -> WorstLS:
    row = np.array([at])
    return WorstLS(
        lumi=int(me.lumi[at]),
        score=float(score[at]),
        original=me[row].values()[0],
        reconstruction=model.reconstruct_at(me, row)[0] if model.detector.reconstructs else None,
        loss=model.score_bins_at(me, row)[0] if model.detector.localises else None,
    )


def _keys(result: MEResult) -> NDArray[np.uint64]:
    return (result.run.astype(np.uint64) << np.uint64(32)) | result.lumi
