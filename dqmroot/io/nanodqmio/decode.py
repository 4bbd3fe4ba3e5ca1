"""Decode chosen entries of one tree straight into their places, basket by basket, in threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import InputError
from dqmroot.io.nanodqmio.layout import STORAGES, Storage
from dqmroot.io.nanodqmio.trees import NanoFile, Tree
from dqmroot.io.storage.baskets import Payload
from dqmroot.io.storage.inflate import Inflater, linked
from dqmroot.kernels import baskets as kernels
from dqmroot.kernels.unpack import decode_baskets

__all__ = ["Places", "decode_entries", "default_threads", "look", "refuse"]

_BATCH_BYTES = 4 << 20
_BATCH_BASKETS = 32
_BUFFER = 2 << 20  # what the second cache of a core holds
_EMPTY = np.empty(0, np.uint64)

_WHY = {
    kernels.TABLE: "the table of entry offsets makes no sense",
    kernels.CLASS: "holds another class than its tree says",
    kernels.LAYOUT: "is not laid out as ROOT writes it",
    kernels.COUNT: "its number of contents is not that of its bins",
    kernels.BUFFERED: "its fills are still in a buffer",
    kernels.OTHER_SIZE: "its size changed while it was read",
}


def default_threads() -> int:
    """Number of processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class Places:
    """Where the numbers of a set of rows go, and what was found of each.

    Args:
        storage: Class of the histograms.
        plan: ``(rows, 4)`` int64: place and number of the contents, places of Σw² and of the profile's Σw²; -1: none.
        found: ``(rows, 8)`` int64: status, sizes, fingerprints, start and stop in the basket.
        entries: ``(rows,)`` float64.
        contents: Flat, in the file's dtype.
        sumw2: Flat float64, where planned.
        bin_entries: Flat float64, for profiles, at the places of the contents.
        bin_sumw2: Flat float64, for profiles, where planned.
    """

    storage: Storage
    plan: NDArray[np.int64]
    found: NDArray[np.int64]
    entries: NDArray[np.float64]
    contents: NDArray[Any]
    sumw2: NDArray[np.float64]
    bin_entries: NDArray[np.float64]
    bin_sumw2: NDArray[np.float64]

    words: tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # The kernels move bits: they see each array as unsigned words of its width.
        flat = self.contents.view(f"u{self.contents.dtype.itemsize}")
        eight = np.uint64
        self.words = (flat, self.sumw2.view(eight), self.bin_entries.view(eight), self.bin_sumw2.view(eight))

    @classmethod
    def none(cls, storage: Storage, rows: int) -> Places:
        """Places for no numbers at all: only look at what there is."""
        empty = np.empty(0, np.float64)
        plan = np.full((rows, 4), -1, np.int64)
        found = np.zeros((rows, 8), np.int64)
        return cls(storage, plan, found, np.zeros(rows), np.empty(0, storage.dtype), empty, empty, empty)


def decode_entries(
    file: NanoFile, tree: str, entry: NDArray[np.int64], row: NDArray[np.int64], places: Places, threads: int
) -> None:
    """Decode entries of one tree into their rows; `Places.found` tells how each went.

    Args:
        file: The file.
        tree: Name of the tree.
        entry: ``(k,)`` entry numbers, in any order.
        row: ``(k,)`` the row of each.
        places: Where the numbers go.
        threads: How many baskets are inflated at a time.

    Raises:
        InputError: A basket is damaged.
    """
    if len(entry) == 0:
        return
    if np.any(entry[1:] < entry[:-1]):
        order = np.argsort(entry, kind="stable")
        entry, row = entry[order], row[order]
    branch = file.trees[tree]
    shape, name = _shape(branch)

    own = threading.local()
    first = branch.values.first
    local = entry - first[np.searchsorted(first, entry, side="right") - 1]

    def work(batch: list[tuple[int, int, int]]) -> None:
        if not hasattr(own, "inflater"):
            own.inflater = Inflater()
            # Without libdeflate within reach no basket fits, and each is inflated from here.
            own.buffer = np.empty(_BUFFER if linked() else 0, np.uint8)
        raws = branch.values.load(file.source, [number for number, _, _ in batch])
        left = _decode_plain(branch, batch, raws, local, row, shape, name, places, own.buffer)
        for i in left:
            number, begin, end = batch[i]
            payload = branch.values.payload(number, raws[i], own.inflater)
            _call(payload, local[begin:end], row[begin:end], shape, name, places)

    batches = _batches(branch, entry, threads)
    if threads <= 1 or len(batches) == 1:
        for batch in batches:
            work(batch)
        return
    with ThreadPoolExecutor(threads, "dqmroot-read") as pool:
        for _ in pool.map(work, batches):
            pass


def _decode_plain(
    tree: Tree,
    batch: list[tuple[int, int, int]],
    raws: list[bytes | None],
    local: NDArray[np.int64],
    row: NDArray[np.int64],
    shape: NDArray[np.int64],
    name: NDArray[np.uint8],
    places: Places,
    buffer: NDArray[np.uint8],
) -> list[int]:
    """Decode what is plain ZLIB, as nearly all is; return which baskets are left."""
    baskets = tree.values
    if not len(buffer):
        return list(range(len(batch)))
    numbers = np.array([number for number, _, _ in batch], np.int64)
    sizes = np.array([len(raw or b"") for raw in raws], np.int64)
    written = numbers < len(baskets.seek)
    lie = np.zeros((len(batch), 4), np.int64)
    lie[:, 1] = np.cumsum(sizes)
    lie[:, 0] = lie[:, 1] - sizes
    lie[written, 2] = baskets.seek[numbers[written]]
    lie[:, 3] = baskets.first[numbers + 1] - baskets.first[numbers]
    text = baskets.branch.encode()
    label = np.frombuffer(b"\x07TBasket" + bytes([len(text)]) + text, np.uint8)
    left = np.zeros(len(batch), np.bool_)
    decode_baskets(
        np.frombuffer(b"".join(raw for raw in raws if raw), np.uint8),
        lie,
        label,
        np.array([cut for _, *cut in batch], np.int64),
        local,
        row,
        shape,
        name,
        places.plan,
        places.found,
        places.entries,
        *places.words,
        buffer,
        left,
    )
    return np.flatnonzero(left).tolist()


def _shape(tree: Tree) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    storage = STORAGES[tree.name]
    return storage.shape(header=tree.header), np.frombuffer(storage.name.encode(), np.uint8)


def _call(
    payload: Payload,
    local: NDArray[np.int64],
    row: NDArray[np.int64],
    shape: NDArray[np.int64],
    name: NDArray[np.uint8],
    places: Places,
) -> None:
    kernels.decode(
        payload.data,
        payload.border,
        payload.key_length,
        payload.n_entries,
        local,
        row,
        shape,
        name,
        places.plan,
        places.found,
        places.entries,
        *places.words,
    )


def _batches(tree: Tree, entry: NDArray[np.int64], threads: int) -> list[list[tuple[int, int, int]]]:
    """Group sorted entries by basket, and baskets into pieces of work: (basket, first and last place in ``entry``)."""
    baskets = tree.values
    of = np.searchsorted(baskets.first, entry, side="right") - 1
    begin = np.flatnonzero(np.append(True, of[1:] != of[:-1]))
    end = np.append(begin[1:], len(entry))
    numbers = of[begin]
    limit = min(_BATCH_BASKETS, max(1, len(numbers) // (4 * threads)))
    out: list[list[tuple[int, int, int]]] = []
    size = 0
    for number, a, b in zip(numbers.tolist(), begin.tolist(), end.tolist(), strict=True):
        n = int(baskets.nbytes[number]) if number < len(baskets.nbytes) else 0
        if not out or len(out[-1]) >= limit or size + n > _BATCH_BYTES:
            out.append([])
            size = 0
        out[-1].append((number, a, b))
        size += n
    return out


def look(file: NanoFile, tree: str, entry: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64], bytes]]:
    """Look at single entries without copying their numbers.

    Yields:
        For each of the sorted entries: its place in ``entry``, what was found (see `Places`), and its bytes.

    Raises:
        InputError: A basket is damaged.
    """
    branch = file.trees[tree]
    shape, name = _shape(branch)
    places = Places.none(STORAGES[tree], len(entry))
    inflater = Inflater()
    for batch in _batches(branch, entry, 1):
        raws = branch.values.load(file.source, [number for number, _, _ in batch])
        for (number, begin, end), raw in zip(batch, raws, strict=True):
            payload = branch.values.payload(number, raw, inflater)
            _call(payload, entry[begin:end] - branch.values.first[number], np.arange(begin, end), shape, name, places)
            for at in range(begin, end):
                found = places.found[at]
                yield at, found, payload.data[found[kernels.START] : found[kernels.STOP]].tobytes()


def refuse(path: str, tree: str, entry: int, status: int) -> InputError:
    """Make the error for an entry that cannot be decoded."""
    return InputError(path, _WHY[status], tree, entry)
