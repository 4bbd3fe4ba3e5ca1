"""The directories of a ROOT file: every key with its name, read straight from the key lists.

Layout: ROOT's ``TFile``, ``TDirectoryFile`` and ``TKey``. The lists of one level of directories are read together, so that a
remote file is asked a few times and not once for each directory.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import InputError
from dqmroot.io.storage.source import Source
from dqmroot.kernels.keys import KEY_COLUMNS, walk_keys

__all__ = ["FileHead", "Keys", "read_head", "read_keys"]

_FOLDERS = {"TDirectory", "TDirectoryFile"}
_LARGEST_LIST = 1 << 30


@dataclass(frozen=True)
class FileHead:
    """What the first bytes of a ROOT file say.

    Args:
        end: Bytes of the file.
        folder: Place of the record of the top directory.
        uuid: Identity of the file, in hexadecimal.
    """

    end: int
    folder: int
    uuid: str


@dataclass
class Keys:
    """The keys of a file that are no directories, in the order of its directories.

    Args:
        name: Names of the keys.
        folder: For each key the path of its directory, ``""`` at the top.
        kind: Class of each object.
        title: Title of each key.
        place: ``(n, 4)`` int64: place in the file, bytes there, bytes of the key among them, bytes of the inflated object.
    """

    name: list[str] = field(default_factory=list)
    folder: list[str] = field(default_factory=list)
    kind: list[str] = field(default_factory=list)
    title: list[str] = field(default_factory=list)
    place: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 4), np.int64))

    def __len__(self) -> int:
        return len(self.name)


def read_head(source: Source) -> FileHead:
    """Read the header of a ROOT file.

    Raises:
        InputError: It is no ROOT file, or is cut short.
    """
    head = source.read(0, min(100, source.size))
    if head[:4] != b"root" or len(head) < 75:
        raise InputError(source.path, "not a ROOT file" if head else "empty, not a ROOT file")
    version, begin = struct.unpack_from(">ii", head, 4)
    large = version >= 1_000_000
    (end,) = struct.unpack_from(">q" if large else ">i", head, 12)
    (name,) = struct.unpack_from(">i", head, 36 if large else 28)
    if end > source.size:
        raise InputError(source.path, f"truncated: {source.size} bytes of {end}")
    if not (0 < begin < end and 0 < name < end):
        raise InputError(source.path, "its header makes no sense")
    return FileHead(end, begin + name, head[59:75].hex() if large else head[47:63].hex())


def read_keys(source: Source, descend: Callable[[str], bool]) -> Keys:
    """Read the keys of a file, directory by directory; of several cycles of a name the highest counts.

    Args:
        source: The file.
        descend: Tells by its path, ``"DQMData/Run 1"``, whether to look into a directory.

    Raises:
        InputError: The file is damaged.
    """
    out = Keys()
    places = []
    level = [("", read_head(source).folder)]
    seen: set[int] = set()
    while level:
        lists = _lists(source, level, seen)
        level = []
        for path, blob, start in lists:
            columns = _columns(source, path, blob, start)
            folders, place = _take(out, columns, path, blob)
            level += [(name, seek) for name, seek in folders if descend(name)]
            places.append(place)
    out.place = np.concatenate(places)
    return out


def _lists(source: Source, level: list[tuple[str, int]], seen: set[int]) -> list[tuple[str, bytes, int]]:
    """Return for each directory its path, its record of keys, and where in that the number of keys stands."""
    heads = source.read_many([(seek, min(seek + 42, source.size)) for _, seek in level])
    found = []
    for (path, seek), head in zip(level, heads, strict=True):
        if len(head) < 30:
            raise InputError(source.path, f"the record at byte {seek} is cut short", path)
        version, n_bytes = struct.unpack_from(">h8xi", head)
        large = version > 1000
        if large and len(head) < 42:
            raise InputError(source.path, f"the record at byte {seek} is cut short", path)
        (at,) = struct.unpack_from(">q" if large else ">i", head, 34 if large else 26)
        if n_bytes == 0:
            continue
        if at in seen or at < 0 or not 30 <= n_bytes <= _LARGEST_LIST:
            raise InputError(source.path, f"its list of keys ({n_bytes} bytes at byte {at}) makes no sense", path)
        seen.add(at)
        found.append((path, at, n_bytes))
    blobs = source.read_many([(at, at + n_bytes) for _, at, n_bytes in found])
    return [(path, blob, int.from_bytes(blob[14:16], "big")) for (path, _, _), blob in zip(found, blobs, strict=True)]


def _columns(source: Source, path: str, blob: bytes, start: int) -> NDArray[np.int64]:
    if start + 4 > len(blob):
        raise InputError(source.path, "its list of keys is cut short", path)
    n = int.from_bytes(blob[start : start + 4], "big", signed=True)
    # No key is shorter than this: a false number cannot ask for much memory.
    if not 0 <= n <= len(blob) // 26:
        raise InputError(source.path, f"its list of keys tells {n} keys in {len(blob)} bytes", path)
    columns = np.empty((n, KEY_COLUMNS), np.int64)
    wrong = walk_keys(np.frombuffer(blob, np.uint8), start + 4, len(blob), columns)
    if wrong >= 0:
        raise InputError(source.path, f"key {wrong} makes no sense", path)
    return columns


def _take(
    out: Keys, columns: NDArray[np.int64], path: str, blob: bytes
) -> tuple[list[tuple[str, int]], NDArray[np.int64]]:
    """Append the keys of one directory; returns its directories (path, place of their record) and the places of the rest."""
    kinds, names, titles = (
        [str(blob[a:b], "utf-8", "backslashreplace") for a, b in columns[:, i : i + 2].tolist()] for i in (6, 8, 10)
    )
    keep = range(len(names))
    if len(set(names)) < len(names):
        best: dict[str, int] = {}
        for i in keep:
            if names[i] not in best or columns[i, 3] > columns[best[names[i]], 3]:
                best[names[i]] = i
        keep = sorted(best.values())  # type: ignore[assignment]
    prefix = path + "/" if path else ""
    if len(keep) == len(names) and not _FOLDERS.intersection(kinds):
        # The common case, a directory of nothing but objects.
        out.name += names
        out.kind += kinds
        out.title += titles
        out.folder += [path] * len(names)
        return [], columns[:, [4, 0, 2, 1]]
    folders = [i for i in keep if kinds[i] in _FOLDERS]
    rest = [i for i in keep if kinds[i] not in _FOLDERS]
    out.name += [names[i] for i in rest]
    out.kind += [kinds[i] for i in rest]
    out.title += [titles[i] for i in rest]
    out.folder += [path] * len(rest)
    found = [(prefix + names[i], int(columns[i, 4] + columns[i, 2])) for i in folders]
    return found, columns[rest][:, [4, 0, 2, 1]]
