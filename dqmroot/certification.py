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
from dqmroot.combine import TRAINED, Combiner, combine_flags
from dqmroot.conditions import detector_on
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
from dqmroot.selection import Mask, Selection
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
        off: ``(n,)`` bool, where the detector was off; such LS are not judged. Not kept in files, where the reasons tell it.
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
    off: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if self.off is None:
            object.__setattr__(self, "off", np.zeros(len(self.run), np.bool_))
        if self.bad_bins is None:
            object.__setattr__(self, "bad_bins", np.full(len(self.run), NOT_JUDGED, np.int32))

    @property
    def keys(self) -> NDArray[np.uint64]:
        """``(n,)`` uint64, ``run << 32 | lumi``."""
        return (self.run.astype(np.uint64) << np.uint64(32)) | self.lumi


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
    combiner: Combiner | None = None,
    dcs: Mask | None = None,
    inputs: Sequence[Mapping[str, Any]] = (),
) -> Certification:
    """Judge lumisections with one model per monitoring element.

    An LS in which the detector was off is not judged: one that is not in ``dcs``, or in which a DCS bit of the subsystem, where
    the series has such conditions, is not 1 (`dqmroot.detector_on`).

    Args:
        series: The data, one series per ME, in any order; LS in any order, none twice.
        models: Models with working points, one per ME.
        rule: ``"any"`` (one flagged ME makes the LS bad), ``"at_least_2"`` …, ``"all"``, or ``"trained"``: by the combiner.
        combiner: What joins the scores of all MEs to one probability, for the rule ``"trained"``.
        dcs: DCS-only JSON, a file or a `RunMask`: the LS with the detector on.
        inputs: Descriptions of the files, kept in the result.

    Raises:
        InputError: The DCS-only JSON cannot be read.
        UnknownNameError: A model for which there is no series.
        UsageError: A model without working point, an LS twice, an impossible rule.

    Examples:
        >>> cert = dq.certify(new, model)
        >>> int((cert.verdict == 1).sum()) > 0
        True
    """
    given = [series] if isinstance(series, MonitorElement) else list(series)
    asked = list(models) if isinstance(models, Sequence) else [models]
    for model in asked:
        if not isinstance(model, Model):
            kind = type(model).__name__  # type: ignore[unreachable]
            raise UsageError(
                f"certify takes models, not {kind}; dqmroot.Model(prepare=…, detector=…).train(good) makes one"
            )
    by_name = {me.name: me for me in given}
    for model in asked:
        if model.me not in by_name:
            raise UnknownNameError("monitoring element", model.me, by_name, "the data given to certify")
    on = None if dcs is None else Selection.of(dcs=dcs)
    results = tuple(judge(by_name[model.me], model, on) for model in asked)
    described = {model.me: model.describe() for model in asked}
    return combine(results, rule=rule, combiner=combiner, models=described, inputs=inputs)


def combine(
    results: Sequence[MEResult],
    *,
    rule: str = "any",
    combiner: Combiner | None = None,
    models: Mapping[str, Any] | None = None,
    inputs: Sequence[Mapping[str, Any]] = (),
    lumis: NDArray[np.uint64] | None = None,
) -> Certification:
    """Make one verdict per LS from the results of several MEs; an LS that no ME judged is not judged.

    Args:
        results: One per ME.
        rule: As `certify` has it.
        combiner: As `certify` has it.
        models: Kept in the result.
        inputs: Kept in the result.
        lumis: LS ``run << 32 | lumi`` that get a verdict even where no ME has them.
    """
    if not results:
        raise UsageError("nothing to certify: no model was given")
    parts = [result.keys for result in results]
    keys = np.unique(np.concatenate(parts if lumis is None else [*parts, lumis]))
    flags = np.full((len(results), len(keys)), NOT_JUDGED, np.int8)
    reasons: list[list[str]] = [[] for _ in keys]
    for row, result in zip(flags, results, strict=True):
        at = np.searchsorted(keys, result.keys)
        row[at] = result.flag
        assert result.off is not None
        columns = (at.tolist(), result.flag.tolist(), result.score.tolist(), result.off.tolist())
        for i, flag, score, off in zip(*columns, strict=True):
            if flag == BAD:
                reasons[i].append(f"{result.me}: score {score:.4g} above {result.threshold:.4g}")
            elif flag == NOT_JUDGED:
                why = "empty or not a number" if np.isnan(score) else result.note or "no working point"
                why = "detector off" if off else why
                reasons[i].append(f"{result.me}: not judged, {why}")
        absent = np.ones(len(keys), np.bool_)
        absent[at] = False
        for i in np.flatnonzero(absent).tolist():
            reasons[i].append(f"{result.me}: not judged, no histogram in this LS")
    verdict = _trained(results, keys, combiner, reasons) if rule == TRAINED else combine_flags(flags, rule)
    return Certification(
        run=(keys >> np.uint64(32)).astype(np.uint32),
        lumi=(keys & np.uint64(0xFFFFFFFF)).astype(np.uint32),
        verdict=verdict,
        reasons=tuple(map(tuple, reasons)),
        mes=tuple(results),
        rule=rule,
        models=dict(models or {}),
        inputs=tuple(dict(entry) for entry in inputs),
    )


def _trained(
    results: Sequence[MEResult], keys: NDArray[np.uint64], combiner: Combiner | None, reasons: list[list[str]]
) -> NDArray[np.int8]:
    """Return the verdicts of a trained combination, and tell the probability of each bad LS."""
    if combiner is None:
        raise UsageError("rule trained: there is no trained combination; train with --combine makes one")
    scores = np.full((len(combiner.mes), len(keys)), np.nan)
    by_name = {result.me: result for result in results}
    for row, me in zip(scores, combiner.mes, strict=True):
        if me not in by_name:
            raise UnknownNameError("monitoring element", me, by_name, "the trained combination")
        row[np.searchsorted(keys, by_name[me].keys)] = by_name[me].score
    verdict = combiner.flag(scores)
    for i in np.flatnonzero(verdict == BAD).tolist():
        reasons[i].append(f"all together: probability {combiner.probability(scores[:, [i]])[0]:.3g} of being bad")
    return verdict


def judge(me: MonitorElement, model: Model, on: Selection | None = None) -> MEResult:
    """Score and flag one series with its model, and keep what explains the verdict.

    Args:
        me: The series.
        model: Its model.
        on: The LS with the detector on; the conditions of the series tell it too, where it has DCS bits.

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
    off = ~detector_on(me) if on is None else ~(detector_on(me) & on.contains(me.run, me.lumi))
    look = _look(me, model, off) if model.detector.localises else _Look(np.where(off, np.nan, model.score(me)))
    score = look.score
    flag = point.flag(score)
    worst = {}
    for run in np.unique(me.run).tolist():
        rows = np.flatnonzero((me.run == run) & np.isfinite(score))
        if len(rows):
            worst[run] = _worst(me, model, score, int(rows[np.argmax(score[rows])]), look.worst_loss.get(run))
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
        mean_loss=look.mean_loss,
        bad_fraction=look.bad_fraction,
        worst=worst,
        reference=reference_by_run(me, flag),
        examples=collect_examples(me, model, score, flag),
        bad_bins=look.bad_bins,
        off=off,
    )


@dataclass(frozen=True, eq=False)
class _Look:
    """What one pass over a series gives: scores and, where the detector can say where, sums of the badness of bins."""

    score: NDArray[np.float64]
    mean_loss: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)
    bad_fraction: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)
    bad_bins: NDArray[np.int32] | None = None
    worst_loss: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)


def _look(me: MonitorElement, model: Model, off: NDArray[np.bool_]) -> _Look:
    """Score a sorted series run by run; over the judged LS of each, mean the loss per bin and count where it is bad."""
    score, bad_bins = np.full(len(me), np.nan), np.full(len(me), NOT_JUDGED, np.int32)
    mean_loss, bad_fraction, worst_loss = {}, {}, {}
    cut = np.inf if model.bin_cut is None else model.bin_cut
    for run in np.unique(me.run).tolist():
        begin, end = np.searchsorted(me.run, [run, run + 1]).tolist()
        total, above, n, most = np.zeros(me.bins), np.zeros(me.bins), 0, -np.inf
        block = end - begin if model.spans_lumis else _BLOCK
        for start in range(begin, end, block):
            part = slice(start, min(end, start + block))
            score[part], loss = model.score_with_bins(me[part])
            score[part][off[part]] = np.nan
            judged = np.isfinite(score[part])
            if not judged.any():
                continue
            loss, found = (loss, score[part]) if judged.all() else (loss[judged], score[part][judged])
            if found.max() > most:
                most, worst_loss[run] = found.max(), loss[found.argmax()].copy()
            n += len(loss)
            total += loss.sum(axis=0)
            if model.bin_cut is not None:
                bad = loss > cut
                above += bad.sum(axis=0)
                bad_bins[np.flatnonzero(judged) + start] = bad.sum(axis=tuple(range(1, bad.ndim)))
        if n:
            mean_loss[run] = total / n
            if model.bin_cut is not None:
                bad_fraction[run] = above / n
    return _Look(score, mean_loss, bad_fraction, bad_bins, worst_loss)


def _worst(
    me: MonitorElement, model: Model, score: NDArray[np.float64], at: int, loss: NDArray[np.float64] | None
) -> WorstLS:
    row = np.array([at])
    return WorstLS(
        lumi=int(me.lumi[at]),
        score=float(score[at]),
        original=me[row].values()[0],
        reconstruction=model.reconstruct_at(me, row)[0] if model.detector.reconstructs else None,
        loss=loss,
    )
