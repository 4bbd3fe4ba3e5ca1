"""The plan of a campaign: pieces of work, each a closed group of (run, LS) with the files that hold them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dqmroot.batch.index import FileIndex

__all__ = ["Piece", "Plan", "plan_pieces", "plan_runs"]

Keys = NDArray[np.uint64]
Keep = Callable[[Keys], NDArray[np.bool_]]

_RUN = np.uint64(32)


@dataclass(frozen=True, eq=False)
class Piece:
    """One piece of work.

    Args:
        keys: ``(n,)`` uint64, sorted and unique ``run << 32 | lumi``.
        files: Every file that holds any part of them, in the order they were given.
        mes: The monitoring elements to score.
    """

    keys: Keys
    files: tuple[str, ...]
    mes: tuple[str, ...]

    @functools.cached_property
    def runs(self) -> tuple[int, ...]:
        """The runs it has LS of."""
        return tuple(np.unique(self.keys >> _RUN).tolist())


@dataclass(frozen=True, eq=False)
class Plan:
    """What a campaign will do.

    Args:
        files: Readable inputs, each once.
        pieces: Pieces of work.
        runs: Runs that will be certified.
        keys: ``(n,)`` uint64, sorted, the LS in them.
        mes: Monitoring elements.
    """

    files: tuple[FileIndex, ...]
    pieces: tuple[Piece, ...]
    runs: tuple[int, ...]
    keys: Keys
    mes: tuple[str, ...]

    @property
    def n_lumis(self) -> int:
        """How many LS."""
        return len(self.keys)


def plan_pieces(
    indices: Sequence[FileIndex], mes: Sequence[str], *, keep: Keep, lumis: int, nbytes: float
) -> list[Piece]:
    """Divide lumisections into pieces for models that judge each LS by itself.

    Files that share an LS belong together. What belongs together is one piece, or several of at most ``lumis`` LS and about
    ``nbytes`` inflated bytes; small groups that begin in the same stretch of ``lumis`` LS of a run are joined. So a piece depends
    only on the files near it, and a file more leaves the other pieces as they are.

    Args:
        indices: What the files hold.
        mes: Monitoring elements.
        keep: Tells for keys ``run << 32 | lumi`` which are wanted.
        lumis: LS in a piece.
        nbytes: Bytes in a piece.

    Returns:
        Pieces in the order of their first LS; each wanted LS is in exactly one of them.
    """
    key, file, size = _rows(indices, len(mes), keep)
    if len(key) == 0 or not mes:
        return []
    group_of_file = _groups(key, file, len(indices))
    unique, first, at = np.unique(key, return_index=True, return_inverse=True)
    total = np.asarray(np.bincount(at, weights=size), np.float64)
    group = group_of_file[file[first]]
    order = np.lexsort((unique, group))
    starts = np.flatnonzero(np.append(True, np.diff(group[order]) != 0))
    members = sorted(np.split(order, starts[1:]), key=lambda rows: int(unique[rows[0]]))
    blocks: list[list[NDArray[np.intp]]] = []
    filled, stretch = 0.0, (-1, -1)
    n = 0
    for rows in members:
        begin = int(unique[rows[0]])
        here = (begin >> 32, ((begin & 0xFFFFFFFF) - 1) // lumis)
        weight = float(total[rows].sum())
        if here == stretch and n + len(rows) <= lumis and filled + weight <= nbytes:
            blocks[-1].append(rows)
            n, filled = n + len(rows), filled + weight
        else:
            blocks.append([rows])
            n, filled, stretch = len(rows), weight, here
    chunks = [
        chunk for block in blocks for chunk in _cut(np.sort(np.concatenate(block)), total, lumis, nbytes, len(block))
    ]
    return _pieces([unique[chunk] for chunk in chunks], key, file, indices, tuple(mes))


def plan_runs(indices: Sequence[FileIndex], mes: Sequence[str], *, keep: Keep) -> list[Piece]:
    """Make one piece per run and monitoring element, for models whose score of an LS depends on others of its run."""
    key, file, _ = _rows(indices, 1, keep)
    if len(key) == 0 or not mes:
        return []
    unique = np.unique(key)
    run = unique >> _RUN
    chunks = np.split(unique, np.flatnonzero(np.diff(run)) + 1)
    return [piece for me in mes for piece in _pieces(chunks, key, file, indices, (me,))]


def _rows(indices: Sequence[FileIndex], n_mes: int, keep: Keep) -> tuple[Keys, NDArray[np.intp], NDArray[np.float64]]:
    """Return key, file and bytes of each (LS, file) that is wanted."""
    if not indices:
        return np.empty(0, np.uint64), np.empty(0, np.intp), np.empty(0)
    key = np.concatenate([index.keys for index in indices])
    file = np.repeat(np.arange(len(indices)), [len(index.keys) for index in indices])
    size = np.concatenate([index.nbytes(n_mes) for index in indices])
    chosen = keep(key)
    return key[chosen], file[chosen], size[chosen]


def _groups(key: Keys, file: NDArray[np.intp], n_files: int) -> NDArray[np.intp]:
    """Number the groups of files that share LS, ``(n_files,)``."""
    order = np.argsort(key, kind="stable")
    same = key[order][1:] == key[order][:-1]
    pairs = np.unique(np.stack([file[order][:-1][same], file[order][1:][same]], axis=1), axis=0)
    parent = list(range(n_files))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for a, b in pairs.tolist():
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return np.array([root(i) for i in range(n_files)])


def _cut(
    rows: NDArray[np.intp], total: NDArray[np.float64], lumis: int, nbytes: float, groups: int
) -> list[NDArray[np.intp]]:
    """Cut the LS of one block where it holds too much; a block of several groups never does."""
    if groups > 1:
        return [rows]
    before = np.cumsum(total[rows]) - total[rows]
    number = np.maximum(np.arange(len(rows)) // lumis, (before / nbytes).astype(np.int64))
    return np.split(rows, np.flatnonzero(np.diff(number)) + 1)


def _pieces(
    chunks: Sequence[Keys],
    key: Keys,
    file: NDArray[np.intp],
    indices: Sequence[FileIndex],
    mes: tuple[str, ...],
) -> list[Piece]:
    """Find the files of each chunk of LS."""
    owner = np.repeat(np.arange(len(chunks)), [len(chunk) for chunk in chunks])
    every = np.concatenate(chunks)
    order = np.argsort(every)
    of_row = owner[order][np.searchsorted(every[order], key)]
    pairs = np.unique(np.stack([of_row, file], axis=1), axis=0)
    files = np.split(pairs[:, 1], np.flatnonzero(np.diff(pairs[:, 0])) + 1)
    return [
        Piece(chunk, tuple(indices[int(i)].path for i in inside), mes)
        for chunk, inside in zip(chunks, files, strict=True)
    ]
