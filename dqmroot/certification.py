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
from dqmroot.display import card, strip_picture
from dqmroot.errors import InputError, UnknownNameError, UsageError
from dqmroot.examples import read_pictures, write_pictures
from dqmroot.files import json_by_line, write_text
from dqmroot.judgement import BAD, GOOD, NOT_JUDGED, MEResult, judge, result_from_dict, result_to_dict
from dqmroot.model import Model
from dqmroot.runs import RunMask
from dqmroot.selection import Mask, Selection
from dqmroot.series import MonitorElement

__all__ = ["Certification", "certify", "combine", "load_certification"]

SCHEMA_VERSION = 1


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
            "mes": [result_to_dict(result) for result in self.mes],
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
        mes = [result_from_dict(one) for one in data["mes"]]
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
    by_name = {me.name: me for me in given}
    for model in asked:
        if not isinstance(model, Model):
            raise UsageError(f"certify takes models, not {type(model).__name__}: dqmroot.Model(…).train(good)")
        if model.me not in by_name:
            raise UnknownNameError("monitoring element", model.me, by_name, "the data given to certify")
    on = None if dcs is None else Selection.of(dcs=dcs)
    results = tuple(judge(by_name[model.me], model, on) for model in asked)
    told = {model.me: model.describe() for model in asked}
    return combine(results, rule=rule, combiner=combiner, models=told, inputs=inputs)


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
