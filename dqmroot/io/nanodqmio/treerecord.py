"""What a tree's record says of its baskets, taken from ROOT's bytes without building the tree.

uproot builds every branch, leaf and basket table of a tree as an object; for files of a few MB that takes longer than reading
their contents. Here only what is needed is looked at, and everything else is stepped over by the lengths that ROOT writes. The
layouts are those of ROOT 6: ``TTree`` 19 and 20, ``TBranch`` 12 and 13, each byte counted. Whatever looks different is left to
uproot, which gives the same record.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.io.storage.baskets import KEY, Payload

__all__ = ["BranchRecord", "TreeRecord", "first_entries", "parse_tree", "record_of"]

_COUNTED, _NEW_CLASS, _KNOWN_CLASS, _MAP_OFFSET = 0x40000000, 0xFFFFFFFF, 0x80000000, 2
_IS_REFERENCED = 1 << 4

_HEAD = struct.Struct(">IH")
_WORD = struct.Struct(">I")
_OBJECT = struct.Struct(">HII")
_ARRAY = struct.Struct(">ii")
_TREE = struct.Struct(">qqqqqdiiiiIqqqqqq")
_BRANCH = struct.Struct(">iiiiq")
_BRANCH_REST = struct.Struct(">iIiqqqq")
_BASKET = struct.Struct(">Hiiii")


class _OtherLayoutError(Exception):
    """The bytes are not laid out as this module knows them."""


@dataclass(frozen=True, eq=False)
class BranchRecord:
    """One branch.

    Args:
        name: Its name.
        classname: ``"TBranch"``, ``"TBranchElement"`` or ``"TBranchObject"``.
        n_entries: How many entries it has.
        total_bytes: Bytes of its baskets once inflated.
        seek: Place of each basket in the file; 0 behind the last.
        nbytes: Bytes of each basket.
        first: First entry of each basket.
        embedded: Baskets inside the record, looked at only where those in the file do not hold all entries.
    """

    name: str
    classname: str
    n_entries: int
    total_bytes: int
    seek: NDArray[np.int64]
    nbytes: NDArray[np.int64]
    first: NDArray[np.int64]
    embedded: tuple[Payload, ...] = ()


@dataclass(frozen=True, eq=False)
class TreeRecord:
    """One tree: its own name, its number of entries, and its branches by name."""

    name: str
    n_entries: int
    branches: dict[str, BranchRecord]


def parse_tree(data: bytes, key_length: int) -> TreeRecord | None:
    """Read the record of a tree.

    Args:
        data: The inflated record, without its key.
        key_length: Bytes of the key before it, from which references to classes count.

    Returns:
        The record; ``None`` where it is laid out in another way.
    """
    try:
        return _tree(data, key_length)
    except (_OtherLayoutError, struct.error, ValueError, IndexError):
        return None


def record_of(tree: Any, names: Container[str]) -> TreeRecord:
    """Give the same record, with the branches in ``names`` alone, from uproot's tree."""
    branches = {branch.name: _from_uproot(branch) for branch in tree.branches if branch.name in names}
    return TreeRecord(tree.name, int(tree.num_entries), branches)


def first_entries(seek: NDArray[np.int64], first: NDArray[np.int64], n_entries: int) -> NDArray[np.int64]:
    """Return the first entry of each basket in the file, and behind them that of the first which is not there."""
    n = int(np.flatnonzero(np.append(seek, 0) == 0)[0])
    if n == 0:
        return np.zeros(1, np.int64)
    return np.append(first, n_entries) if len(first) == n else first[: n + 1]


def _tree(data: bytes, key_length: int) -> TreeRecord:
    _, version, at = _header(data, 0)
    if version not in {19, 20}:
        raise _OtherLayoutError
    name = _named(data, at)
    for _ in range(4):  # TNamed and the attributes of lines, areas and markers
        at = _behind(data, at)
    numbers = _TREE.unpack_from(data, at)
    at += _TREE.size + 2 * (1 + 8 * numbers[10])  # borders and sizes of clusters
    if version == 20:
        at = _behind(data, at)  # features of input and output
    branches = {}
    for classname, body, end in _objects(data, at, key_length):
        inner = body if classname == "TBranch" else _header(data, body)[2]
        branch = _branch(data, inner, end if classname == "TBranch" else _behind(data, inner), classname)
        branches[branch.name] = branch
    return TreeRecord(name, numbers[0], branches)


def _branch(data: bytes, at: int, end: int, classname: str) -> BranchRecord:
    stop, version, at = _header(data, at)
    if version not in {12, 13} or stop != end or classname not in {"TBranch", "TBranchElement", "TBranchObject"}:
        raise _OtherLayoutError
    name = _named(data, at)
    at = _behind(data, _behind(data, at)) + _BRANCH.size
    if version == 13:
        at = _behind(data, at)
    _, room, _, n_entries, _, total_bytes, _ = _BRANCH_REST.unpack_from(data, at)
    baskets = _behind(data, _behind(data, at + _BRANCH_REST.size))  # its branches and leaves are stepped over
    at = _behind(data, baskets)
    columns = []
    for kind in (">i4", ">i8", ">i8"):
        columns.append(np.frombuffer(data, kind, room, at + 1).astype(np.int64))
        at += 1 + room * np.dtype(kind).itemsize
    # Behind them stands the file that holds the baskets: none, as they are in this one.
    if data[at : at + 1] != b"\0" or at + 1 != end:
        raise _OtherLayoutError
    nbytes, first, seek = columns
    embedded = tuple(_embedded(data, body) for _, body, _ in _objects(data, baskets, None))
    return BranchRecord(name, classname, n_entries, total_bytes, seek, nbytes, first, embedded)


def _header(data: bytes, at: int) -> tuple[int, int, int]:
    """Where an object ends, its version, and where its members begin."""
    word, version = _HEAD.unpack_from(data, at)
    end = at + 4 + (word & ~_COUNTED)
    if not word & _COUNTED or word & _KNOWN_CLASS or not at + _HEAD.size <= end <= len(data):
        raise _OtherLayoutError
    return end, version, at + _HEAD.size


def _behind(data: bytes, at: int) -> int:
    return _header(data, at)[0]


def _object(data: bytes, at: int) -> int:
    """Where the members behind a ``TObject`` begin."""
    version, _, bits = _OBJECT.unpack_from(data, at)
    if version != 1:
        raise _OtherLayoutError
    return at + _OBJECT.size + (2 if bits & _IS_REFERENCED else 0)


def _named(data: bytes, at: int) -> str:
    return _string(data, _object(data, _header(data, at)[2]))[0]


def _string(data: bytes, at: int) -> tuple[str, int]:
    n, at = data[at], at + 1
    if n == 255:
        n, at = _WORD.unpack_from(data, at)[0], at + 4
    if at + n > len(data):
        raise _OtherLayoutError
    return data[at : at + n].decode("utf-8"), at + n


def _objects(data: bytes, at: int, key_length: int | None) -> Iterator[tuple[str, int, int]]:
    """Class, begin of the members' header, and end of each object of a ``TObjArray``, those that are absent left out.

    Without ``key_length`` the class is not looked up: it may have been named anywhere before.
    """
    end, _, at = _header(data, at)
    _, at = _string(data, _object(data, at))
    size, _ = _ARRAY.unpack_from(data, at)
    at += _ARRAY.size
    classes = {}
    for _ in range(size):
        word = _WORD.unpack_from(data, at)[0]
        if word == 0:
            at += 4
            continue
        stop, tag = at + 4 + (word & ~_COUNTED), _WORD.unpack_from(data, at + 4)[0]
        body, classname = at + 8, ""
        if tag == _NEW_CLASS:
            body = data.index(b"\0", at + 8) + 1
            classname = data[at + 8 : body - 1].decode("utf-8")
            if key_length is not None:
                classes[at + 4 + key_length + _MAP_OFFSET] = classname
        elif key_length is not None:
            if tag & ~_KNOWN_CLASS not in classes:
                raise _OtherLayoutError
            classname = classes[tag & ~_KNOWN_CLASS]
        if not word & _COUNTED or not tag & _KNOWN_CLASS or not body <= stop <= end:
            raise _OtherLayoutError
        yield classname, body, stop
        at = stop
    if at != end:
        raise _OtherLayoutError


def _embedded(data: bytes, at: int) -> Payload:
    """A basket that was never written out: its key, its numbers, the offsets of its entries, a key again, and the entries."""
    nbytes, _, _, _, key_length, _ = KEY.unpack_from(data, at)
    numbers = at + key_length - _BASKET.size - 1
    _, _, entry_size, n, last = _BASKET.unpack_from(data, numbers)
    border, at = last - key_length, at + key_length
    if nbytes > key_length or numbers <= at - key_length or n < 0 or border < 0:
        raise _OtherLayoutError
    offsets = None
    if entry_size * n + key_length != last:
        offsets = np.frombuffer(data, ">i4", n, at + 4) - key_length
        at += 4 * (n + 1)
    at += key_length
    return _payload(np.frombuffer(data, np.uint8, border, at), offsets, n)


def _payload(data: NDArray[np.uint8], offsets: NDArray[Any] | None, n: int) -> Payload:
    """Bring a basket that lies inside the tree's record into the form of the others."""
    table = np.zeros(0 if offsets is None else n + 2, ">u4")
    if offsets is not None:
        table[0] = n + 1
        table[1 : n + 1] = offsets[:n]
    whole = np.concatenate([data, table.view(np.uint8)])
    whole.flags.writeable = False
    return Payload(whole, len(data), 0, n)


def _from_uproot(branch: Any) -> BranchRecord:
    seek, nbytes, first = (np.asarray(branch.member(f"fBasket{what}"), np.int64) for what in ("Seek", "Bytes", "Entry"))
    n_entries = int(branch.member("fEntries"))
    embedded: tuple[Payload, ...] = ()
    if first_entries(seek, first, n_entries)[-1] != n_entries:
        if not hasattr(branch, "_cursor_baskets"):
            # uproot forgets to hand this on from TBranch to TBranchObject.
            branch._cursor_baskets = branch._bases[0]._cursor_baskets
        embedded = tuple(
            _payload(np.asarray(one.data, np.uint8), one.byte_offsets, int(one.num_entries))
            for one in branch.embedded_baskets
        )
    total = int(branch.member("fTotBytes"))
    return BranchRecord(branch.name, branch.classname, n_entries, total, seek, nbytes, first, embedded)
