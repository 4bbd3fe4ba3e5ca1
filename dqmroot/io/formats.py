"""One door to every kind of file: what a file is, is told by its content, never by its name.

nanoDQMIO files go straight to `dqmroot.io.nanodqmio.read`. Of the other kinds, whole runs are part of what is read unless ``scope``
says otherwise, and where two files hold one element in one LS, the first counts (with a warning if they differ).
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import numpy as np

from dqmroot.errors import EmptySelectionError, InputError, UsageError
from dqmroot.io.arrays import Arrays, MEInfo
from dqmroot.io.collector import collector_paused
from dqmroot.io.duplicates import first_of_each
from dqmroot.io.joined import Part, form_of, joined, part_of, parts_of
from dqmroot.io.names import Patterns
from dqmroot.io.nanodqmio import read as nano
from dqmroot.io.nanodqmio.decode import default_threads
from dqmroot.io.nanodqmio.plan import Query, Scope
from dqmroot.io.rootfile.dqmgui import open_gui
from dqmroot.io.rootfile.flatroot import is_flat, pick_flat
from dqmroot.io.rootfile.objects import read_objects
from dqmroot.io.rootfile.rootdir import read_keys
from dqmroot.io.storage.source import Files, Source, expand, open_source
from dqmroot.selection import Mask, Ranges, Selection
from dqmroot.series import MonitorElement, concatenate

Keep = Callable[[str], bool]

__all__ = ["Kind", "arrays", "iterate", "kind_of", "kinds_of", "list_mes", "pieces", "read"]

_NO_END = 1 << 62

Missing = Literal["raise", "warn"]
Kind = Literal["nano", "gui", "flat", "table", "cubes", "series"]


def kind_of(path: str) -> Kind:
    """Tell what a file is: nanoDQMIO, DQM GUI, flat per-LS ROOT, csv or parquet table, HDF5 cubes, or series.

    Raises:
        InputError: The file cannot be read, or is none of these.
    """
    source = open_source(path)
    try:
        magic = source.read(0, min(8, source.size))
        if magic[:4] == b"root":
            return _root_kind(source)
        if magic == b"\x89HDF\r\n\x1a\n":
            from dqmroot.io.tables.hdf5 import is_series

            return "series" if is_series(_Stream(source)) else "cubes"
    finally:
        source.close()
    return "table"


def _root_kind(source: Source) -> Kind:
    folders: list[str] = []

    def look(name: str) -> bool:
        folders.append(name)
        return False

    keys = read_keys(source, look)
    if any(name == "Indices" and kind == "TTree" for name, kind in zip(keys.name, keys.kind, strict=True)):
        return "nano"
    if "DQMData" in folders:
        return "gui"
    if is_flat(keys):
        return "flat"
    names = ", ".join([*folders, *keys.name][:4]) or "nothing"
    what = f"a ROOT file of no known kind: neither Indices nor DQMData nor run…_ls…_… in it, but {names}"
    raise InputError(source.path, what)


class _Stream(io.RawIOBase):
    """A source as the stream that pyarrow and h5py read."""

    def __init__(self, source: Source) -> None:
        self.source, self.name, self._at = source, source.path, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.source.size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self.source.read(min(self._at, self.source.size), min(self._at + len(buffer), self.source.size))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _parts(
    path: str, kind: Kind, query: Query, threads: int, *, contents: bool = True, step: int = _NO_END
) -> Iterator[list[Part]]:
    """Read what is asked of one file that is not nanoDQMIO, piece by piece."""
    if kind == "gui":
        file = open_gui(path, query)
        for number, picks in enumerate(file.picks.pieces(step)):
            # The scalars come with the first piece.
            some = dataclasses.replace(file, picks=picks, scalars=file.scalars if number == 0 else {})
            yield list(some.tables(threads, contents=contents))
        return
    source = open_source(path)
    try:
        if kind == "flat":
            for picks in pick_flat(read_keys(source, lambda _: False), query).pieces(step):
                # The title of such a histogram is its key.
                yield [
                    (storage, [dataclasses.replace(info, title=info.name) for info in table], rows)
                    for storage, table, rows in read_objects(source, picks, threads, contents=contents)
                ]
            return
        for me in _DOORS[kind][1](_Stream(source), _keep(query)):
            taken = _selected(me, query)
            if len(taken):
                yield [part_of(taken)]
    finally:
        source.close()


def _whole(path: str, kind: Kind, query: Query, threads: int) -> list[MonitorElement]:
    """Read what is asked of one file that is not nanoDQMIO, with its conditions."""
    if kind in {"gui", "flat"}:
        made = joined([part for parts in _parts(path, kind, query, threads) for part in parts])
        return [query.selection.apply(me) for me in made.all_series()]
    source = open_source(path)
    try:
        return [_selected(me, query) for me in _DOORS[kind][0](_Stream(source), _keep(query))]
    finally:
        source.close()


def _selected(me: MonitorElement, query: Query) -> MonitorElement:
    scoped = query.scoped(me.lumi)
    return query.selection.apply(me if scoped.all() else me[scoped])


def _keep(query: Query) -> Keep:
    return lambda name: bool(query.takes([name])[0])


def _table(stream: _Stream, keep: Keep) -> Iterable[MonitorElement]:
    from dqmroot.io.tables.reader import read_table

    return read_table(io.BufferedReader(stream, 1 << 20), keep).values()


def _table_parts(stream: _Stream, keep: Keep) -> Iterable[MonitorElement]:
    from dqmroot.io.tables.reader import iterate_table

    return iterate_table(io.BufferedReader(stream, 1 << 20), keep)


def _cubes(stream: _Stream, keep: Keep) -> Iterable[MonitorElement]:
    from dqmroot.io.tables.cubes import read_cubes

    return read_cubes(stream, keep).values()


def _stored(stream: _Stream, keep: Keep) -> Iterable[MonitorElement]:
    from dqmroot.io.tables.hdf5 import read_series

    return read_series(stream, keep).values()


def _stored_parts(stream: _Stream, keep: Keep) -> Iterable[MonitorElement]:
    from dqmroot.io.tables.hdf5 import iterate_series

    return iterate_series(stream, keep)


_DOORS: dict[Kind, tuple[Callable[[_Stream, Keep], Iterable[MonitorElement]], ...]] = {
    "table": (_table, _table_parts),
    "cubes": (_cubes, _cubes),
    "series": (_stored, _stored_parts),
}
"""How to read a whole file, and how to read it part by part."""


def kinds_of(files: Files, errors: list[InputError] | None) -> list[tuple[str, Kind]]:
    """Tell the kind of each file; those that cannot be read are told in ``errors``."""
    out: list[tuple[str, Kind]] = []
    paths = expand(files)
    for path in paths:
        try:
            out.append((path, kind_of(path)))
        except InputError as error:
            if errors is None or (path == paths[-1] and not out):
                raise
            errors.append(error)
    return out


def _each(
    kinds: list[tuple[str, Kind]], errors: list[InputError] | None, work: Callable[[str, Kind], Iterable[Any]]
) -> Iterator[Any]:
    """Do some work on each file that is not nanoDQMIO; one that cannot be read is told in ``errors``."""
    for path, kind in kinds:
        if kind == "nano":
            continue
        try:
            yield from work(path, kind)
        except InputError as error:
            if errors is None:
                raise
            errors.append(error)


def _nano(kinds: list[tuple[str, Kind]], query: Query, scope: Scope | None, threads: int | None, errors: Any) -> Arrays:
    """Read what is asked of the nanoDQMIO files among others."""
    files = [path for path, kind in kinds if kind == "nano"]
    mine = Query(query.patterns, query.selection, scope or "lumi")
    made = nano.read_query(files, mine, threads, errors)
    query.takes(mine.seen)
    return made


def read(
    files: Files,
    me: str,
    *,
    golden: Mask | None = None,
    dcs: Mask | None = None,
    runs: int | Iterable[int] | None = None,
    lumis: Ranges | None = None,
    min_entries_per_bin: float | None = None,
    scope: Scope | None = None,
    threads: int | None = None,
    errors: list[InputError] | None = None,
) -> MonitorElement:
    """Read one monitoring element over its lumisections, sorted by run and lumisection, from files of any kind.

    Parts of one lumisection that lie in several nanoDQMIO files are added up. Only what holds the element is inflated.

    Args:
        files: Path, glob, URL, list file, or several of them.
        me: Full name.
        golden: Golden JSON, a file or a `RunMask`.
        dcs: DCS-only JSON, a file or a `RunMask`.
        runs: One run or several.
        lumis: ``(first, last)``, inclusive, or several of them.
        min_entries_per_bin: Least number of entries per in-range bin.
        scope: ``"lumi"`` for lumisections, ``"run"`` for whole runs (LS 0), ``"all"`` for both. By default lumisections
            of nanoDQMIO files, and whatever files of other kinds hold.
        threads: How many pieces are inflated at a time; by default one per core.
        errors: Where files that cannot be read are told; without it the first one is raised.

    Returns:
        The series, contents in the file's dtype with flow bins.

    Raises:
        InputError: A file cannot be read, or is of no known kind.
        UnknownNameError: No file has it; the nearest names are told.
        EmptySelectionError: The selection leaves nothing.
        UsageError: Its bins change between lumisections.

    Examples:
        >>> dq.read(file, "CSC/FEDIntegrity/FEDTotalEventSize", runs=[355100, 355102])
        <MonitorElement CSC/FEDIntegrity/FEDTotalEventSize TH1F 100 bins, 120 LS of 2 runs>
    """
    selection = Selection.of(golden=golden, dcs=dcs, runs=runs, lumis=lumis, min_entries_per_bin=min_entries_per_bin)
    kinds = kinds_of(files, errors)
    if all(kind == "nano" for _, kind in kinds):
        query = Query((me,), selection, scope or "lumi")
        return nano.read_one([path for path, _ in kinds], me, query, threads, errors)
    query = Query((me,), selection, scope or "all")
    found: list[MonitorElement] = []
    if any(kind == "nano" for _, kind in kinds):
        found += _nano(kinds, query, scope, threads, errors).all_series()
    found += _each(kinds, errors, lambda path, kind: _whole(path, kind, query, threads or default_threads()))
    query.check()
    if not any(map(len, found)):
        raise EmptySelectionError(f"{me}: no lumisection left after selection")
    return first_of_each(concatenate([part for part in found if len(part)]), "these files")


def arrays(
    files: Files,
    patterns: Patterns = None,
    *,
    golden: Mask | None = None,
    dcs: Mask | None = None,
    runs: int | Iterable[int] | None = None,
    lumis: Ranges | None = None,
    min_entries_per_bin: float | None = None,
    scope: Scope | None = None,
    missing: Missing = "raise",
    threads: int | None = None,
    errors: list[InputError] | None = None,
) -> Arrays:
    """Read many monitoring elements in one pass over files of any kind.

    Args:
        files: As in `read`.
        patterns: Names, globs (``*`` within a part of the path, ``**`` across), regular expressions (compiled, or
            ``"re:…"``); ``None`` for everything.
        golden: As in `read`.
        dcs: As in `read`.
        runs: As in `read`.
        lumis: As in `read`.
        min_entries_per_bin: As in `read`.
        scope: As in `read`.
        missing: Whether something asked for that no file has is an error or a warning; it is named either way.
        threads: As in `read`.
        errors: As in `read`.

    Returns:
        One awkward array per storage type, and the table of monitoring elements; `Arrays.series` gives one of them.

    Raises:
        InputError: A file cannot be read, or is of no known kind.
        UnknownNameError: Something asked for is in no file.

    Examples:
        >>> found = dq.arrays(file, "Hcal/**", runs=355105)
        >>> found.series(found.names[0]).bins
        (72, 84)
    """
    selection = Selection.of(golden=golden, dcs=dcs, runs=runs, lumis=lumis, min_entries_per_bin=min_entries_per_bin)
    kinds = kinds_of(files, errors)
    if all(kind == "nano" for _, kind in kinds):
        query = Query(patterns, selection, scope or "lumi")
        made = nano.read_query([path for path, _ in kinds], query, threads, errors)
    else:
        query = Query(patterns, selection, scope or "all")
        parts: list[Part] = []
        if any(kind == "nano" for _, kind in kinds):
            parts += parts_of(_nano(kinds, query, scope, threads, errors))
        with collector_paused():
            number = threads or default_threads()
            for piece in _each(kinds, errors, lambda path, kind: _parts(path, kind, query, number)):
                parts += piece
            made = joined(parts)
    nano.tell_absent(query, missing)
    return made


def iterate(
    files: Files,
    patterns: Patterns = None,
    *,
    golden: Mask | None = None,
    dcs: Mask | None = None,
    runs: int | Iterable[int] | None = None,
    lumis: Ranges | None = None,
    min_entries_per_bin: float | None = None,
    scope: Scope | None = None,
    missing: Missing = "raise",
    threads: int | None = None,
    errors: list[InputError] | None = None,
    step_bytes: int = 256 << 20,
) -> Iterator[Arrays]:
    """Read many monitoring elements piece by piece, in the order of the files; memory stays near ``step_bytes``.

    Args:
        files: As in `read`.
        patterns: As in `arrays`.
        golden: As in `read`.
        dcs: As in `read`.
        runs: As in `read`.
        lumis: As in `read`.
        min_entries_per_bin: As in `read`.
        scope: As in `read`.
        missing: As in `arrays`.
        threads: As in `read`.
        errors: As in `read`.
        step_bytes: About how many bytes of inflated histograms one piece holds; a lumisection is never cut, and in a DQM GUI
            file the whole run ("Run summary") counts as one.

    Yields:
        Pieces of whole lumisections of one file. A lumisection that lies in several files comes once for each.

    Raises:
        InputError: A file cannot be read, or is of no known kind.
        UnknownNameError: Something asked for is in no file (told after the last piece).
        UsageError: ``step_bytes`` is not positive.

    Examples:
        >>> sum(len(part.series(good.name)) for part in dq.iterate(file, "CSC/**"))
        170
    """
    if step_bytes <= 0:
        raise UsageError(f"step_bytes must be positive; got {step_bytes!r}")
    selection = Selection.of(golden=golden, dcs=dcs, runs=runs, lumis=lumis, min_entries_per_bin=min_entries_per_bin)
    query = Query(patterns, selection, scope or "all")
    yield from pieces(kinds_of(files, errors), query, scope, threads, errors, step_bytes)
    nano.tell_absent(query, missing)


def pieces(
    kinds: list[tuple[str, Kind]],
    query: Query,
    scope: Scope | None,
    threads: int | None,
    errors: list[InputError] | None,
    step_bytes: int,
) -> Iterator[Arrays]:
    """Read what is asked for piece by piece; see `iterate`. What is absent is left to `Query.check`."""
    mine = Query(query.patterns, query.selection, scope or "lumi")
    for path, kind in kinds:
        if kind == "nano":
            yield from nano.iterate_query([path], mine, threads, errors, step_bytes)
            query.takes(mine.seen)
        else:
            number = threads or default_threads()
            for piece in _each([(path, kind)], errors, lambda p, k: _parts(p, k, query, number, step=step_bytes)):  # noqa: B023
                yield joined(piece)


def list_mes(files: Files, pattern: Patterns = None, *, errors: list[InputError] | None = None) -> list[MEInfo]:
    """Tell which monitoring elements files of any kind hold.

    Args:
        files: As in `read`.
        pattern: Name, glob or regular expression, or several; ``None`` for all.
        errors: As in `read`.

    Returns:
        One description per monitoring element (and per binning, where it changes between files), sorted by name.

    Raises:
        InputError: A file cannot be read, or is of no known kind.
        UnknownNameError: Something asked for is in no file.

    Examples:
        >>> [me.name for me in dq.list_mes(file, "Hcal/**")]
        ['Hcal/DigiTask/Occupancy/depth/depth1']
    """
    kinds = kinds_of(files, errors)
    nanos = [path for path, kind in kinds if kind == "nano"]
    if len(nanos) == len(kinds):
        return nano.list_mes(nanos, pattern, errors=errors)
    query = Query(pattern, scope="all")
    found = nano.list_mes(nanos, errors=errors) if nanos else []
    infos = [info for info, take in zip(found, query.takes([info.name for info in found]), strict=True) if take]
    lumis: dict[tuple[object, ...], list[Any]] = {}
    first: dict[tuple[object, ...], MEInfo] = {}
    for piece in _each(kinds, errors, lambda path, kind: _parts(path, kind, query, default_threads(), contents=False)):
        for _, table, rows in piece:
            keys = (rows.run.astype(np.uint64) << np.uint64(32)) | rows.lumi
            order = np.argsort(rows.me, kind="stable")
            begins = np.flatnonzero(np.append(True, np.diff(rows.me[order]) != 0))
            for some in np.split(order, begins[1:]) if len(order) else []:
                info = table[int(rows.me[some[0]])]
                form = form_of(info)
                first.setdefault(form, info)
                lumis.setdefault(form, []).append(keys[some])
    query.check()
    infos += [nano.with_counts(first[form], np.unique(np.concatenate(keys))) for form, keys in lumis.items()]
    return sorted(infos, key=lambda info: (info.name, info.storage))
