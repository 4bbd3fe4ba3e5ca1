"""nanoDQMIO and DQMIO files: trees, the ``Indices`` of their blocks, and the names of their entries.

A file is opened through uproot; where the baskets lie is taken from the records of the trees, and the baskets are read here.
The format is CMSSW's ``DQMRootOutputModule``: one tree per type (`FullName`, `Flags`, `Value`), and one row of ``Indices`` for
each block of entries that belong to one (run, lumisection, type).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uproot
from numpy.typing import NDArray

from dqmroot.errors import InputError
from dqmroot.io.nanodqmio.treerecord import TreeRecord, first_entries, parse_tree, record_of
from dqmroot.io.storage.baskets import Baskets
from dqmroot.io.storage.inflate import Inflater
from dqmroot.io.storage.source import SeekableSource, Source, open_source
from dqmroot.kernels.names import index_names, rehash

__all__ = ["SCALARS", "Blocks", "NanoFile", "Tree", "open_file"]

SCALARS = {"Ints": "Int", "Floats": "Float", "Strings": "String"}
"""Trees that hold no histograms, and what their values are called."""

# The type number of a block is a place in one of these tables; which one, depends on the CMSSW release.
_OLD = (
    "Ints",
    "Floats",
    "Strings",
    "TH1Fs",
    "TH1Ss",
    "TH1Ds",
    "TH2Fs",
    "TH2Ss",
    "TH2Ds",
    "TH3Fs",
    "TProfiles",
    "TProfile2Ds",
)
_TABLE_12 = _OLD
_TABLE_14 = (*_OLD, "TH1Is", "TH2Is")
_TABLE_15 = (*_OLD[:9], "TH2Polys", *_OLD[9:], "TH1Is", "TH2Is")
_NO_TYPES = 1000
_COLUMNS = {"Run": np.uint32, "Lumi": np.uint32, "Type": np.uint32, "FirstIndex": np.uint64, "LastIndex": np.uint64}


@dataclass(frozen=True)
class Tree:
    """One type tree.

    Args:
        name: ``"TH2Fs"``.
        names: Baskets of the full names.
        values: Baskets of the values.
        header: Whether each value begins with its class name.
        total_bytes: Bytes of the values once inflated.
        branch: Gives uproot's branch of the values.
    """

    name: str
    names: Baskets
    values: Baskets
    header: bool
    total_bytes: int
    branch: Callable[[], Any] = field(repr=False)

    def __len__(self) -> int:
        return self.values.n_entries


@dataclass(frozen=True)
class Blocks:
    """The rows of ``Indices`` that belong to one tree: entries ``first`` to before ``stop`` are of (run, lumi)."""

    run: NDArray[np.uint32]
    lumi: NDArray[np.uint32]
    first: NDArray[np.int64]
    stop: NDArray[np.int64]

    def entries(self, chosen: NDArray[np.bool_] | None = None) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        """Return the entries of the chosen blocks and the block of each, in the order of the blocks."""
        which = np.arange(len(self.run)) if chosen is None else np.flatnonzero(chosen)
        lengths = self.stop[which] - self.first[which]
        block = np.repeat(which, lengths)
        before = np.repeat(np.cumsum(lengths) - lengths, lengths)
        return self.first[block] + np.arange(len(block)) - before, block


class NanoFile:
    """One open nanoDQMIO file.

    Args:
        path: The file.
        source: Its bytes.
        uuid: Identity of the file, in hexadecimal.
        trees: The type trees by name.
        blocks: The blocks of each tree, by name.
        lumis: ``(n, 2)`` uint32, each (run, lumi) of the file, those without any entry among them; sorted.
    """

    def __init__(
        self,
        source: Source,
        uuid: str,
        trees: dict[str, Tree],
        blocks: dict[str, Blocks],
        lumis: NDArray[np.uint32],
    ) -> None:
        self.path, self.source, self.uuid, self.trees, self.blocks, self.lumis = (
            source.path,
            source,
            uuid,
            trees,
            blocks,
            lumis,
        )
        self._names: dict[str, tuple[tuple[str, ...], NDArray[np.int32]]] = {}

    def names(self, tree: str) -> tuple[tuple[str, ...], NDArray[np.int32]]:
        """Return the distinct full names in a tree, and for each entry the place of its own among them.

        Raises:
            InputError: A basket is damaged.
        """
        if tree not in self._names:
            self._names[tree] = _index(self.source, self.trees[tree])
        return self._names[tree]

    def close(self) -> None:
        """Close the file; it is opened again when it is read again."""
        self.source.close()


def open_file(path: str) -> NanoFile:
    """Open a nanoDQMIO file and read its ``Indices``.

    Raises:
        InputError: The file is missing, not a ROOT file, truncated, not of this format, or contradicts itself.
    """
    source = open_source(path)
    try:
        return _open(source)
    except InputError:
        source.close()
        raise
    except RecursionError as error:
        source.close()
        raise InputError(path, "its metadata is nested without end") from error
    except Exception as error:
        source.close()
        text = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(path, f"its metadata cannot be read ({type(error).__name__}: {text[0][:120]})") from error


def _open(source: Source) -> NanoFile:
    if source.size < 64 or source.read(0, 4) != b"root":
        raise InputError(source.path, "not a ROOT file" if source.size else "empty, not a ROOT file")
    end = _file_end(source)
    if end > source.size:
        raise InputError(source.path, f"truncated: {source.size} bytes of {end}")
    # Not closed: uproot's slow path reads from it later, and the only thing it holds open is the source.
    top = uproot.open(SeekableSource(source), use_threads=False)
    keys = top.classnames(recursive=False, cycle=False)
    if keys.get("Indices") != "TTree":
        raise InputError(source.path, "not a DQMIO file: it has no tree Indices")
    indices = _record(top, "Indices")
    columns = {name: _column(source, indices, name, dtype) for name, dtype in _COLUMNS.items()}
    known = set(_TABLE_15)
    found = {name: _record(top, name) for name, kind in keys.items() if name in known and kind == "TTree"}
    trees = {name: _tree(source, top, name, tree) for name, tree in found.items() if tree.n_entries > 0}
    uuid = top.file.uuid.hex
    blocks, lumis = _blocks(source.path, columns, trees, _tables(found))
    return NanoFile(source, uuid, trees, blocks, lumis)


def _file_end(source: Source) -> int:
    """FEND of the file header: 32 bits in small files, 64 in large ones."""
    head = source.read(0, 24)
    large = int.from_bytes(head[4:8], "big") >= 1_000_000
    return int.from_bytes(head[12:20] if large else head[12:16], "big")


def _record(top: Any, name: str) -> TreeRecord:
    """Where the baskets of a tree lie; through uproot where its record is laid out in a way of its own."""
    key = top.key(name)
    chunk, _ = key.get_uncompressed_chunk_cursor()
    found = parse_tree(np.asarray(chunk.raw_data, np.uint8).tobytes(), key.fKeylen)
    return found or record_of(top[name], {*_COLUMNS, "FullName", "Value"})


def _column(source: Source, tree: TreeRecord, name: str, dtype: Any) -> NDArray[Any]:
    """Read a branch of plain numbers."""
    baskets = _baskets(source, tree, name)
    kind = np.dtype(dtype).newbyteorder(">")
    parts = []
    inflater = Inflater()
    for number, raw in enumerate(baskets.load(source, range(len(baskets)))):
        payload = baskets.payload(number, raw, inflater)
        if payload.border != payload.n_entries * kind.itemsize:
            raise InputError(
                source.path, f"{name} has {payload.border} bytes for {payload.n_entries} entries", tree.name
            )
        parts.append(np.frombuffer(payload.data[: payload.border], kind).astype(dtype))
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _tree(source: Source, top: Any, key: str, tree: TreeRecord) -> Tree:
    if tree.name != key:
        raise InputError(source.path, f"the tree calls itself {tree.name!r}", key)
    names = _baskets(source, tree, "FullName")
    values = _baskets(source, tree, "Value")
    if names.n_entries != values.n_entries:
        what = f"{names.n_entries} names for {values.n_entries} values"
        raise InputError(source.path, what, tree.name)
    value = tree.branches["Value"]
    return Tree(key, names, values, value.classname == "TBranchObject", value.total_bytes, lambda: top[key]["Value"])


def _baskets(source: Source, tree: TreeRecord, name: str) -> Baskets:
    """Positions of the baskets of a branch, checked."""
    if name not in tree.branches:
        raise InputError(source.path, f"not a DQMIO file: no branch {name}", tree.name)
    branch = tree.branches[name]
    first = first_entries(branch.seek, branch.first, branch.n_entries)
    n = len(first) - 1
    seek, nbytes = branch.seek[:n], branch.nbytes[:n]
    embedded = branch.embedded if first[-1] != branch.n_entries else ()
    first = np.append(first, first[-1] + np.cumsum([payload.n_entries for payload in embedded], dtype=np.int64))
    good = (
        len(nbytes) == n
        and first[0] == 0
        and first[-1] == branch.n_entries
        and bool(np.all(np.diff(first) >= 0))
        and bool(np.all((seek > 0) & (nbytes > 0) & (nbytes <= source.size) & (seek <= source.size - nbytes)))
    )
    if not good:
        raise InputError(
            source.path, f"the baskets of branch {name} contradict each other or the size of the file", tree.name
        )
    return Baskets(source.path, tree.name, name, seek, nbytes, first, embedded)


def _blocks(
    path: str, columns: dict[str, NDArray[Any]], trees: dict[str, Tree], tables: list[tuple[str, ...]]
) -> tuple[dict[str, Blocks], NDArray[np.uint32]]:
    """Split ``Indices`` by tree; the table of types is the one under which the numbers of entries agree."""
    if len({len(column) for column in columns.values()}) != 1:
        raise InputError(path, "branches of different lengths", "Indices")
    first = columns["FirstIndex"]
    last = columns["LastIndex"]
    kind = columns["Type"]
    stored = kind != _NO_TYPES
    limit = np.uint64(1) << np.uint64(62)
    if np.any((last < first)[stored]) or np.any(last[stored] >= limit):
        raise InputError(
            path, "a block ends before it begins", "Indices", int(np.flatnonzero(stored & (last < first))[0])
        )
    for table in tables:
        if np.any(kind[stored] >= len(table)):
            continue
        total = np.zeros(len(table))
        np.add.at(total, kind[stored].astype(np.intp), (last - first + np.uint64(1))[stored].astype(np.float64))
        sizes = [len(trees[name]) if name in trees else 0 for name in table]
        if np.array_equal(total, sizes):
            break
    else:
        raise InputError(path, "the numbers of entries in its blocks do not agree with its trees", "Indices")
    out = {}
    for number, name in enumerate(table):
        mine = stored & (kind == number)
        if name in trees:
            block = Blocks(
                columns["Run"][mine],
                columns["Lumi"][mine],
                first[mine].astype(np.int64),
                last[mine].astype(np.int64) + 1,
            )
            if len(block.stop) and block.stop.max() > len(trees[name]):
                raise InputError(path, f"a block of {name} ends beyond its {len(trees[name])} entries", "Indices")
            out[name] = block
    lumis = np.unique(np.stack([columns["Run"], columns["Lumi"]], axis=1), axis=0)
    return out, lumis


def _tables(found: Container[str]) -> list[tuple[str, ...]]:
    """The tables of types to try: first the one that the trees of the file speak for."""
    if "TH2Polys" in found:
        return [_TABLE_15, _TABLE_14, _TABLE_12]
    if "TH1Is" in found:
        return [_TABLE_14, _TABLE_15, _TABLE_12]
    return [_TABLE_12, _TABLE_14, _TABLE_15]


def _index(source: Source, tree: Tree) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Number the names of a tree."""
    ids = np.empty(len(tree), np.int32)
    pool, ends = np.empty(1 << 14, np.uint8), np.zeros(1 << 9, np.int64)
    after, slots = np.full(1 << 9, -1, np.int32), np.full(1 << 10, -1, np.int32)
    state = np.array([0, -1], np.int64)
    baskets = tree.names
    inflater = Inflater()
    for begin in range(0, len(baskets), 64):
        numbers = range(begin, min(begin + 64, len(baskets)))
        for number, raw in zip(numbers, baskets.load(source, numbers), strict=True):
            payload = baskets.payload(number, raw, inflater)
            n, used = int(state[0]), int(ends[state[0]])
            pool = _room(pool, used + payload.border)
            ends, after = _room(ends, n + payload.n_entries + 1), _room(after, n + payload.n_entries + 1)
            if 2 * (n + payload.n_entries) > len(slots):
                slots = np.full(1 << int(4 * (n + payload.n_entries)).bit_length(), -1, np.int32)
                rehash(pool, ends, n, slots)
            start = int(baskets.first[number])
            wrong = index_names(
                payload.data,
                payload.border,
                payload.key_length,
                payload.n_entries,
                ids[start : start + payload.n_entries],
                pool,
                ends,
                after,
                slots,
                state,
            )
            if wrong >= 0:
                raise InputError(source.path, "its FullName is not a string", tree.name, start + wrong)
    raw_names = pool[: ends[state[0]]].tobytes()
    cuts = ends[: state[0] + 1].tolist()
    names = tuple(raw_names[a:b].decode("utf-8", "backslashreplace") for a, b in itertools.pairwise(cuts))
    return names, ids


def _room(array: NDArray[Any], needed: int) -> NDArray[Any]:
    """Return an array of at least ``needed`` elements that begins like ``array``."""
    if needed <= len(array):
        return array
    out = np.zeros(max(needed, 2 * len(array)), array.dtype)
    out[: len(array)] = array
    return out
