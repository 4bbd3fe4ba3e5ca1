"""DQM GUI files: ``DQMData/Run N/<subsystem>/Run summary/…``, with their scalars, quality tests and efficiency flags.

Layout: CMSSW's ``LegacyIOHelper``. Histograms stand under their own keys; a scalar is a TObjString whose key is named
after its whole text, ``<name>i=3</name>``. "By Lumi Section a-b" in the place of "Run summary" is LS b.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import InputError
from dqmroot.io.arrays import MEInfo, Rows
from dqmroot.io.names import Pattern, is_glob
from dqmroot.io.nanodqmio.decode import default_threads
from dqmroot.io.nanodqmio.plan import Query
from dqmroot.io.rootfile.objects import KINDS, Picks, read_objects
from dqmroot.io.rootfile.rootdir import Keys, read_head, read_keys
from dqmroot.io.storage.source import open_source

__all__ = ["GuiFile", "QualityReport", "open_gui"]

_LEVEL = re.compile(r"By Lumi Section (\d+)-(\d+)")
_TEXT = re.compile(r"<(.*?)>(i|f|s|e|t|qr)=(.*)</\1>", re.DOTALL)
_TEST = re.compile(r"st:(\d+):([-+.\w]+):([^:]*):(.*)", re.DOTALL)
_OLD_TEST = re.compile(r"st\.(\d+)\.(.*)", re.DOTALL)
_SCALARS: dict[str, tuple[str, Callable[[str], Any], Any]] = {
    "i": ("Int", int, np.int64),
    "f": ("Float", float, np.float64),
    "s": ("String", str, object),
}


@dataclass(frozen=True)
class QualityReport:
    """The outcome of one quality test.

    Args:
        me: The monitoring element that was tested.
        test: Name of the test.
        status: 100 good, 200 warning, 300 error, 30 other, 50 disabled, 60 invalid, 70 not enough data, 90 did not run.
        result: The number that the test found; NaN in files of the older form, which do not keep it.
        algorithm: What the test does; empty in the older form.
        message: What it says.
        run: Run.
        lumi: LS; 0 is the whole run.

    Examples:
        >>> report = dq.open_gui(str(gui_file)).quality[0]
        >>> report.status > 0
        True
    """

    me: str
    test: str
    status: int
    result: float
    algorithm: str
    message: str
    run: int
    lumi: int


@dataclass(frozen=True)
class _Place:
    """What one directory stands for: run, LS, and the names of the elements in it up to the last part."""

    run: int
    lumi: int
    prefix: str


@dataclass(frozen=True)
class GuiFile:
    """What a DQM GUI file says besides its histograms.

    Args:
        path: The file.
        uuid: Identity of the file, in hexadecimal.
        scalars: Values by (name, run, LS).
        quality: Outcomes of quality tests.
        efficiency: (name, run, LS) of the elements that are efficiencies: they must never be normalised or added.
        skipped: Number of keys by class, of classes that are no histograms that can be read here.
        picks: Which of them are histograms, and of what.

    Examples:
        >>> dq.open_gui(str(gui_file)).quality[0].me != ""
        True
    """

    path: str
    uuid: str
    scalars: dict[tuple[str, int, int], int | float | str]
    quality: tuple[QualityReport, ...]
    efficiency: frozenset[tuple[str, int, int]]
    skipped: dict[str, int]
    picks: Picks = field(repr=False)

    @property
    def names(self) -> list[str]:
        """Names of the histograms and scalars, sorted."""
        return sorted({*self.picks.name, *(name for name, _, _ in self.scalars)})

    def tables(
        self, threads: int | None = None, progress: Callable[[int], object] | None = None, *, contents: bool = True
    ) -> Iterable[tuple[str, list[MEInfo], Rows]]:
        """Read every histogram and scalar that the file was opened for; see `dqmroot.io.rootfile.objects.read_objects`."""
        source = open_source(self.path)
        try:
            yield from read_objects(source, self.picks, threads or default_threads(), progress, contents=contents)
        finally:
            source.close()
        for storage, _, dtype in _SCALARS.values():
            mine = [(key, value) for key, value in self.scalars.items() if _storage(value) == storage]
            if mine:
                yield (storage, *_scalar_rows(storage, mine, np.dtype(dtype)))


def open_gui(path: str, query: Query | None = None) -> GuiFile:
    """Open a DQM GUI file; only directories that may hold what ``query`` asks for are looked into.

    Raises:
        InputError: The file cannot be read or is damaged.

    Examples:
        >>> sorted(dq.open_gui(str(gui_file)).skipped)
        []
    """
    query = Query(None, scope="all") if query is None else query
    source = open_source(path)
    try:
        keys = read_keys(source, _descend(query))
        uuid = read_head(source).uuid
    finally:
        source.close()
    places = {folder: _place(folder) for folder in dict.fromkeys(keys.folder)}
    names = [
        place.prefix + name if (place := places[folder]) is not None else ""
        for folder, name in zip(keys.folder, keys.name, strict=True)
    ]
    texts = [i for i, (kind, name) in enumerate(zip(keys.kind, names, strict=True)) if kind == "TObjString" and name]
    others = [i for i, (kind, name) in enumerate(zip(keys.kind, names, strict=True)) if kind in KINDS and name]
    skipped: dict[str, int] = {}
    for kind, name in zip(keys.kind, names, strict=True):
        if name and kind != "TObjString" and kind not in KINDS:
            skipped[kind] = skipped.get(kind, 0) + 1
    scalars, quality, flags = _read_texts(path, keys, texts, places, query)
    picks = _picks(keys, others, names, places, query)
    return GuiFile(path, uuid, scalars, quality, flags, skipped, picks)


def _picks(keys: Keys, index: list[int], names: list[str], places: dict[str, _Place | None], query: Query) -> Picks:
    takes = _takes(query, [names[i] for i in index])
    mine = [
        (i, place) for i, take in zip(index, takes.tolist(), strict=True) if take and (place := places[keys.folder[i]])
    ]
    run = np.array([place.run for _, place in mine], np.uint32)
    lumi = np.array([place.lumi for _, place in mine], np.uint32)
    keep = _taken(query, [place for _, place in mine])
    at = np.array([i for i, _ in mine], np.int64)[keep]
    number: dict[str, int] = {}
    me = np.array([number.setdefault(names[i], len(number)) for i in at.tolist()], np.int32)
    classes = list(KINDS)
    code = {kind: i for i, kind in enumerate(classes)}
    kind = np.array([code[keys.kind[i]] for i in at.tolist()], np.int64)
    return Picks(keys.place[at], kind, classes, list(number), me, run[keep], lumi[keep])


def _place(folder: str) -> _Place | None:
    """Tell what a directory stands for; ``None`` where it is not part of the layout."""
    parts = folder.split("/")
    if len(parts) < 4 or parts[0] != "DQMData" or not re.fullmatch(r"Run \d+", parts[1]):
        return None
    run = int(parts[1][4:])
    prefix = "/".join([parts[2], *parts[4:]]) + "/"
    if parts[3] == "Run summary":
        return _Place(run, 0, prefix)
    level = _LEVEL.fullmatch(parts[3])
    return _Place(run, int(level[2]), prefix) if level and run < 2**32 and int(level[2]) < 2**32 else None


def _descend(query: Query) -> Callable[[str], bool]:
    """Return the test whether to look into a directory."""
    fixed = None if query.everything else [_fixed(pattern) for pattern in query.all_patterns]

    def look(path: str) -> bool:
        parts = path.split("/")
        if len(parts) <= 2:
            return parts[0] == "DQMData"
        if parts[2] == "Reference":
            return False
        if len(parts) > 3 and _place(path) is None:
            return False
        mine = [parts[2], *parts[4:]]
        return fixed is None or any(all(a == b for a, b in zip(mine, known, strict=False)) for known in fixed)

    return look


def _fixed(pattern: Pattern) -> list[str]:
    """Return the directories that every name a pattern takes lies in."""
    if isinstance(pattern, re.Pattern) or pattern.startswith("re:"):
        return []
    parts = pattern.split("/")[:-1]
    for i, part in enumerate(parts):
        if is_glob(part):
            return parts[:i]
    return parts


def _read_texts(
    path: str, keys: Keys, index: list[int], places: dict[str, _Place | None], query: Query
) -> tuple[dict[tuple[str, int, int], int | float | str], tuple[QualityReport, ...], frozenset[tuple[str, int, int]]]:
    """Sort the strings of a file into scalars, quality tests and efficiency flags."""
    scalars: dict[tuple[str, int, int], int | float | str] = {}
    quality, flags = [], set()
    found = []
    for i in index:
        place, match = places[keys.folder[i]], _TEXT.fullmatch(keys.name[i])
        if match is not None and place is not None:
            # The name of a histogram with tests has no dot.
            base, _, test = match[1].partition(".") if match[2] == "qr" else (match[1], "", "")
            found.append((place.prefix + base, match[2], match[3], test, place))
    takes = _takes(query, [name for name, *_ in found])
    takes &= _taken(query, [place for *_, place in found])
    for (name, kind, value, test, place), take in zip(found, takes.tolist(), strict=True):
        where = (name, place.run, place.lumi)
        if not take:
            continue
        if kind in _SCALARS:
            try:
                scalars[where] = _SCALARS[kind][1](value)
            except ValueError as error:
                raise InputError(path, f"{value!r} is no value of kind {kind!r}", name) from error
        elif kind == "e":
            flags.add(where)
        elif kind == "qr" and (report := _report(name, test, value, place)) is not None:
            quality.append(report)
    return scalars, tuple(quality), frozenset(flags)


def _report(name: str, test: str, value: str, place: _Place) -> QualityReport | None:
    new, old = _TEST.fullmatch(value), _OLD_TEST.fullmatch(value)
    if new is not None:
        try:
            result = float(new[2])
        except ValueError:
            return None
        return QualityReport(name, test, int(new[1]), result, new[3], new[4], place.run, place.lumi)
    if old is not None:
        return QualityReport(name, test, int(old[1]), float("nan"), "", old[2].strip(), place.run, place.lumi)
    return None


def _takes(query: Query, names: list[str]) -> NDArray[np.bool_]:
    return np.ones(len(names), np.bool_) if query.everything else query.takes(names)


def _taken(query: Query, places: list[_Place]) -> NDArray[np.bool_]:
    run = np.array([place.run for place in places], np.uint32)
    lumi = np.array([place.lumi for place in places], np.uint32)
    return query.scoped(lumi) & query.selection.contains(run, lumi)


def _storage(value: Any) -> str:
    return "String" if isinstance(value, str) else "Float" if isinstance(value, float) else "Int"


def _scalar_rows(
    storage: str, found: list[tuple[tuple[str, int, int], Any]], dtype: np.dtype[Any]
) -> tuple[list[MEInfo], Rows]:
    number: dict[str, int] = {}
    me = np.array([number.setdefault(name, len(number)) for (name, _, _), _ in found], np.int32)
    run, lumi = (np.array([key[i] for key, _ in found], np.uint32) for i in (1, 2))
    contents: NDArray[Any] = np.empty(len(found), dtype)
    contents[:] = [value for _, value in found]
    table = [MEInfo(name, storage, ()) for name in number]
    return table, Rows(me, run, lumi, np.ones(len(found)), np.arange(len(found) + 1), contents)
