"""The pictures of a report, as arrays that the page draws; the most telling first, as many as there is room for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.certification import Certification
from dqmroot.judgement import BAD, MEResult
from dqmroot.reports.packing import pack_exact, pack_rough

__all__ = ["me_contents"]

_AROUND = 180  # bytes at most of what stands around the data of an array


def me_contents(cert: Certification, room: float) -> tuple[list[dict[str, Any]], int]:
    """Return what each ME shows: axes, per run the reference and mean loss, per LS original, reconstruction and loss.

    The MEs take turns, each giving its most telling picture first, until the room is used up.

    Args:
        cert: The certification.
        room: Bytes that the pictures may take in the scripts.

    Returns:
        One content per ME, and how many pictures were left out.
    """
    contents = [
        {"axes": [axis.to_dict() for axis in result.axes], "storage": result.storage, "runs": {}, "ls": {}}
        for result in cert.mes
    ]
    room -= sum(len(json.dumps(content)) for content in contents)
    waiting = [(content, _by_weight(result)) for content, result in zip(contents, cert.mes, strict=True)]
    left_out = 0
    while waiting:
        still = []
        for content, source in waiting:
            taken = next(source, None)
            if taken is None:
                continue
            part, key, arrays = taken
            still.append((content, source))
            if room <= 0:
                left_out += 1
                continue
            packed = {name: pack_exact(a) if name == "original" else pack_rough(a) for name, a in arrays.items()}
            size = sum(len(one["data"]) + _AROUND for one in packed.values())
            if size > room:
                room, left_out = 0, left_out + 1
                continue
            room -= size
            content[part][key] = packed  # type: ignore[index]
        waiting = still
    return contents, left_out


def _by_weight(result: MEResult) -> Iterator[tuple[str, str, dict[str, NDArray[Any]]]]:
    """Yield the pictures of an ME, of bad runs and bad LS first, those of runs and of LS in turn."""
    runs = {run: int(((result.run == run) & (result.flag == BAD)).sum()) for run in np.unique(result.run).tolist()}
    per_run = _of_runs(result, sorted(runs, key=lambda run: (-runs[run], run)))
    per_ls = _of_lumisections(result)
    for pair in zip_longest(per_ls, per_run):
        yield from (item for item in pair if item is not None)


def _of_runs(result: MEResult, runs: list[int]) -> Iterator[tuple[str, str, dict[str, NDArray[Any]]]]:
    for run in runs:
        maps = {"reference": result.reference, "mean_loss": result.mean_loss, "bad_fraction": result.bad_fraction}
        arrays = {name: np.asarray(by_run[run]) for name, by_run in maps.items() if run in by_run}
        if arrays:
            yield "runs", str(run), arrays


def _of_lumisections(result: MEResult) -> Iterator[tuple[str, str, dict[str, NDArray[Any]]]]:
    """Yield the bad LS, the worst first and each followed by its neighbours, then the worst LS of each run."""
    kept = result.examples
    done: set[tuple[int, int]] = set()
    if kept is not None:
        score = dict(
            zip(zip(result.run.tolist(), result.lumi.tolist(), strict=True), result.score.tolist(), strict=True)
        )
        keys = list(zip(kept.run.tolist(), kept.lumi.tolist(), strict=True))
        found = np.array([score.get(key, np.nan) for key in keys])
        for at in np.argsort(-np.where(np.isnan(found), -np.inf, found), kind="stable").tolist():
            for i in (at, at - 1, at + 1):
                if 0 <= i < len(keys) and keys[i] not in done and keys[i][0] == keys[at][0]:
                    done.add(keys[i])
                    arrays = {"original": kept.original, "reconstruction": kept.reconstruction, "loss": kept.loss}
                    run, lumi = keys[i]
                    yield "ls", f"{run}/{lumi}", {name: a[i] for name, a in arrays.items() if a is not None}
    for run, worst in sorted(result.worst.items(), key=lambda item: -item[1].score):
        if (run, worst.lumi) not in done:
            arrays = {"original": worst.original, "reconstruction": worst.reconstruction, "loss": worst.loss}
            yield "ls", f"{run}/{worst.lumi}", {name: np.asarray(a) for name, a in arrays.items() if a is not None}
