"""What a file holds, from its ``Indices`` or its directories alone: which (run, LS), and about how large they are."""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import InputError
from dqmroot.files import whole_file
from dqmroot.io.formats import kind_of
from dqmroot.io.names import Patterns
from dqmroot.io.nanodqmio.plan import Query
from dqmroot.io.nanodqmio.trees import open_file
from dqmroot.io.rootfile.dqmgui import open_gui
from dqmroot.io.storage.source import open_source

__all__ = ["FileIndex", "identity", "index_file", "index_once", "latest_versions", "unique_files"]

_VERSION = re.compile(r"DQM_V(\d+)_(.+)")


@dataclass(frozen=True, eq=False)
class FileIndex:
    """The lumisections of one file.

    Args:
        path: The file.
        uuid: ROOT's identity of it, in hexadecimal.
        size: Bytes.
        time_ns: Time of its last change in ns; 0 where it is not known.
        keys: ``(n,)`` uint64, sorted and unique ``run << 32 | lumi``; whole runs are LS 0, and only in DQM GUI files among them.
        counts: ``(n, trees)`` int64, histograms of each LS in each tree.
        entry_bytes: ``(trees,)`` float64, mean bytes of a histogram once inflated.
        kind: What the file is: ``"nano"`` or ``"gui"``.
    """

    path: str
    uuid: str
    size: int
    time_ns: int
    keys: NDArray[np.uint64]
    counts: NDArray[np.int64]
    entry_bytes: NDArray[np.float64]
    kind: str = "nano"

    def nbytes(self, n_mes: int) -> NDArray[np.float64]:
        """Return about how many bytes ``n_mes`` monitoring elements of each LS take, ``(n,)``."""
        return np.asarray(np.minimum(self.counts, n_mes) @ self.entry_bytes, np.float64)

    def describe(self) -> dict[str, Any]:
        """Return the identity of the file, ready for JSON."""
        told: dict[str, Any] = {"path": self.path, "uuid": self.uuid, "size": self.size}
        if self.time_ns:
            told["time"] = datetime.fromtimestamp(self.time_ns // 10**9, UTC).isoformat(timespec="seconds")
        return told


def identity(path: str) -> tuple[int, int]:
    """Return size and time (ns) of a local file, ``(0, 0)`` for an address.

    Raises:
        InputError: There is no such file.
    """
    if "://" in path:
        return 0, 0
    try:
        stat = os.stat(path)  # noqa: PTH116 - called very often
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from error
    return stat.st_size, stat.st_mtime_ns


def index_file(path: str, mes: Patterns = None) -> FileIndex:
    """Read the ``Indices`` of a file, or the directories of a DQM GUI file.

    Args:
        path: The file.
        mes: Names or patterns of monitoring elements; in a DQM GUI file only what holds one of them counts.

    Raises:
        InputError: It cannot be read, or is of another kind.
    """
    _, time_ns = identity(path)
    try:
        file = open_file(path)
    except InputError as error:
        try:
            gui = kind_of(path) == "gui"
        except InputError:
            gui = False
        if not gui:
            raise error from None
        return _index_gui(path, time_ns, mes)
    file.close()
    lumis = file.lumis[file.lumis[:, 1] > 0]
    keys = np.unique((lumis[:, 0].astype(np.uint64) << np.uint64(32)) | lumis[:, 1])
    counts = np.zeros((len(keys), len(file.blocks)), np.int64)
    entry_bytes = np.zeros(len(file.blocks))
    for column, (name, blocks) in enumerate(file.blocks.items()):
        mine = blocks.lumi > 0
        key = (blocks.run[mine].astype(np.uint64) << np.uint64(32)) | blocks.lumi[mine]
        np.add.at(counts[:, column], np.searchsorted(keys, key), (blocks.stop - blocks.first)[mine])
        tree = file.trees[name]
        entry_bytes[column] = tree.total_bytes / max(len(tree), 1)
    return FileIndex(path, file.uuid, file.source.size, time_ns, keys, counts, entry_bytes)


def _index_gui(path: str, time_ns: int, mes: Patterns) -> FileIndex:
    """Read the directories of a DQM GUI file."""
    found = open_gui(path, Query(mes, scope="all"))
    picks = found.picks
    every = (picks.run.astype(np.uint64) << np.uint64(32)) | picks.lumi
    keys, counts = np.unique(every, return_counts=True)
    size = float(picks.place[:, 3].mean()) if len(every) else 0.0
    source = open_source(path)
    nbytes = source.size
    source.close()
    return FileIndex(path, found.uuid, nbytes, time_ns, keys, counts[:, None].astype(np.int64), np.array([size]), "gui")


def latest_versions(paths: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Keep of DQM GUI files that differ only in their version, ``DQM_V0001_…`` and ``DQM_V0002_…``, the last.

    Returns:
        The files, in their order, and for each one left out its path and the path of the later one.
    """
    last: dict[str, tuple[int, str]] = {}
    for path in paths:
        match = _VERSION.fullmatch(PurePosixPath(path).name)
        if match and int(match[1]) > last.get(match[2], (-1, ""))[0]:
            last[match[2]] = (int(match[1]), path)
    kept, older = [], []
    for path in paths:
        match = _VERSION.fullmatch(PurePosixPath(path).name)
        if match and int(match[1]) < last[match[2]][0]:
            older.append((path, last[match[2]][1]))
        else:
            kept.append(path)
    return kept, older


def index_once(path: str, folder: str | Path, mes: Patterns = None) -> FileIndex:
    """Read the ``Indices`` of a file, or what was kept of them in ``folder`` while the file stays as it was.

    What a DQM GUI file holds is not kept, as it depends on ``mes``.

    Raises:
        InputError: The file cannot be read.
    """
    size, time_ns = identity(path)
    if not time_ns:
        return index_file(path, mes)
    kept = Path(folder) / f"{hashlib.sha256(f'{path} {size} {time_ns}'.encode()).hexdigest()[:32]}.npz"
    try:
        with np.load(kept, allow_pickle=False) as stored:
            return FileIndex(
                path, str(stored["uuid"]), size, time_ns, stored["keys"], stored["counts"], stored["entry_bytes"]
            )
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        pass  # not there yet, or damaged: made again
    made = index_file(path, mes)
    if made.kind != "nano":
        return made
    # Not waited for: what is lost is read anew.
    with whole_file(kept, sync=False) as temporary, temporary.open("wb") as file:
        np.savez(file, uuid=made.uuid, keys=made.keys, counts=made.counts, entry_bytes=made.entry_bytes)
    return made


def unique_files(indices: list[FileIndex]) -> tuple[list[FileIndex], list[tuple[str, str]]]:
    """Keep each file once: a copy under another path has the same identity.

    Returns:
        The files, and for each copy left out its path and the path of the one kept.
    """
    first: dict[str, FileIndex] = {}
    copies = []
    for index in indices:
        other = first.setdefault(index.uuid, index)
        if other is not index:
            copies.append((index.path, other.path))
    return list(first.values()), copies
