"""A ROOT file written front to back, with every byte accounted for.

uproot moves key lists as they grow and leaves the old bytes behind unmarked; a reader that walks a file key by key, as
the DQM GUI and ``TFile::Map()`` do, stops at such a hole. Here nothing moves: objects come first, in the order they are
put, then the key list of each directory, the streamer information and the free list; the few numbers that are known only
then are filled in where their place was kept. The layout is that of ROOT's `TFile`, `TDirectoryFile`, `TKey` and `TFree`,
with 32-bit offsets.
"""

from __future__ import annotations

import struct
import uuid as uuid_
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import BinaryIO

import deflate

from dqmroot.errors import OutputError, UsageError
from dqmroot.io.rootfile.rootobjects import Histogram, histogram_bytes, string_bytes

__all__ = ["Directory", "RootWriter", "compressed", "create_file", "encoded", "joined", "key_bytes", "root_time"]

BEGIN = 100
# ROOT goes over to 64-bit offsets here; the DQM GUI reads 32-bit ones.
LARGEST = 2_000_000_000
_FRAME = 0xFFFFFF
_SMALL = 256
RECORD = 60
_MODELS = {
    "TH1F": "Model_TH1F_v3", "TH1D": "Model_TH1D_v3", "TH2F": "Model_TH2F_v4", "TH2D": "Model_TH2D_v4",
    "TH1S": "Model_TH1S_v3", "TH1I": "Model_TH1I_v3", "TH2S": "Model_TH2S_v4", "TH2I": "Model_TH2I_v4",
    "TH3F": "Model_TH3F_v4", "TProfile": "Model_TProfile_v7", "TProfile2D": "Model_TProfile2D_v8",
}  # fmt: skip
_LONGEST_KEY = 32_000


def root_time(when: datetime) -> int:
    """Return ``when`` as ROOT's `TDatime` packs it."""
    return (
        (when.year - 1995) << 26 | when.month << 22 | when.day << 17 | when.hour << 12 | when.minute << 6 | when.second
    )


def compressed(data: bytes) -> bytes:
    """Return ``data`` as ROOT's ZLIB frames of level 1, or itself where that is no shorter."""
    if len(data) <= _SMALL:
        return data
    frames = []
    for start in range(0, len(data), _FRAME):
        raw = data[start : start + _FRAME]
        packed = bytes(deflate.zlib_compress(raw, 1))
        if len(packed) > _FRAME:
            return data
        frames.append(b"ZL\x08" + len(packed).to_bytes(3, "little") + len(raw).to_bytes(3, "little") + packed)
    out = b"".join(frames)
    return out if len(out) < len(data) else data


def _string(text: bytes) -> bytes:
    return (struct.pack(">B", len(text)) if len(text) < 255 else struct.pack(">BI", 255, len(text))) + text


def key_bytes(
    class_name: bytes, name: bytes, title: bytes, *, seek: int, parent: int, time: int, size: int, stored: int
) -> bytes:  # fmt: skip
    """Return a TKey of version 4.

    Args:
        class_name: Class of the object.
        name: Name of the key.
        title: Title of the key.
        seek: Where in the file the key stands.
        parent: Where the key of its directory stands.
        time: From `root_time`.
        size: Bytes of the object.
        stored: Bytes of the object as stored, compressed or not.
    """
    tail = _string(class_name) + _string(name) + _string(title)
    length = 26 + len(tail)
    if length > _LONGEST_KEY:
        raise UsageError(f"a name of {len(name)} bytes is too long for a ROOT file: {name[:60]!r}…")
    return struct.pack(">iHIIHHii", length + stored, 4, size, time, length, 1, seek, parent) + tail


@dataclass
class Directory:
    """One directory of a file being written.

    Args:
        name: Its name, as in the file.
        title: Its title, as in the file.
        class_name: ``TFile`` at the top, else ``TDirectory``.
        seek: Where its key stands.
        record: Where its record of 60 bytes stands.
        parent: Where the key of the directory above stands; 0 at the top.
        keys: Its keys, in order.
        names: The names of its keys.
        folders: The directories in it, by name.
    """

    name: bytes
    title: bytes
    class_name: bytes
    seek: int
    record: int
    parent: int
    keys: list[bytes] = field(default_factory=list)
    names: set[bytes] = field(default_factory=set)
    folders: dict[bytes, Directory] = field(default_factory=dict)


class RootWriter:
    """Writes one ROOT file; `close` completes it.

    Args:
        stream: A binary file that can seek, at whose end objects are put.
        top: Its top directory; `create_file` makes a new one.
        end: Where the next key goes.
        uuid: Identity of the file, of 18 bytes.
        time: Date of every object; now by default.
        changed: The directories whose key lists have to be written.
        streamers: The streamer information that the file already has.
        known: Classes and versions that ``streamers`` describes.
        gaps: ``(position, length)`` of every stretch that is not in use.
        version: Version of ROOT that the file names.
        compression: Algorithm and level that the file names.
    """

    def __init__(
        self,
        stream: BinaryIO,
        top: Directory,
        *,
        end: int,
        uuid: bytes,
        time: datetime | None = None,
        changed: Iterable[Directory] = (),
        streamers: bytes | None = None,
        known: Iterable[tuple[str, int]] = (),
        gaps: Iterable[tuple[int, int]] = (),
        version: int = 62400,
        compression: int = 101,
    ) -> None:
        self.top = top
        self._stream, self._end, self._uuid = stream, end, uuid
        self._time = root_time(time or datetime.now(UTC))
        self._streamers, self._known = streamers, set(known)
        self._classes: dict[str, None] = {}
        self._gaps = list(gaps)
        self._changed = list(changed)
        self._version, self._compression = version, compression

    def folder(self, *path: str) -> Directory:
        """Return the directory at ``path``, made where it is missing."""
        directory = self.top
        for part in path:
            name = encoded(part)
            if name not in directory.folders:
                record = struct.pack(">HII5i", 5, self._time, self._time, 0, 0, 0, 0, 0) + self._uuid + bytes(12)
                seek = self._put(directory, b"TDirectory", name, name, record)
                made = Directory(name, name, b"TDirectory", seek, self._end - RECORD, directory.seek)
                directory.folders[name] = made
                self._changed.append(made)
            directory = directory.folders[name]
        return directory

    def put(self, directory: Directory, item: Histogram | str) -> None:
        """Write a histogram, or a string as the GUI reads it: a TObjString whose key has the whole text as its name.

        Raises:
            UsageError: The directory already holds something of this name, or the name is too long.
            OutputError: The file grows too large for 32-bit offsets.
        """
        if isinstance(item, str):
            storage, title, payload = "TObjString", "Collectable string class", string_bytes(item)
        else:
            storage, title, payload = item.storage, item.title, histogram_bytes(item)
        name = encoded(item if isinstance(item, str) else item.name)
        self._put(directory, storage.encode(), name, encoded(title), payload, compress=True)
        self._classes[storage] = None

    def close(self) -> None:
        """Write the key lists, the streamer information, the free list and the header."""
        for directory in self._changed:
            keys = struct.pack(">i", len(directory.keys)) + b"".join(directory.keys)
            seek, nbytes, _ = self._write(directory.class_name, directory.name, directory.title, keys, directory.seek)
            length = directory.record - directory.seek
            self._fill(
                directory.record + 6,
                struct.pack(">I5i", self._time, nbytes, length, directory.seek, directory.parent, seek),
            )
        payload = streamer_list(self._streamers, self._classes, self._known)
        stored = compressed(payload)
        info = self._write(b"TList", b"StreamerInfo", b"Doubly linked list", stored, BEGIN, size=len(payload))
        self._finish(info[0], info[1])

    def _finish(self, info: int, info_bytes: int) -> None:
        gaps = joined(self._gaps)
        for position, length in gaps:
            if length < 4:
                raise OutputError(f"a gap of {length} bytes at {position} cannot be marked")
            self._fill(position, struct.pack(">i", -length))
        top = self.top
        size = 10 * (len(gaps) + 1)
        empty = key_bytes(b"TFile", top.name, top.title, seek=0, parent=0, time=0, size=0, stored=0)
        end = self._end + len(empty) + size
        segments = [*((at, at + length - 1) for at, length in gaps), (end, LARGEST)]
        free = b"".join(struct.pack(">Hii", 1, *segment) for segment in segments)
        seek, nbytes, _ = self._write(b"TFile", top.name, top.title, free, BEGIN)
        name_length = top.record - top.seek
        header = b"root" + struct.pack(">7i", self._version, BEGIN, end, seek, nbytes, len(segments), name_length)
        self._fill(0, header + struct.pack(">Biii", 4, self._compression, info, info_bytes) + self._uuid)

    def _put(
        self, directory: Directory, class_name: bytes, name: bytes, title: bytes, payload: bytes, compress: bool = False
    ) -> int:  # fmt: skip
        if name in directory.names:
            raise UsageError(f"{directory.name.decode()}: there is already an object named {name.decode()[:200]!r}")
        stored = compressed(payload) if compress else payload
        seek, _, key = self._write(class_name, name, title, stored, directory.seek, size=len(payload))
        directory.names.add(name)
        directory.keys.append(key)
        return seek

    def _write(
        self, class_name: bytes, name: bytes, title: bytes, stored: bytes, parent: int, size: int | None = None
    ) -> tuple[int, int, bytes]:  # fmt: skip
        """Write a key and what follows it; return where it stands, its length with what follows, and the key itself."""
        seek = self._end
        key = key_bytes(
            class_name, name, title,
            seek=seek, parent=parent, time=self._time, size=len(stored) if size is None else size, stored=len(stored),
        )  # fmt: skip
        self._end += len(key) + len(stored)
        if self._end >= LARGEST:
            raise OutputError("the file would be larger than the 2 GB that 32-bit offsets reach")
        self._stream.write(key)
        self._stream.write(stored)
        return seek, len(key) + len(stored), key

    def _fill(self, position: int, data: bytes) -> None:
        self._stream.seek(position)
        self._stream.write(data)
        self._stream.seek(self._end)


def create_file(
    stream: BinaryIO, name: str, title: str = "", time: datetime | None = None, uuid: uuid_.UUID | None = None
) -> RootWriter:
    """Start a new ROOT file in an empty stream.

    Args:
        stream: An empty binary file that can seek.
        name: Name of the file, which the file itself carries.
        title: Title of the file.
        time: Date of every object; now by default.
        uuid: Identity of the file; random by default. With the same time and uuid, equal objects give equal bytes.
    """
    time = time or datetime.now(UTC)
    stamp, identity = root_time(time), struct.pack(">H", 1) + (uuid or uuid_.uuid4()).bytes
    raw_name, raw_title = encoded(name), encoded(title)
    record = struct.pack(">HII5i", 5, stamp, stamp, 0, 0, 0, 0, 0) + identity + bytes(12)
    body = _string(raw_name) + _string(raw_title) + record
    key = key_bytes(
        b"TFile", raw_name, raw_title, seek=BEGIN, parent=0, time=stamp, size=len(body), stored=len(body)
    )  # fmt: skip
    stream.write(bytes(BEGIN) + key + body)
    end = BEGIN + len(key) + len(body)
    top = Directory(raw_name, raw_title, b"TFile", BEGIN, end - RECORD, 0)
    return RootWriter(stream, top, end=end, uuid=identity, time=time, changed=[top])


def encoded(text: str) -> bytes:
    """Return ``text`` in UTF-8; half a surrogate pair becomes a question mark."""
    return text.encode("utf-8", "replace")


def streamer_list(before: bytes | None, classes: Iterable[str], known: Container[tuple[str, int]] = ()) -> bytes:
    """Return the TList of TStreamerInfo that describes ``classes`` and what they are made of.

    Args:
        before: A list to which they are appended, or ``None``.
        classes: Names of classes.
        known: Classes and versions that ``before`` already describes.
    """
    from uproot import models

    found: dict[tuple[str, int], bytes] = {}
    for name in classes:
        model = models.TObjString.Model_TObjString if name == "TObjString" else getattr(models.TH, _MODELS[name])
        for _, raw, described, version in model.class_rawstreamers:
            if (described, version) not in known:
                found[described, version] = raw
    if before is None:
        before = struct.pack(">IH", 0, 5) + struct.pack(">HII", 1, 0, 0x02000000) + b"\x00" + struct.pack(">i", 0)
    count_at = 6 + 10 + 1 + before[16]
    (count,) = struct.unpack_from(">i", before, count_at)
    body = (
        before[4:count_at] + struct.pack(">i", count + len(found)) + before[count_at + 4 :] + b"".join(found.values())
    )
    return struct.pack(">I", len(body) | 0x40000000) + body


def joined(gaps: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sort gaps and join those that touch."""
    out: list[tuple[int, int]] = []
    for position, length in sorted(gaps):
        if out and sum(out[-1]) == position:
            out[-1] = (out[-1][0], out[-1][1] + length)
        else:
            out.append((position, length))
    return out
