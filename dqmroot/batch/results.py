"""What models said of one piece of work, on disk: numbers and arrays only, nothing that runs code when it is read."""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import InputError, UsageError
from dqmroot.examples import MOST_BINS, MOST_LS, Examples, WorstLS, choose_examples
from dqmroot.files import whole_file
from dqmroot.judgement import BAD, GOOD, MEResult
from dqmroot.series import Axis

__all__ = ["PieceResults", "load_results", "merge_results", "read_head", "save_results"]

SCHEMA_VERSION = 2

_PER_LS = ("run", "lumi", "score", "flag", "bad_bins", "off")
_MAPS = ("mean_loss", "bad_fraction", "reference")
_PICTURES = ("original", "reconstruction", "loss")


@dataclass(frozen=True, eq=False)
class PieceResults:
    """Results of one piece.

    Args:
        results: One per monitoring element that the piece has.
        keys: ``(n,)`` uint64 ``run << 32 | lumi``, the LS that get a verdict, whether they hold anything or not.
        errors: ``(path, error)`` of each file that was left out.
        refused: ``(me, error)`` of each monitoring element that its model does not fit.
    """

    results: tuple[MEResult, ...]
    keys: NDArray[np.uint64]
    errors: tuple[tuple[str, str], ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


def save_results(path: str | Path, piece: PieceResults) -> None:
    """Write the results of a piece, whole or not at all."""
    parts: list[bytes] = []
    results = []
    for result in piece.results:
        placed = {}
        for key, array in _to_arrays(result).items():
            placed[key] = [array.dtype.str, list(array.shape)]
            parts.append(array.tobytes())
        axes = [axis.to_dict() for axis in result.axes]
        told = {"me": result.me, "storage": result.storage, "axes": axes, "note": result.note, "arrays": placed}
        results.append(told)
    head = {"schema_version": SCHEMA_VERSION, "results": results, "errors": piece.errors, "refused": piece.refused}
    # One member for all arrays: hundreds of small ones take longer than the scoring.
    members = {"head": json.dumps(head).encode(), "data": b"".join(parts), "keys": piece.keys.tobytes()}
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **{name: np.frombuffer(data, np.uint8) for name, data in members.items()})


def load_results(path: str | Path) -> PieceResults:
    """Read what `save_results` wrote.

    Raises:
        InputError: It is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            head, data = json.loads(stored["head"].tobytes()), stored["data"]
            keys = stored["keys"].view(np.uint64)
        results, begin = [], 0
        for one in head["results"]:
            arrays = {}
            for key, (dtype, shape) in one["arrays"].items():
                end = begin + math.prod(shape) * np.dtype(dtype).itemsize
                arrays[key] = data[begin:end].view(dtype).reshape(shape)
                begin = end
            results.append(_from_arrays(one, arrays))
        errors, refused = (tuple((str(a), str(b)) for a, b in head[name]) for name in ("errors", "refused"))
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from error
    except (KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(path, f"does not hold the results of a piece: {error}") from error
    return PieceResults(tuple(results), keys, errors, refused)


def read_head(path: str | Path) -> dict[str, Any]:
    """Return the names and errors that `save_results` wrote, without the arrays.

    Raises:
        InputError: The file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            head: dict[str, Any] = json.loads(stored["head"].tobytes())
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(path, f"does not hold the results of a piece: {error}") from error
    return head


def _to_arrays(result: MEResult) -> dict[str, NDArray[Any]]:
    out: dict[str, NDArray[Any]] = {name: getattr(result, name) for name in _PER_LS}
    out["cut"] = np.array([result.threshold, result.expected_false_rate])
    for name in _MAPS:
        for run, values in getattr(result, name).items():
            out[f"{name}/{run}"] = values
    for run, one in result.worst.items():
        out[f"worst/{run}"] = np.array([one.lumi, one.score])
    pictures: dict[str, Any] = {f"worst/{run}": one for run, one in result.worst.items()}
    if result.examples is not None:
        out["examples/run"], out["examples/lumi"] = result.examples.run, result.examples.lumi
        pictures["examples"] = result.examples
    for place, holder in pictures.items():
        for name in _PICTURES:
            if getattr(holder, name) is not None:
                out[f"{place}/{name}"] = getattr(holder, name)
    return out


def _from_arrays(head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> MEResult:
    maps: dict[str, dict[int, Any]] = {name: {} for name in _MAPS}
    worst = {}
    for key in arrays:
        name, _, run = key.partition("/")
        if name in maps:
            maps[name][int(run)] = arrays[key]
        elif name == "worst" and "/" not in run:
            lumi, score = arrays[key].tolist()
            pictures: dict[str, Any] = {what: arrays.get(f"{key}/{what}") for what in _PICTURES}
            worst[int(run)] = WorstLS(int(lumi), score, **pictures)
    pictures = {what: arrays.get(f"examples/{what}") for what in ("run", "lumi", *_PICTURES)}
    threshold, rate = arrays["cut"].tolist()
    fields: dict[str, Any] = {name: arrays[name] for name in _PER_LS} | maps
    return MEResult(
        me=head["me"],
        storage=head["storage"],
        axes=tuple(map(Axis.from_dict, head["axes"])),
        threshold=threshold,
        note=head["note"],
        expected_false_rate=rate,
        worst=worst,
        examples=Examples(**pictures) if "examples/run" in arrays else None,
        **fields,
    )


def merge_results(parts: Sequence[MEResult], run: int) -> MEResult | None:
    """Put together what the pieces say of one monitoring element in one run; their order does not matter.

    Args:
        parts: Results of one ME; LS of other runs are left out.
        run: Which run.

    Returns:
        The result, ``None`` where no piece has an LS of the run.

    Raises:
        UsageError: An LS is there twice.
    """
    parts = [part for part in parts if (part.run == run).any()]
    if not parts:
        return None
    parts = sorted(parts, key=lambda part: int(part.lumi[part.run == run].min()))
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name)[part.run == run] for part in parts]) for name in _PER_LS
    }
    order = np.argsort(columns["lumi"], kind="stable")
    columns = {name: column[order] for name, column in columns.items()}
    if (np.diff(columns["lumi"]) == 0).any():
        raise UsageError(f"{parts[0].me}: the same lumisection of run {run} stands in two pieces")
    maps: dict[str, Any] = {}
    for name in _MAPS:
        counted = [part.flag == GOOD if name == "reference" else np.isfinite(part.score) for part in parts]
        weights = [int((mask & (part.run == run)).sum()) for mask, part in zip(counted, parts, strict=True)]
        maps[name] = _mean([getattr(part, name).get(run) for part in parts], weights, run)
    worst = [part.worst[run] for part in parts if run in part.worst]
    first = parts[0]
    return MEResult(
        me=first.me,
        storage=first.storage,
        axes=first.axes,
        threshold=first.threshold,
        note=first.note,
        expected_false_rate=first.expected_false_rate,
        # Of equal scores the first LS, as where all are judged at once.
        worst={run: min(worst, key=lambda one: (-one.score, one.lumi))} if worst else {},
        examples=_examples(parts, run, columns, int(np.prod([axis.nbins for axis in first.axes]))),
        **maps,
        **columns,
    )


def _mean(maps: Sequence[NDArray[Any] | None], weights: Sequence[int], run: int) -> dict[int, NDArray[Any]]:
    """Average maps of pieces by the number of LS that each is the mean of."""
    pairs = [(values, n) for values, n in zip(maps, weights, strict=True) if values is not None and n > 0]
    if not pairs:
        return {}
    if len(pairs) == 1:
        return {run: pairs[0][0]}
    total = np.sum([values.astype(np.float64) * n for values, n in pairs], axis=0)
    return {run: (total / sum(n for _, n in pairs)).astype(pairs[0][0].dtype)}


def _examples(parts: Sequence[MEResult], run: int, columns: Mapping[str, Any], n_bins: int) -> Examples | None:
    """Choose among the examples of the pieces as one would among all LS of the run."""
    most = min(MOST_LS, max(3, MOST_BINS // n_bins))
    rows = choose_examples(columns["run"], columns["score"], columns["flag"], most)
    given = [part.examples for part in parts if part.examples is not None and (part.flag == BAD).any()]
    if len(rows) == 0 or not given:
        return None
    joined: dict[str, Any] = {}
    for name in ("run", "lumi", *_PICTURES):
        arrays = [getattr(one, name) for one in given]
        joined[name] = np.concatenate(arrays) if all(array is not None for array in arrays) else None
    chosen = (joined["run"] == run) & np.isin(joined["lumi"], columns["lumi"][rows])
    order = np.flatnonzero(chosen)[np.argsort(joined["lumi"][chosen], kind="stable")]
    fields: dict[str, Any] = {name: None if array is None else array[order] for name, array in joined.items()}
    return Examples(**fields)
