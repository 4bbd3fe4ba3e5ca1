"""From files to series on disk: any number of monitoring elements in one pass, in bounded memory."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import EmptySelectionError, InputError, UsageError
from dqmroot.io.arrays import Arrays
from dqmroot.io.formats import Kind, kinds_of, pieces
from dqmroot.io.names import Patterns
from dqmroot.io.nanodqmio.plan import Query, Scope
from dqmroot.io.nanodqmio.read import read_query
from dqmroot.io.nanodqmio.trees import open_file
from dqmroot.io.rootfile.rootdir import read_head
from dqmroot.io.storage.source import Files, open_source
from dqmroot.runs import RunMask
from dqmroot.selection import Mask, Ranges, Selection
from dqmroot.series import MonitorElement

__all__ = ["Extracted", "extract", "identity"]

_STEP_BYTES = 128 << 20
# Lumisections that lie in several files are read together, this many at a time.
_TOGETHER = 64


class Writer(Protocol):
    """What takes series, part by part."""

    def append(self, me: MonitorElement) -> None:
        """Add the rows of ``me``."""


@dataclass(frozen=True)
class Extracted:
    """What was written.

    Args:
        path: The file.
        rows: Number of rows (one per LS) of each element.
        absent: Names and patterns that no file had anything for.

    Examples:
        >>> dq.extract(file, "CSC/**", "extracted.h5").rows
        {'CSC/FEDIntegrity/FEDTotalEventSize': 170}
    """

    path: Path
    rows: dict[str, int]
    absent: tuple[str, ...]


def extract(
    files: Files,
    patterns: Patterns,
    out: str | os.PathLike[str],
    progress: Callable[[int, int], object] | None = None,
    *,
    golden: Mask | None = None,
    dcs: Mask | None = None,
    runs: int | Iterable[int] | None = None,
    lumis: Ranges | None = None,
    scope: Scope | None = None,
    threads: int | None = None,
    errors: list[InputError] | None = None,
) -> Extracted:
    """Write monitoring elements over their lumisections to ``series.h5``, ``.parquet`` or a flat ``.root`` file.

    Every file is read once. Parts of one LS that lie in several nanoDQMIO files are added up. The file appears whole or
    not at all. HDF5 keeps everything; parquet no texts and whole numbers; ROOT histograms only.

    Args:
        files: Path, glob, URL, list file, or several of them, of any kind.
        patterns: Names, globs or regular expressions; ``None`` for everything.
        out: Where to write; its ending tells the format: ``.h5``, ``.hdf5``, ``.parquet`` or ``.root``.
        progress: Told how many of how many files are done.
        golden: Golden JSON, a file or a `RunMask`.
        dcs: DCS-only JSON, a file or a `RunMask`.
        runs: One run or several.
        lumis: ``(first, last)``, inclusive, or several of them.
        scope: See `dqmroot.read`.
        threads: How many pieces are inflated at a time; by default one per core.
        errors: Where files that cannot be read are told; without it the first one is raised.

    Returns:
        What was written, and what was asked for and is absent.

    Raises:
        InputError: A file cannot be read.
        UnknownNameError: Nothing of what was asked for is in any file.
        EmptySelectionError: The selection leaves nothing.
        OutputError: The file cannot be written.
        UsageError: The ending of ``out`` is none of these, or the format cannot hold an element.

    Examples:
        >>> dq.extract(file, "CSC/**", "series.parquet", runs=355105).rows
        {'CSC/FEDIntegrity/FEDTotalEventSize': 50}
    """
    make = _maker(out)
    selection = Selection.of(golden=golden, dcs=dcs, runs=runs, lumis=lumis)
    query = Query(patterns, selection, scope or "all")
    kinds = kinds_of(files, errors)
    rows: dict[str, int] = {}
    inputs = [identity(path, kind) for path, kind in kinds]
    with make(out, inputs) as writer:
        for part in _parts(kinds, query, scope, threads, errors, progress):
            for me in part.all_series():
                writer.append(me)
                rows[me.name] = rows.get(me.name, 0) + len(me)
        absent = query.absent()
        if not rows:
            query.check()
            raise EmptySelectionError("no lumisection left after selection: see what the files hold with dqmroot ls")
    return Extracted(Path(out), rows, tuple(absent))


def identity(path: str, kind: Kind) -> dict[str, Any]:
    """Return what a file is known by later: path, size, time of change (local files), UUID (ROOT files)."""
    source = open_source(path)
    try:
        out: dict[str, Any] = {"path": path, "bytes": source.size}
        if kind in {"nano", "gui", "flat"}:
            out["uuid"] = read_head(source).uuid
    finally:
        source.close()
    if "://" not in path:
        out["modified"] = Path(path).stat().st_mtime
    return out


def _maker(out: str | os.PathLike[str]) -> Callable[..., AbstractContextManager[Writer]]:
    ending = Path(out).suffix.lower()
    if ending in {".h5", ".hdf5"}:
        from dqmroot.io.tables.hdf5 import series_writer

        return series_writer
    if ending == ".parquet":
        from dqmroot.io.tables.seriesparquet import parquet_writer

        return parquet_writer
    if ending == ".root":
        from dqmroot.io.rootfile.flatwrite import flat_writer

        return flat_writer
    raise UsageError(f"{out}: cannot tell the format from the ending; use .h5, .parquet or .root")


def _parts(
    kinds: list[tuple[str, Kind]],
    query: Query,
    scope: Scope | None,
    threads: int | None,
    errors: list[InputError] | None,
    progress: Callable[[int, int], object] | None,
) -> Iterator[Arrays]:
    """Read everything once, so that no LS of nanoDQMIO files comes in two parts."""
    lumis = _lumis([path for path, kind in kinds if kind == "nano"], errors)
    every, counts = np.unique(np.concatenate([np.empty(0, np.uint64), *lumis.values()]), return_counts=True)
    shared = every[counts > 1]
    alone = query if len(shared) == 0 else _only(query, every[counts == 1], query.scope)
    for done, (path, kind) in enumerate(kinds, 1):
        if kind != "nano" or path in lumis:
            yield from pieces([(path, kind)], alone if kind == "nano" else query, scope, threads, errors, _STEP_BYTES)
        query.takes(alone.seen)
        if progress is not None:
            progress(done, len(kinds))
    for first in range(0, len(shared), _TOGETHER):
        some = shared[first : first + _TOGETHER]
        together = _only(query, some, scope or "lumi")
        files = [path for path, keys in lumis.items() if np.isin(keys, some).any()]
        yield read_query(files, together, threads, errors)
        query.takes(together.seen)


def _lumis(files: list[str], errors: list[InputError] | None) -> dict[str, NDArray[np.uint64]]:
    """Return the LS of each file as ``run << 32 | lumi``; files that cannot be read are told in ``errors``."""
    out: dict[str, NDArray[np.uint64]] = {}
    if len(files) == 1:
        return {files[0]: np.empty(0, np.uint64)}
    for path in files:
        try:
            file = open_file(path)
        except InputError as error:
            if errors is None:
                raise
            errors.append(error)
            continue
        keys = file.lumis.astype(np.uint64)
        out[path] = (keys[:, 0] << np.uint64(32)) | keys[:, 1]
        file.close()
    return out


def _only(query: Query, keys: NDArray[np.uint64], scope: Scope) -> Query:
    """Return a query for some LS of what ``query`` asks for."""
    mask = RunMask.from_lumis(keys >> np.uint64(32), keys & np.uint64(0xFFFFFFFF))
    old = query.selection.mask
    return Query(query.patterns, dataclasses.replace(query.selection, mask=mask if old is None else old & mask), scope)
