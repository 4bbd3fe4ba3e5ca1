"""Read nanoDQMIO files: what is in them, one monitoring element, many, or all of them piece by piece."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import DQMWarning, EmptySelectionError, InputError, UsageError
from dqmroot.io.arrays import Arrays, MEInfo, Rows
from dqmroot.io.collector import collector_paused
from dqmroot.io.names import Patterns
from dqmroot.io.nanodqmio.assemble import Forms, histograms
from dqmroot.io.nanodqmio.decode import default_threads
from dqmroot.io.nanodqmio.layout import STORAGES
from dqmroot.io.nanodqmio.merge import merge, take
from dqmroot.io.nanodqmio.plan import Asked, Query, Scope, ask, by_name, opened
from dqmroot.io.nanodqmio.polygons import polygons
from dqmroot.io.nanodqmio.scalars import DTYPES, scalars
from dqmroot.io.nanodqmio.trees import SCALARS, NanoFile
from dqmroot.io.storage.source import Files
from dqmroot.selection import Mask, Ranges, Selection
from dqmroot.series import MonitorElement

__all__ = [
    "arrays",
    "iterate",
    "iterate_query",
    "list_mes",
    "read",
    "read_one",
    "read_query",
    "tell_absent",
    "tidy",
    "with_counts",
]

Missing = Literal["raise", "warn"]


def list_mes(files: Files, pattern: Patterns = None, *, errors: list[InputError] | None = None) -> list[MEInfo]:
    """Tell which monitoring elements files hold.

    Args:
        files: Path, glob, URL, list file, or several of them.
        pattern: Name, glob or regular expression, or several; ``None`` for all.
        errors: Where files that cannot be read are told; without it the first one is raised.

    Returns:
        One description per monitoring element (and per binning, where it changes between files), sorted by name.

    Raises:
        InputError: A file cannot be read.
        UnknownNameError: Something asked for is in no file.
    """
    query = Query(pattern, scope="all")
    forms, names = Forms(), dict[str, int]()
    lumis: dict[tuple[str, int], list[NDArray[np.uint64]]] = {}
    texts: dict[tuple[str, int], MEInfo] = {}
    for file in opened(files, errors):
        known = list(names)
        for tree, asked in ask(file, 0, query, names).items():
            known = list(names)
            key = (asked.run.astype(np.uint64) << np.uint64(32)) | asked.lumi
            order = np.argsort(asked.name, kind="stable")
            begins = np.flatnonzero(np.append(True, np.diff(asked.name[order]) != 0))
            for piece in np.split(order, begins[1:]):
                lumis.setdefault((tree, int(asked.name[piece[0]])), []).append(np.unique(key[piece]))
            if tree in SCALARS:
                texts.update({(tree, int(i)): MEInfo(known[int(i)], SCALARS[tree], ()) for i in np.unique(asked.name)})
            else:
                _, first = np.unique(asked.name, return_index=True)
                if tree in STORAGES:
                    forms.learn(file, tree, known, asked[first])
                else:
                    polygons({0: file}, tree, known, asked[first], forms)
    query.check()
    found = [(forms.table[form.me], key) for key, known in forms.of.items() for form in known]
    found += [(info, key) for key, info in texts.items()]
    return sorted(
        (with_counts(info, np.unique(np.concatenate(lumis[key]))) for info, key in found),
        key=lambda i: (i.name, i.storage),
    )


def read(
    files: Files,
    me: str,
    *,
    golden: Mask | None = None,
    dcs: Mask | None = None,
    runs: int | Iterable[int] | None = None,
    lumis: Ranges | None = None,
    min_entries_per_bin: float | None = None,
    scope: Scope = "lumi",
    threads: int | None = None,
    errors: list[InputError] | None = None,
) -> MonitorElement:
    """Read one monitoring element over its lumisections, sorted by run and lumisection.

    Parts of one lumisection that lie in several files are added up. Only the baskets that hold it are inflated.

    Args:
        files: Path, glob, URL, list file, or several of them.
        me: Full name.
        golden: Golden JSON, a file or a `RunMask`.
        dcs: DCS-only JSON, a file or a `RunMask`.
        runs: One run or several.
        lumis: ``(first, last)``, inclusive, or several of them.
        min_entries_per_bin: Least number of entries per in-range bin.
        scope: ``"lumi"`` for lumisections, ``"run"`` for whole runs (LS 0), ``"all"`` for both.
        threads: How many baskets are inflated at a time; by default one per core.
        errors: Where files that cannot be read are told; without it the first one is raised.

    Returns:
        The series, contents in the file's dtype with flow bins.

    Raises:
        InputError: A file cannot be read.
        UnknownNameError: No file has it; the nearest names are told.
        EmptySelectionError: The selection leaves nothing.
        UsageError: Its bins change between lumisections.
    """
    selection = Selection.of(golden=golden, dcs=dcs, runs=runs, lumis=lumis, min_entries_per_bin=min_entries_per_bin)
    query = Query((me,), selection, scope)
    return read_one(files, me, query, threads, errors)


def read_one(
    files: Files, me: str, query: Query, threads: int | None, errors: list[InputError] | None
) -> MonitorElement:
    """Read one monitoring element; see `read`."""
    made = read_query(files, query, threads, errors)
    query.check()
    if me not in made.names:
        level = "" if query.scope == "all" else f" at {'LS' if query.scope == 'lumi' else 'run'} level"
        raise EmptySelectionError(f"{me}: no lumisection left after selection{level}")
    return made.series(me)


def read_query(files: Files, query: Query, threads: int | None, errors: list[InputError] | None) -> Arrays:
    """Read what is asked for; what is absent is left to `Query.check`."""
    with collector_paused():
        return _read_all(list(opened(files, errors)), query, threads, errors)


def arrays(
    files: Files,
    patterns: Patterns = None,
    *,
    golden: Mask | None = None,
    dcs: Mask | None = None,
    runs: int | Iterable[int] | None = None,
    lumis: Ranges | None = None,
    min_entries_per_bin: float | None = None,
    scope: Scope = "lumi",
    missing: Missing = "raise",
    threads: int | None = None,
    errors: list[InputError] | None = None,
) -> Arrays:
    """Read many monitoring elements in one pass over the files.

    Args:
        files: Path, glob, URL, list file, or several of them.
        patterns: Names, globs (``*`` within a part of the path, ``**`` across), regular expressions (compiled, or
            ``"re:…"``); ``None`` for everything.
        golden: Golden JSON, a file or a `RunMask`.
        dcs: DCS-only JSON, a file or a `RunMask`.
        runs: One run or several.
        lumis: ``(first, last)``, inclusive, or several of them.
        min_entries_per_bin: Least number of entries per in-range bin.
        scope: ``"lumi"`` for lumisections, ``"run"`` for whole runs (LS 0), ``"all"`` for both.
        missing: Whether something asked for that no file has is an error or a warning; it is named either way.
        threads: How many baskets are inflated at a time; by default one per core.
        errors: Where files that cannot be read are told; without it the first one is raised.

    Returns:
        One awkward array per storage type, and the table of monitoring elements; `Arrays.series` gives one of them.

    Raises:
        InputError: A file cannot be read.
        UnknownNameError: Something asked for is in no file.
    """
    selection = Selection.of(golden=golden, dcs=dcs, runs=runs, lumis=lumis, min_entries_per_bin=min_entries_per_bin)
    query = Query(patterns, selection, scope)
    made = read_query(files, query, threads, errors)
    tell_absent(query, missing)
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
    scope: Scope = "lumi",
    missing: Missing = "raise",
    threads: int | None = None,
    errors: list[InputError] | None = None,
    step_bytes: int = 256 << 20,
) -> Iterator[Arrays]:
    """Read many monitoring elements piece by piece, in the order of the files; memory stays near ``step_bytes``.

    Args:
        files: As in `arrays`.
        patterns: As in `arrays`.
        golden: As in `arrays`.
        dcs: As in `arrays`.
        runs: As in `arrays`.
        lumis: As in `arrays`.
        min_entries_per_bin: As in `arrays`.
        scope: As in `arrays`.
        missing: As in `arrays`.
        threads: As in `arrays`.
        errors: As in `arrays`.
        step_bytes: About how many bytes of inflated histograms one piece holds.

    Yields:
        Pieces of whole lumisections of one file. A lumisection that lies in several files comes once for each.

    Raises:
        InputError: A file cannot be read.
        UnknownNameError: Something asked for is in no file (told after the last piece).
        UsageError: ``step_bytes`` is not positive.
    """
    if step_bytes <= 0:
        raise UsageError(f"step_bytes must be positive; got {step_bytes!r}")
    selection = Selection.of(golden=golden, dcs=dcs, runs=runs, lumis=lumis, min_entries_per_bin=min_entries_per_bin)
    query = Query(patterns, selection, scope)
    yield from iterate_query(files, query, threads, errors, step_bytes)
    tell_absent(query, missing)


def iterate_query(
    files: Files, query: Query, threads: int | None, errors: list[InputError] | None, step_bytes: int
) -> Iterator[Arrays]:
    """Read what is asked for piece by piece; see `iterate`. What is absent is left to `Query.check`."""
    for file in opened(files, errors):
        try:
            numbers: dict[str, int] = {}
            asked = ask(file, 0, query, numbers)
            names, forms = by_name([asked], numbers), Forms()
            for piece in _pieces(file, asked, step_bytes):
                yield _assemble({0: file}, piece, names, forms, query, threads)
        except InputError as error:
            if errors is None:
                raise
            errors.append(error)


def tell_absent(query: Query, missing: Missing) -> None:
    """Raise or warn where something asked for is in no file."""
    if missing == "raise":
        query.check()
    elif absent := query.absent():
        warnings.warn(f"in no file: {', '.join(absent)}", DQMWarning, stacklevel=3)


def _pieces(file: NanoFile, asked: dict[str, Asked], step: int) -> Iterator[dict[str, Asked]]:
    """Cut what is asked of one file into pieces of whole lumisections, by the inflated size of the entries."""
    keys = {tree: (a.run.astype(np.uint64) << np.uint64(32)) | a.lumi for tree, a in asked.items()}
    if not keys:
        return
    every = np.unique(np.concatenate(list(keys.values())))
    size = np.zeros(len(every))
    for tree, key in keys.items():
        baskets = file.trees[tree].values
        per_entry = file.trees[tree].total_bytes / max(baskets.n_entries, 1)
        size += np.bincount(np.searchsorted(every, key), minlength=len(every)) * per_entry
    piece_of = np.floor((np.cumsum(size) - size) / step).astype(np.int64)
    for piece in np.unique(piece_of):
        inside = every[piece_of == piece]
        cut = {tree: asked[tree][np.isin(key, inside)] for tree, key in keys.items()}
        yield {tree: one for tree, one in cut.items() if len(one)}


def _read_all(files: list[NanoFile], query: Query, threads: int | None, errors: list[InputError] | None) -> Arrays:
    """Read what is asked for from all files; a file that turns out damaged is left out and told in ``errors``."""
    numbers: dict[str, int] = {}
    by_number = dict(enumerate(files))
    parts: dict[int, dict[str, Asked]] = {}
    while True:
        try:
            for number, file in list(by_number.items()):
                if number not in parts:
                    parts[number] = ask(file, number, query, numbers)
            trees = dict.fromkeys(tree for part in parts.values() for tree in part)
            whole = {tree: Asked.join([part[tree] for part in parts.values() if tree in part]) for tree in trees}
            names = by_name([whole], numbers)
            return _assemble(by_number, whole, names, Forms(), query, threads)
        except InputError as error:
            failed = [number for number, file in by_number.items() if file.path == error.path]
            if errors is None or not failed or len(by_number) == 1:
                raise
            errors.append(error)
            for number in failed:
                del by_number[number]
                parts.pop(number, None)
        finally:
            for file in files:
                file.close()


def _assemble(
    files: dict[int, NanoFile],
    asked: dict[str, Asked],
    names: list[str],
    forms: Forms,
    query: Query,
    threads: int | None,
) -> Arrays:
    rows: dict[str, Rows] = {}
    for tree, part in asked.items():
        if tree in SCALARS:
            made, kept = _scalar_rows(files, tree, names, part, forms)
        elif tree in STORAGES:
            made, kept = histograms(files, tree, names, part, forms, threads or default_threads())
        else:
            made, kept = polygons(files, tree, names, part, forms)
        made = merge(made, kept.name, forms.table, forms.growing)
        if query.selection.min_entries_per_bin is not None and tree not in SCALARS:
            bins = np.array([np.prod(info.bins, dtype=np.int64) for info in forms.table])
            enough = query.selection.enough(made.entries, bins[made.me])
            made = made if enough.all() else take(made, enough)
        if len(made):
            # The trees are named for what they hold, in the plural.
            rows[tree[:-1]] = made
    return tidy(forms.table, rows)


def _scalar_rows(
    files: dict[int, NanoFile], tree: str, names: list[str], asked: Asked, forms: Forms
) -> tuple[Rows, Asked]:
    key = (asked.run.astype(np.uint64) << np.uint64(32)) | asked.lumi
    asked = asked[np.lexsort((key, asked.name))]
    contents = np.empty(len(asked), DTYPES[tree])
    for number in np.unique(asked.file):
        mine = asked.file == number
        contents[mine] = scalars(files[int(number)], tree, asked.entry[mine])
    place = {}
    for number in np.unique(asked.name).tolist():
        place[number] = len(forms.table)
        forms.table.append(MEInfo(names[number], SCALARS[tree], ()))
    me = np.array([place[number] for number in asked.name.tolist()], np.int32)
    offsets = np.arange(len(asked) + 1)
    return Rows(me, asked.run, asked.lumi, np.ones(len(asked)), offsets, contents), asked


def tidy(table: list[MEInfo], rows: dict[str, Rows]) -> Arrays:
    """Sort the table by name, count lumisections, and leave out what has no rows."""
    counted: dict[int, MEInfo] = {}
    for part in rows.values():
        keys = (part.run.astype(np.uint64) << np.uint64(32)) | part.lumi
        order = np.argsort(part.me, kind="stable")
        begins = np.flatnonzero(np.append(True, np.diff(part.me[order]) != 0))
        for piece in np.split(order, begins[1:]):
            number = int(part.me[piece[0]])
            counted[number] = with_counts(table[number], np.unique(keys[piece]))
    order_of = sorted(counted, key=lambda i: (counted[i].name, counted[i].storage, i))
    new = np.zeros(len(table), np.int32)
    new[order_of] = np.arange(len(order_of), dtype=np.int32)
    tidy: dict[str, Rows] = {}
    for storage, part in rows.items():
        tidy[storage] = dataclasses.replace(part, me=new[part.me])
    return Arrays(tuple(counted[i] for i in order_of), tidy)


def with_counts(info: MEInfo, keys: NDArray[Any]) -> MEInfo:
    """Fill in how many lumisections and runs have a monitoring element, from its unique ``run << 32 | lumi``."""
    run, lumi = keys >> np.uint64(32), keys & np.uint64(0xFFFFFFFF)
    runs = tuple(np.unique(run).tolist())
    return dataclasses.replace(info, n_ls=int((lumi > 0).sum()), runs=runs, n_runs=int((lumi == 0).sum()))
