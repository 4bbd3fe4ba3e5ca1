"""Lumisections kept with their pictures, so that a report can show why they were flagged, and the file they are kept in."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import deflate
import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import InputError
from dqmroot.files import whole_file
from dqmroot.model import Model
from dqmroot.series import MonitorElement

__all__ = [
    "Examples",
    "WorstLS",
    "choose_examples",
    "collect_examples",
    "read_pictures",
    "reference_by_run",
    "write_pictures",
]

MOST_BINS, MOST_LS = 60_000, 300
"""What is kept per monitoring element: about 10 maps of 72 x 84 bins, or 300 spectra."""


@dataclass(frozen=True, eq=False)
class WorstLS:
    """The lumisection of a run that scored worst, in the ME's own bins, without flow.

    Args:
        lumi: Which.
        score: Its score.
        original: ``(…, y, x)`` contents.
        reconstruction: What the detector expected, in the counts of the original where that can be, or ``None``.
        loss: Badness per bin, or ``None``.
    """

    lumi: int
    score: float
    original: NDArray[Any]
    reconstruction: NDArray[Any] | None
    loss: NDArray[Any] | None


@dataclass(frozen=True, eq=False)
class Examples:
    """Some lumisections of one monitoring element in its own bins, without flow, sorted by run and LS.

    Args:
        run: ``(m,)`` uint32.
        lumi: ``(m,)`` uint32.
        original: ``(m, …, y, x)`` contents, in the file's dtype.
        reconstruction: ``(m, …, y, x)`` float32, what the detector expected; ``None`` where it cannot say.
        loss: ``(m, …, y, x)`` float32, badness per bin; ``None`` where the detector cannot say where.
    """

    run: NDArray[np.uint32]
    lumi: NDArray[np.uint32]
    original: NDArray[Any]
    reconstruction: NDArray[np.float32] | None
    loss: NDArray[np.float32] | None

    def __len__(self) -> int:
        return len(self.run)


def choose_examples(
    run: NDArray[np.uint32], score: NDArray[np.float64], flag: NDArray[np.int8], most: int
) -> NDArray[np.intp]:
    """Choose which lumisections to keep: of each stretch of bad LS the worst first, each with its neighbours in time.

    Args:
        run: ``(n,)``, sorted.
        score: ``(n,)``.
        flag: ``(n,)``: 1 is bad.
        most: How many to keep at most.

    Returns:
        Their rows, ascending.
    """
    bad = np.flatnonzero(flag == 1)
    if len(bad) == 0:
        return bad
    apart = (np.diff(bad) > 1) | (np.diff(run[bad]) > 0)
    stretch = np.concatenate([[0], np.cumsum(apart)])
    # The place of each LS within its stretch, the worst being 0.
    by_stretch = np.lexsort((-score[bad], stretch))
    first = np.searchsorted(stretch[by_stretch], stretch[by_stretch], side="left")
    place = np.empty(len(bad), np.intp)
    place[by_stretch] = np.arange(len(bad)) - first
    kept: set[int] = set()
    for row in bad[np.lexsort((-score[bad], place))].tolist():
        around = {i for i in (row - 1, row, row + 1) if 0 <= i < len(run) and run[i] == run[row]}
        if len(kept | around) > most:
            if kept:
                break
            around = {row}
        kept |= around
    return np.array(sorted(kept), np.intp)


def collect_examples(
    me: MonitorElement, model: Model, score: NDArray[np.float64], flag: NDArray[np.int8]
) -> Examples | None:
    """Keep the lumisections that `choose_examples` names, within `MOST_BINS` and `MOST_LS`; ``None`` where none is bad.

    Args:
        me: A series sorted by run and LS.
        model: Its model.
        score: ``(n,)`` its scores.
        flag: ``(n,)`` its flags.
    """
    most = min(MOST_LS, max(3, MOST_BINS // int(np.prod(me.bins))))
    rows = choose_examples(me.run, score, flag, most)
    if len(rows) == 0:
        return None
    some = me[rows]
    return Examples(
        run=some.run,
        lumi=some.lumi,
        original=np.ascontiguousarray(some.values()),
        reconstruction=model.reconstruct_at(me, rows).astype(np.float32) if model.detector.reconstructs else None,
        loss=model.score_bins_at(me, rows).astype(np.float32) if model.detector.localises else None,
    )


def reference_by_run(me: MonitorElement, flag: NDArray[np.int8]) -> Mapping[int, NDArray[np.float32]]:
    """Return for each run the mean of its good lumisections, ``(…, y, x)``; where a run has none, that of all runs."""
    total, n_total = np.zeros(me.bins), 0
    means: dict[int, NDArray[np.float32] | None] = {}
    for run in np.unique(me.run).tolist():
        rows = np.flatnonzero((me.run == run) & (flag == 0))
        # Most often all LS of the run are good: then nothing is copied.
        together = len(rows) > 0 and rows[-1] - rows[0] + 1 == len(rows)
        one = me[slice(rows[0], rows[-1] + 1) if together else rows].values().sum(axis=0, dtype=np.float64)
        total += one
        n_total += len(rows)
        means[run] = (one / len(rows)).astype(np.float32) if len(rows) else None
    everywhere = (total / n_total).astype(np.float32) if n_total else None
    filled = {run: everywhere if mean is None else mean for run, mean in means.items()}
    return {run: mean for run, mean in filled.items() if mean is not None}


class Pictured(Protocol):
    """A result of a certification, as far as its pictures go; see `dqmroot.certification.MEResult`."""

    @property
    def me(self) -> str:
        """Name of the monitoring element."""

    @property
    def run(self) -> NDArray[np.uint32]:
        """``(n,)`` runs."""

    @property
    def lumi(self) -> NDArray[np.uint32]:
        """``(n,)`` lumisections."""

    @property
    def flag(self) -> NDArray[np.int8]:
        """``(n,)``: 1 bad, 0 good, -1 not judged."""

    @property
    def worst(self) -> Mapping[int, WorstLS]:
        """Run → its worst LS."""

    @property
    def examples(self) -> Examples | None:
        """Bad LS and their neighbours."""

    @property
    def bad_bins(self) -> NDArray[np.int32] | None:
        """``(n,)`` number of bad bins."""


def write_pictures(path: str | os.PathLike[str], results: Sequence[Pictured]) -> None:
    """Write the pictures of the results of a certification as one ``.npz`` of plain arrays, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    arrays = {f"{i}/{key}": array for i, one in enumerate(results) for key, array in _to_arrays(one).items()}
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        for key, array in {"identity": _identity(results), **arrays}.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            data = member.getbuffer()
            kind = zipfile.ZIP_DEFLATED if _shrinks(data) else zipfile.ZIP_STORED
            file.writestr(zipfile.ZipInfo(f"{key}.npy"), data, kind, 1)


_LEAST, _SAMPLE = 1 << 10, 1 << 13  # bytes


def _shrinks(data: memoryview) -> bool:
    """Tell whether deflate makes something of data: of a residual it makes 9 tenths, and takes longer than all else."""
    if len(data) < _LEAST:
        return False
    begin = (len(data) - _SAMPLE) // 2 if len(data) > _SAMPLE else 0
    sample = data[begin : begin + _SAMPLE]
    return len(deflate.deflate_compress(sample, 1)) < 0.8 * len(sample)


def read_pictures(path: str | os.PathLike[str], results: Sequence[Pictured]) -> list[dict[str, Any]]:
    """Read what `write_pictures` wrote for the same results.

    Returns:
        For each result the fields that its pictures fill; nothing where there is no file.

    Raises:
        InputError: Damaged, or of another certification.
    """
    where = Path(path)
    by_me: list[dict[str, NDArray[Any]]] = [{} for _ in results]
    if not where.is_file():
        return [{} for _ in results]
    try:
        with where.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if not np.array_equal(arrays["identity"], _identity(results)):
                raise InputError(path, "holds the pictures of another certification; remove it to do without")
            for key in arrays.files:
                at, slash, name = key.partition("/")
                if slash:
                    by_me[int(at)][name] = arrays[key]
        return [_from_arrays(one) for one in by_me]
    except (zipfile.BadZipFile, zlib.error, ValueError, KeyError, IndexError, TypeError, EOFError) as error:
        raise InputError(path, f"does not hold the pictures of a certification: {error}") from error


def _identity(results: Sequence[Pictured]) -> NDArray[np.uint8]:
    """Return a digest of what was judged and how, so that pictures never stand beside another verdict."""
    digest = hashlib.sha256()
    for one in results:
        digest.update(one.me.encode("utf-8", "surrogatepass") + b"\0")
        for array, kind in ((one.run, "<u4"), (one.lumi, "<u4"), (one.flag, "i1")):
            digest.update(np.ascontiguousarray(array, kind).tobytes())
    return np.frombuffer(digest.digest(), np.uint8)


_BY_RUN = ("mean_loss", "bad_fraction", "reference")
_PER_EXAMPLE = ("original", "reconstruction", "loss")


def _to_arrays(result: Pictured) -> dict[str, NDArray[Any]]:
    """Return the pictures of a result by name."""
    out: dict[str, NDArray[Any]] = {}
    for name in _BY_RUN:
        maps: Mapping[int, NDArray[Any]] = getattr(result, name)
        if maps:
            out[f"{name}_run"] = np.array(list(maps), np.uint32)
            out[name] = np.stack(list(maps.values()))
    worst = list(result.worst.values())
    if worst:
        out["worst_run"] = np.array(list(result.worst), np.uint32)
        out["worst_lumi"] = np.array([one.lumi for one in worst], np.uint32)
        out["worst_score"] = np.array([one.score for one in worst], np.float64)
        for name in _PER_EXAMPLE:
            arrays = [getattr(one, name) for one in worst]
            if all(array is not None for array in arrays):
                out[f"worst_{name}"] = np.stack(arrays)
    if result.bad_bins is not None:
        out["bad_bins"] = result.bad_bins
    if result.examples is not None:
        for name in ("run", "lumi", *_PER_EXAMPLE):
            array = getattr(result.examples, name)
            if array is not None:
                out[f"examples_{name}"] = array
    return out


def _from_arrays(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Return the fields that `_to_arrays` wrote."""
    fields: dict[str, Any] = {
        name: dict(zip(arrays[f"{name}_run"].tolist(), arrays[name], strict=True)) for name in _BY_RUN if name in arrays
    }
    if "bad_bins" in arrays:
        fields["bad_bins"] = arrays["bad_bins"]
    if "worst_run" in arrays:
        n = len(arrays["worst_run"])
        pictures = [arrays.get(f"worst_{name}", [None] * n) for name in _PER_EXAMPLE]
        rows = zip(arrays["worst_lumi"].tolist(), arrays["worst_score"].tolist(), *pictures, strict=True)
        fields["worst"] = dict(zip(arrays["worst_run"].tolist(), (WorstLS(*row) for row in rows), strict=True))
    if "examples_run" in arrays:
        fields["examples"] = Examples(*(arrays.get(f"examples_{name}") for name in ("run", "lumi", *_PER_EXAMPLE)))  # type: ignore[arg-type]
    return fields
