"""Adds objects to a copy of a ROOT file: everything it holds stays where it is, byte for byte.

Trees name their baskets by place, so keys cannot move. Only what has to change is written anew at the end (the key list of
the directory that gains something, the streamer information, the free list), and what it replaces is marked as a gap.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import numpy as np
import uproot

from dqmroot.errors import DQMError, InputError
from dqmroot.io.rootfile.rootwrite import BEGIN, Directory, RootWriter, encoded, joined

__all__ = ["check_chain", "gui_run", "reopen"]

_FOLDERS = (b"TDirectory", b"TDirectoryFile")
_SMALL_FILE = 1_000_000


@dataclass(frozen=True)
class _Key:
    """A key: its own bytes, its length with what it stores, the length of that inflated, its place, class, name, title."""

    raw: bytes
    nbytes: int
    size: int
    seek: int
    class_name: bytes
    name: bytes
    title: bytes


@dataclass(frozen=True)
class _Header:
    """What the first bytes of a file say."""

    version: int
    end: int
    free: int
    n_free: int
    name_length: int
    compression: int
    info: int
    uuid: bytes


class _File:
    """Reads keys and directories; every fault is told with the name of the file."""

    def __init__(self, stream: BinaryIO, path: str | os.PathLike[str]) -> None:
        self.stream, self.path = stream, path
        self.size = stream.seek(0, os.SEEK_END)
        data = self.at(0, 63)
        if data[:4] != b"root":
            raise InputError(path, "not a ROOT file")
        version, begin, end, free, _, n_free, name_length = struct.unpack_from(">7i", data, 4)
        compression, info = struct.unpack_from(">ii", data, 33)
        if version >= _SMALL_FILE or begin != BEGIN:
            raise InputError(path, "a ROOT file with 64-bit offsets, which the DQM GUI does not read")
        if end > self.size:
            raise InputError(path, f"truncated: it says that it has {end} bytes")
        if not free or not n_free:
            raise InputError(path, "was never closed: its writer died")
        self.header = _Header(version, end, free, n_free, name_length, compression, info, data[45:63])

    def at(self, position: int, length: int) -> bytes:
        if position < 0 or length < 0 or position + length > self.size:
            raise InputError(self.path, f"truncated: {length} bytes wanted at {position}")
        self.stream.seek(position)
        return self.stream.read(length)

    def key_at(self, seek: int) -> _Key:
        length: int = struct.unpack(">iHIIH", self.at(seek, 16))[-1]
        return self.parse(self.at(seek, length), 0)

    def parse(self, data: bytes, offset: int) -> _Key:
        """Read the key that starts at ``offset`` of ``data``."""
        broken = InputError(self.path, "a key is broken")
        strings = []
        try:
            nbytes, version, size, _, length = struct.unpack_from(">iHIIH", data, offset)
            if version > 1000:
                raise InputError(self.path, "a key with 64-bit offsets, which the DQM GUI does not read")
            (seek,) = struct.unpack_from(">i", data, offset + 18)
            at = offset + 26
            for _ in range(3):
                n, at = data[at], at + 1
                if n == 255:
                    (n,), at = struct.unpack_from(">i", data, at), at + 4
                strings.append(data[at : at + n])
                at += n
        except (struct.error, IndexError) as error:
            raise broken from error
        if at != offset + length or at > len(data) or nbytes < length:
            raise broken
        return _Key(data[offset:at], nbytes, size, seek, *strings)

    def payload(self, key: _Key) -> bytes:
        """Return what a key stores, inflated."""
        data = self.at(key.seek + len(key.raw), key.nbytes - len(key.raw))
        if len(data) == key.size:
            return data
        chunk = uproot.source.chunk.Chunk.wrap(None, np.frombuffer(data, np.uint8))
        cursor = uproot.source.cursor.Cursor(0)
        return bytes(uproot.compression.decompress(chunk, cursor, {}, len(data), key.size).raw_data)

    def top(self) -> Directory:
        key = self.key_at(BEGIN)
        return Directory(key.name, key.title, b"TFile", BEGIN, BEGIN + self.header.name_length, 0)

    def inside(self, key: _Key, above: Directory) -> Directory:
        return Directory(key.name, key.title, b"TDirectory", key.seek, key.seek + len(key.raw), above.seek)

    def keys(self, directory: Directory) -> tuple[list[_Key], tuple[int, int]]:
        """Return the keys of a directory, and where its key list stands and how long it is."""
        version, _, _, _, _, _, _, seek = struct.unpack(">HII5i", self.at(directory.record, 30))
        if version > 1000:
            raise InputError(self.path, "a directory with 64-bit offsets, which the DQM GUI does not read")
        if not seek:
            return [], (0, 0)
        head = self.key_at(seek)
        data = self.payload(head)
        (count,) = struct.unpack_from(">i", data, 0)
        found, at = [], 4
        for _ in range(count):
            found.append(self.parse(data, at))
            at += len(found[-1].raw)
        return found, (seek, head.nbytes)

    def extents(self, key: _Key, above: Directory) -> Iterator[tuple[int, int]]:
        """Yield every stretch that an object takes; for a directory with all that is in it."""
        yield key.seek, key.nbytes
        if key.class_name in _FOLDERS:
            directory = self.inside(key, above)
            keys, own = self.keys(directory)
            if own[1]:
                yield own
            for inner in keys:
                yield from self.extents(inner, directory)


@contextmanager
def _told(path: str | os.PathLike[str]) -> Iterator[None]:
    """Tell whatever goes wrong in the bytes of a file as a fault of the file."""
    try:
        yield
    except DQMError:
        raise
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from error
    except Exception as error:
        raise InputError(path, f"is broken: {type(error).__name__} {error}".rstrip()) from error


def _run_directory(file: _File) -> tuple[int, Directory, Directory]:
    """Return the run, the directory of the run, and the one above it."""
    top = file.top()
    data = next((key for key in file.keys(top)[0] if key.name == b"DQMData" and key.class_name in _FOLDERS), None)
    if data is None:
        raise InputError(file.path, "not a DQM GUI file: it has no DQMData")
    above = file.inside(data, top)
    runs = {key.name: key for key in file.keys(above)[0] if re.fullmatch(rb"Run [0-9]+", key.name)}
    if len(runs) != 1:
        shown = ", ".join(name.decode() for name in runs) or "none"
        raise InputError(file.path, f"a DQM GUI file holds one run; this one has {shown}")
    ((name, key),) = runs.items()
    return int(name[4:]), file.inside(key, above), above


def gui_run(path: str | os.PathLike[str]) -> int:
    """Return the run that a DQM GUI file is of.

    Raises:
        InputError: The file cannot be read, or is no DQM GUI file of one run.
    """
    with _told(path), Path(path).open("rb") as stream:
        return _run_directory(_File(stream, path))[0]


def reopen(
    stream: BinaryIO, path: str | os.PathLike[str], run: int, *, without: str, time: datetime | None = None
) -> RootWriter:  # fmt: skip
    """Return a writer that puts objects behind those that a DQM GUI file has.

    Args:
        stream: The file, open for reading and writing.
        path: What to call it in messages.
        run: Its run, from `gui_run`.
        without: A subsystem to take out, if it is there.
        time: Date of the new objects; now by default.

    Raises:
        InputError: The file is broken.
    """
    with _told(path):
        return _reopen(_File(stream, path), run, without, time)


def _reopen(file: _File, run: int, without: str, time: datetime | None) -> RootWriter:
    header, stream = file.header, file.stream
    _, here, above = _run_directory(file)
    keys, old_list = file.keys(here)
    gaps = [old_list] if old_list[1] else []
    for key in keys:
        if key.name == encoded(without):
            gaps += file.extents(key, here)
        else:
            here.keys.append(key.raw)
            here.names.add(key.name)
    free = file.key_at(header.free)
    segments = struct.iter_unpack(">Hii", file.payload(free)[: 10 * header.n_free])
    gaps += [(first, last - first + 1) for _, first, last in segments if last < header.end]
    info = file.key_at(header.info)
    gaps += [(free.seek, free.nbytes), (info.seek, info.nbytes)]
    _check_gaps(gaps, file)
    with uproot.open(file.path) as opened:
        known = {(name, version) for name, versions in opened.file.streamers.items() for version in versions}
    top = file.top()
    top.folders[b"DQMData"] = above
    above.folders[encoded(f"Run {run}")] = here
    streamers = file.payload(info)
    end, gaps = header.end, joined(gaps)
    if gaps and sum(gaps[-1]) == end:
        # What lies at the end is no longer needed: the file grows from there, and does not grow with each new overlay.
        end = gaps.pop()[0]
    stream.truncate(end)
    stream.seek(end)
    return RootWriter(
        stream, top, end=end, uuid=header.uuid, time=time, changed=[here], streamers=streamers, known=known,
        gaps=gaps, version=header.version, compression=header.compression,
    )  # fmt: skip


def _check_gaps(gaps: list[tuple[int, int]], file: _File) -> None:
    at = BEGIN
    for first, length in sorted(gaps):
        if first < at or length < 4 or first + length > file.header.end:
            raise InputError(file.path, f"its list of free bytes is broken: {length} bytes at {first}")
        at = first + length


def check_chain(stream: BinaryIO, path: str | os.PathLike[str]) -> None:
    """Walk a file key by key, from its first to its last byte, as the DQM GUI does.

    Raises:
        InputError: There is a hole; the GUI would refuse the file.
    """
    stream.flush()
    file = _File(stream, path)
    at = BEGIN
    while at < file.header.end:
        (nbytes,) = struct.unpack(">i", file.at(at, 4))
        if nbytes > 0:
            # Baskets of trees have 64-bit offsets in every file.
            wide = struct.unpack(">H", file.at(at + 4, 2))[0] > 1000
            (seek,) = struct.unpack(">q", file.at(at + 18, 8)) if wide else struct.unpack(">i", file.at(at + 18, 4))
            nbytes = nbytes if seek == at else 0
        if nbytes == 0:
            raise InputError(path, f"an unmarked hole at byte {at}, at which the DQM GUI would refuse the whole file")
        at += abs(nbytes)
