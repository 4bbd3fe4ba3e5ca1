"""What the page says: the overview, and one run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot._version import __version__
from dqmroot.certification import Certification
from dqmroot.conditions import Conditions
from dqmroot.judgement import BAD, GOOD, NOT_JUDGED, MEResult
from dqmroot.publication import me_folder
from dqmroot.reports.packing import pack, round_digits
from dqmroot.runs import RunMask

__all__ = ["overview", "run_content"]

_MOST_INPUTS = 2000

# States of one ME in one LS; the page knows them by these numbers.
NO_SCORE, NO_CUT, ABSENT = 2, 3, 4


def overview(cert: Certification, title: str = "") -> dict[str, Any]:
    """Return what the page shows before a run is chosen: runs, monitoring elements, models and inputs."""
    runs = np.unique(cert.run).tolist()
    span = f"Run {runs[0]}" if len(runs) == 1 else f"Runs {runs[0]} to {runs[-1]}"
    return {
        "title": title or f"Certification of {span[0].lower()}{span[1:]}",
        "version": __version__,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "rule": cert.rule,
        "runs": [_run_line(cert, run) for run in runs],
        "mes": [_me_line(cert, result) for result in cert.mes],
        "inputs": [{key: str(value) for key, value in entry.items()} for entry in cert.inputs[:_MOST_INPUTS]],
        "n_inputs": len(cert.inputs),
    }


def _run_line(cert: Certification, run: int) -> dict[str, Any]:
    rows = cert.run == run
    verdict, lumi = cert.verdict[rows], cert.lumi[rows]
    return {
        "run": run,
        "first": int(lumi.min()),
        "last": int(lumi.max()),
        "good": int((verdict == GOOD).sum()),
        "bad": int((verdict == BAD).sum()),
        "not_judged": int((verdict == NOT_JUDGED).sum()),
    }


def _me_line(cert: Certification, result: MEResult) -> dict[str, Any]:
    model = cert.models.get(result.me, {})
    return {
        "name": result.me,
        "storage": result.storage,
        "bins": [axis.nbins for axis in result.axes],
        "threshold": _number(result.threshold),
        "note": result.note,
        "expected_false_rate": _number(result.expected_false_rate),
        "good": int((result.flag == GOOD).sum()),
        "bad": int((result.flag == BAD).sum()),
        "not_judged": int((result.flag == NOT_JUDGED).sum()),
        "root": me_folder(result.me),
        "model": {key: value for key, value in model.items() if key not in {"me", "axes"}},
    }


def run_content(
    cert: Certification, run: int, conditions: Conditions | None = None, dcs: RunMask | None = None
) -> dict[str, Any]:
    """Return one run: verdicts and reasons per LS, state and score per ME and LS, and the conditions."""
    rows = cert.run == run
    lumi = cert.lumi[rows]
    state = np.full((len(cert.mes), len(lumi)), ABSENT, np.uint8)
    score = np.full(state.shape, np.nan)
    for i, result in enumerate(cert.mes):
        mine = result.run == run
        at = np.searchsorted(lumi, result.lumi[mine])
        state[i, at] = _states(result.score[mine], result.flag[mine])
        score[i, at] = result.score[mine]
    names = {result.me for result in cert.mes}
    others = {
        str(i): told
        for i, row in enumerate(np.flatnonzero(rows).tolist())
        if (told := [reason for reason in cert.reasons[row] if not _is_of_me(reason, names)])
    }
    return {
        "run": run,
        "lumi": pack(lumi.astype(np.uint32)),
        "verdict": pack(cert.verdict[rows].astype(np.int8)),
        "state": pack(state),
        "score": pack(round_digits(score)),
        "reasons": others,
        "lanes": _lanes(run, lumi, conditions, dcs),
    }


def _states(score: NDArray[np.float64], flag: NDArray[np.int8]) -> NDArray[np.uint8]:
    not_judged = np.where(np.isnan(score), NO_SCORE, NO_CUT)
    return np.where(flag == NOT_JUDGED, not_judged, flag).astype(np.uint8)


def _is_of_me(reason: str, names: set[str]) -> bool:
    """Tell whether a reason only says what the state and score of an ME say as well."""
    return any(reason.rpartition(words)[0] in names for words in (": score ", ": not judged, "))


def _lanes(
    run: int, lumi: NDArray[np.uint32], conditions: Conditions | None, dcs: RunMask | None
) -> list[dict[str, Any]]:
    """Return the conditions of a run as lanes of the time line: bits, then numbers; what is known of no LS is left out."""
    bits, numbers = [], []
    runs = np.full(len(lumi), run, np.uint32)
    if dcs is not None:
        bits.append({"name": "DCS", "bits": pack(dcs.contains(runs, lumi).astype(np.int8))})
    for name, column in () if conditions is None else conditions.look_up(runs, lumi).items():
        if column.dtype.kind == "i" and (column >= 0).any():
            bits.append({"name": name, "bits": pack(column.astype(np.int8))})
        elif column.dtype.kind == "f" and np.isfinite(column).any():
            numbers.append({"name": name, "numbers": pack(round_digits(column))})
    return bits + numbers


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
