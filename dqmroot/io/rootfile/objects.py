"""Histograms that stand in a ROOT file each under its own key: many of them inflated and decoded at once, in threads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import InputError
from dqmroot.io.arrays import MEInfo, Rows
from dqmroot.io.nanodqmio.decode import Places
from dqmroot.io.nanodqmio.layout import CLASSES, LayoutError, Storage, describe
from dqmroot.io.nanodqmio.surepath import Plain
from dqmroot.io.rootfile.sureobject import AS_POLYGONS, POLYGONS, SureReader
from dqmroot.io.storage.baskets import MAX_BASKET
from dqmroot.io.storage.inflate import Inflater, linked
from dqmroot.io.storage.source import Source
from dqmroot.kernels import baskets as kernels
from dqmroot.kernels.inflate import inflate_zlib
from dqmroot.kernels.keys import AXIS_COLUMNS, find, gather, heads
from dqmroot.series import Axis

__all__ = ["KINDS", "Picks", "join_rows", "read_objects"]

KINDS = (*CLASSES, POLYGONS)
"""Classes of histograms that can be read."""

_BATCH_BYTES = 4 << 20
_BATCH_KEYS = 2000
# Bytes between two keys that are rather read along than skipped.
_GAP = 1 << 15
# No compression that ROOT uses makes a histogram smaller than this.
_LARGEST_RATIO = 20_000
_HEAD = 6  # byte count and version, which a histogram in a tree of its own class does not have


@dataclass(frozen=True)
class Picks:
    """Which keys to read, and what each is.

    Args:
        place: ``(n, 4)`` int64, see `dqmroot.io.rootfile.rootdir.Keys`; of histograms only.
        kind: ``(n,)`` class of each, counted in ``classes``.
        classes: Names of classes.
        name: Names of monitoring elements.
        me: ``(n,)`` int32, place of each in ``name``.
        run: ``(n,)`` uint32.
        lumi: ``(n,)`` uint32.
    """

    place: NDArray[np.int64]
    kind: NDArray[np.int64]
    classes: list[str]
    name: list[str]
    me: NDArray[np.int32]
    run: NDArray[np.uint32]
    lumi: NDArray[np.uint32]

    def pieces(self, step: int) -> Iterator[Picks]:
        """Cut into pieces of whole lumisections, of about ``step`` inflated bytes where these are smaller; at least one."""
        key = (self.run.astype(np.uint64) << np.uint64(32)) | self.lumi
        every, of = np.unique(key, return_inverse=True)
        size = np.bincount(of, self.place[:, 3], len(every))
        piece = np.floor((np.cumsum(size) - size) / step).astype(np.int64)[of]
        for number in np.unique(piece) if len(piece) else [0]:
            mine = np.flatnonzero(piece == number)
            known, me = np.unique(self.me[mine], return_inverse=True)
            names = [self.name[i] for i in known.tolist()]
            places = (self.place[mine], self.kind[mine], self.classes, names, me.astype(np.int32))
            yield Picks(*places, self.run[mine], self.lumi[mine])


@dataclass
class _Piece:
    """Some decoded histograms of one class: where each stands in `Picks`, its axes and title, and its numbers."""

    index: NDArray[np.int64]
    info: list[tuple[tuple[Axis, ...], str]]
    places: Places


def read_objects(
    source: Source,
    picks: Picks,
    threads: int,
    progress: Callable[[int], object] | None = None,
    *,
    contents: bool = True,
) -> Iterator[tuple[str, list[MEInfo], Rows]]:
    """Read histograms.

    Args:
        source: The file.
        picks: Which ones.
        threads: How many batches of them to work on at a time.
        progress: Told after each batch how many are done.
        contents: Whether to read the numbers too; without them every row is empty.

    Yields:
        Class, what there is of it (each once per combination of name and axes), and the rows, as they lie in the file.

    Raises:
        InputError: A key or an object is damaged.
    """
    pieces: dict[str, list[_Piece]] = defaultdict(list)
    axes: dict[Any, Axis] = {}
    batches = _batches(picks.place)
    done = 0
    slow = SureReader(source)

    def work(batch: NDArray[np.int64]) -> dict[str, _Piece]:
        return _decode(source, slow, picks, batch, axes, contents=contents)

    if threads <= 1 or len(batches) == 1:
        results: Iterator[dict[str, _Piece]] = map(work, batches)
        pool = None
    else:
        pool = ThreadPoolExecutor(threads, "dqmroot-read")
        results = pool.map(work, batches)
    try:
        for batch, result in zip(batches, results, strict=True):
            for kind, piece in result.items():
                pieces[kind].append(piece)
            done += len(batch)
            if progress is not None:
                progress(done)
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)
    for kind, parts in pieces.items():
        yield (kind, *_rows(kind, parts, picks))


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Put rows of one class one after the other."""
    if len(parts) == 1:
        return parts[0]
    offsets = [np.zeros(1, np.int64)]
    for part in parts:
        offsets.append(part.offsets[1:] + offsets[-1][-1])
    joined: dict[str, Any] = {
        what: np.concatenate([getattr(part, what) for part in parts])
        for what in ("me", "run", "lumi", "entries", "contents")
    }
    if parts[0].bin_entries is not None:
        joined["bin_entries"] = np.concatenate([part.bin_entries for part in parts if part.bin_entries is not None])
    for what in ("sumw2", "bin_sumw2"):
        flats = [getattr(part, what) for part in parts]
        if all(flat is None for flat in flats):
            continue
        ats, before = [], 0
        for part, flat in zip(parts, flats, strict=True):
            at = getattr(part, what + "_at")
            ats.append(np.full(len(part), -1, np.int64) if at is None else np.where(at >= 0, at + before, -1))
            before += 0 if flat is None else len(flat)
        joined[what] = np.concatenate([flat for flat in flats if flat is not None])
        joined[what + "_at"] = np.concatenate(ats)
    return Rows(offsets=np.concatenate(offsets), **joined)


def _batches(place: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Cut keys, in the order in which they lie in the file, into pieces of work."""
    order = np.argsort(place[:, 0], kind="stable")
    work = np.cumsum(np.maximum(place[order, 1], _BATCH_BYTES // _BATCH_KEYS))
    return np.split(order, np.flatnonzero(np.diff(work // _BATCH_BYTES)) + 1) if len(order) else []


def _decode(
    source: Source,
    slow: SureReader,
    picks: Picks,
    batch: NDArray[np.int64],
    axes: dict[Any, Axis],
    *,
    contents: bool,
) -> dict[str, _Piece]:
    # In the buffer the objects of one class lie together.
    kinds = picks.kind[batch]
    order = np.argsort(kinds, kind="stable")
    sizes = picks.place[batch, 3]
    bounds = np.append(0, np.cumsum(sizes[order]))
    goal = np.empty(len(batch), np.int64)
    goal[order] = bounds[:-1]
    data = _inflated(source, picks.place[batch], goal)
    out = {}
    for code in np.unique(kinds).tolist():
        first, last = np.searchsorted(kinds[order], [code, code + 1]).tolist()
        kind, which = picks.classes[code], batch[order[first:last]]
        out[kind] = _decode_class(source, slow, kind, data, bounds[first : last + 1], which, picks, axes, contents)
    return out


def _inflated(source: Source, place: NDArray[np.int64], goal: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Read and inflate objects whose keys lie in order, each to its goal; those close to each other are read at once."""
    starts, stops, lengths = place[:, 0], place[:, 0] + place[:, 1], place[:, 3]
    large = lengths > np.minimum(MAX_BASKET, _LARGEST_RATIO * place[:, 1])
    if large.any():
        at, length = place[large][0, [0, 3]].tolist()
        raise InputError(source.path, f"the key at byte {at} says {length} bytes inflated")
    out = np.empty(int(lengths.sum()), np.uint8)
    cuts = np.flatnonzero((starts[1:] - stops[:-1] > _GAP) | (starts[1:] < stops[:-1])) + 1
    firsts, lasts = np.append(0, cuts), np.append(cuts, len(place))
    blocks = source.read_many(list(zip(starts[firsts].tolist(), stops[lasts - 1].tolist(), strict=True)))
    for block, first, last in zip(blocks, firsts.tolist(), lasts.tolist(), strict=True):
        data = np.frombuffer(block, np.uint8)
        begin = starts[first:last] + place[first:last, 2] - starts[first]
        end = stops[first:last] - starts[first]
        _inflate_block(source.path, data, begin, end, lengths[first:last], goal[first:last], out)
    return out


def _inflate_block(path: str, data: Any, begin: Any, end: Any, length: Any, goal: Any, out: NDArray[np.uint8]) -> None:
    # Nearly all objects are one frame: "ZL", method, compressed and inflated size in three bytes each, low byte first.
    head = np.minimum(begin[:, None] + np.arange(9), len(data) - 1)
    frame = data[head].astype(np.int64)
    packed, size = (frame[:, i] | frame[:, i + 1] << 8 | frame[:, i + 2] << 16 for i in (3, 6))
    easy = (frame[:, 0] == ord("Z")) & (frame[:, 1] == ord("L")) & (size == length) & (begin + 9 + packed == end)
    easy &= end - begin != length
    if linked():
        wrong = inflate_zlib(data, begin + 9, end, np.where(easy, goal, -1), length, out)
        if wrong >= 0:
            raise InputError(path, f"the object of {length[wrong]} bytes at {begin[wrong]} is damaged")
    else:
        easy[:] = False
    inflater = Inflater()
    for i in np.flatnonzero(~easy).tolist():
        body = data[begin[i] : end[i]]
        try:
            one = body if len(body) == length[i] else inflater(body, int(length[i]))
        except ValueError as error:
            raise InputError(path, f"an object of {length[i]} bytes is damaged: {error}") from error
        out[goal[i] : goal[i] + length[i]] = one


def _decode_class(
    source: Source,
    slow: SureReader,
    kind: str,
    data: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    which: NDArray[np.int64],
    picks: Picks,
    axes: dict[Any, Axis],
    contents: bool,
) -> _Piece:
    """Decode histograms of one class."""
    storage = CLASSES.get(kind, AS_POLYGONS)
    n = len(which)
    shape, name = storage.shape(header=False), np.frombuffer(kind.encode(), np.uint8)
    found, entries, where = np.zeros((n, 8), np.int64), np.zeros(n), np.zeros((n, 5), np.int64)
    if kind == POLYGONS:
        found[:, kernels.STATUS] = kernels.LAYOUT  # its bins are a list of objects
    else:
        find(data, bounds[:-1], bounds[1:], shape, name, found, entries, where)
    sure: dict[int, Plain] = {}
    for i in np.flatnonzero(found[:, kernels.STATUS]).tolist():
        one, status = data[bounds[i] : bounds[i + 1]], found[i, kernels.STATUS]
        called, key_length = picks.name[picks.me[which[i]]], int(picks.place[which[i], 2])
        buffered = bool(status == kernels.BUFFERED)
        sure[i] = slow.read(one, key_length, storage, called, buffered=buffered)
        found[i, [kernels.N, kernels.N_SUMW2, kernels.N_BIN_SUMW2]] = _counts(sure[i])
        entries[i] = sure[i].entries
    good = np.setdiff1d(np.arange(n), list(sure)) if sure else slice(None)
    info = _describe(data, bounds[:-1][good], bounds[1:][good], storage, axes, source.path)
    for i in sorted(sure):
        info.insert(i, (sure[i].said.axes, sure[i].said.title))
    if not contents:
        found[:, [kernels.N, kernels.N_SUMW2, kernels.N_BIN_SUMW2]] = 0
    places = _places(storage, found, entries)
    if contents:
        if gather(data, where[good], places.plan[good], found[good], *places.words) >= 0:
            raise InputError(source.path, "its size changed while it was read", kind)
        for i, plain in sure.items():
            _put(places, i, plain)
    return _Piece(which, info, places)


def _counts(plain: Plain) -> tuple[int, int, int]:
    """Number of contents, of Σw², and of the profile's Σw²."""
    n, sumw2, bin_sumw2 = plain.sizes
    return n, n if sumw2 else 0, n if bin_sumw2 else 0


def _put(places: Places, i: int, plain: Plain) -> None:
    """Put one histogram where it was planned."""
    at, n, at_sumw2, at_bin_sumw2 = places.plan[i].tolist()
    places.contents[at : at + n] = plain.contents
    if at_sumw2 >= 0:
        places.sumw2[at_sumw2 : at_sumw2 + n] = plain.sumw2
    if plain.bin_entries is not None:
        places.bin_entries[at : at + n] = plain.bin_entries
    if at_bin_sumw2 >= 0:
        places.bin_sumw2[at_bin_sumw2 : at_bin_sumw2 + n] = plain.bin_sumw2


def _places(storage: Storage, found: NDArray[np.int64], entries: NDArray[np.float64]) -> Places:
    """Make room for what was found."""
    n = found[:, kernels.N]
    plan = np.full((len(n), 4), -1, np.int64)
    plan[:, 0], plan[:, 1] = np.cumsum(n) - n, n
    sizes = []
    for column, has in ((2, found[:, kernels.N_SUMW2] > 0), (3, found[:, kernels.N_BIN_SUMW2] > 0)):
        ends = np.cumsum(np.where(has, n, 0))
        plan[has, column] = (ends - n)[has]
        sizes.append(int(ends[-1]))
    total = int(n.sum())
    profile = np.empty(total if storage.profile else 0)
    contents = np.empty(total, storage.dtype)
    return Places(storage, plan, found, entries, contents, np.empty(sizes[0]), profile, np.empty(sizes[1]))


def _describe(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    storage: Storage,
    cache: dict[Any, Axis],
    path: str,
) -> list[tuple[tuple[Axis, ...], str]]:
    """Return axes and title of each histogram; axes that look the same are the same object."""
    n, dimensions = len(starts), storage.dimensions
    blob = data.data
    axes = np.zeros((n, dimensions, AXIS_COLUMNS), np.int64)
    limits, titles, good = np.zeros((n, dimensions, 2)), np.zeros((n, 2), np.int64), np.zeros(n, np.bool_)
    heads(data, starts, stops, storage.depth, axes, limits, titles, good)
    # Whatever is unusual is read the slow way, by the reader that knows labels and tells what is wrong.
    plain = (
        good & ~axes[:, :, 5].any(axis=1) & ((axes[:, :, 2] == 0) | (axes[:, :, 2] == axes[:, :, 0] + 1)).all(axis=1)
    )
    made: list[list[Axis]] = []
    for dimension in range(dimensions):
        rows = zip(axes[:, dimension].tolist(), limits[:, dimension].tolist(), strict=True)
        made.append([_axis(blob, row, pair, cache) for row, pair in rows] if plain.all() else [])
    if plain.all():
        texts = [str(blob[begin:end], "utf-8", "backslashreplace") for begin, end in titles.tolist()]
        return list(zip(zip(*made, strict=True), texts, strict=True))
    out = []
    for i, easy in enumerate(plain.tolist()):
        if easy:
            rows = zip(axes[i].tolist(), limits[i].tolist(), strict=True)
            begin, end = titles[i].tolist()
            title = str(blob[begin:end], "utf-8", "backslashreplace")
            out.append((tuple(_axis(blob, row, pair, cache) for row, pair in rows), title))
            continue
        try:
            one = describe(bytes(blob[starts[i] + _HEAD : stops[i]]), storage, header=False)
        except LayoutError as error:
            raise InputError(path, f"a {storage.name} is not laid out as ROOT writes it: {error}") from error
        out.append((one.axes, one.title))
    return out


def _axis(blob: memoryview, row: list[int], limits: list[float], cache: dict[Any, Axis]) -> Axis:
    nbins, edges, n_edges, begin, end, _ = row
    low, high = limits
    text, numbers = bytes(blob[begin:end]), bytes(blob[edges : edges + 8 * n_edges])
    key = (nbins, low, high, text, numbers)
    made = cache.get(key)
    if made is None:
        variable = np.frombuffer(numbers, ">f8").astype(np.float64) if n_edges else None
        title = text.decode("utf-8", "backslashreplace")
        # Two threads may come here at once: the first one's stays.
        made = cache.setdefault(key, Axis(nbins, low, high, variable, (), title))
    return made


def _rows(kind: str, parts: list[_Piece], picks: Picks) -> tuple[list[MEInfo], Rows]:
    """Put the pieces of one class together."""
    profile = parts[0].places.storage.profile
    table: list[MEInfo] = []
    number: dict[tuple[int, ...], int] = {}
    made = []
    # Where every name stands once, there is nothing to look up.
    once = len(picks.name) == len(picks.me)
    for part in parts:
        me, run, lumi = picks.me[part.index], picks.run[part.index], picks.lumi[part.index]
        mine = []
        for name, (axes, title), r, ls in zip(me.tolist(), part.info, run.tolist(), lumi.tolist(), strict=True):
            key = () if once else (name, *map(id, axes))
            at = None if once else number.get(key)
            if at is None:
                at = number[key] = len(table)
                # Right already where there is one of it, as in most files; else counted anew.
                table.append(MEInfo(picks.name[name], kind, axes, title, int(ls > 0), (r,), int(ls == 0)))
            mine.append(at)
        plan = part.places.plan
        offsets = np.append(plan[:, 0], plan[-1, 0] + plan[-1, 1])
        extra: dict[str, Any] = {}
        if len(part.places.sumw2):
            extra.update(sumw2=part.places.sumw2, sumw2_at=plan[:, 2])
        if profile:
            extra["bin_entries"] = part.places.bin_entries
        if len(part.places.bin_sumw2):
            extra.update(bin_sumw2=part.places.bin_sumw2, bin_sumw2_at=plan[:, 3])
        entries = part.places.entries
        made.append(Rows(np.array(mine, np.int32), run, lumi, entries, offsets, part.places.contents, **extra))
    return table, join_rows(made)
