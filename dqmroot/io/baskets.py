"""Baskets: the compressed pieces a ROOT tree is stored in.

Layout: a TKey, the basket's own header at the end of the key, then the payload, compressed in frames of up to 16 MB. Inflated,
the payload holds the entries and then the table of their offsets (docs: ROOT's ``TBasket::Streamer``).
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cramjam
import deflate
import numpy as np
import xxhash
from numpy.typing import NDArray

from dqmroot.errors import InputError
from dqmroot.io.source import Source

__all__ = ["MAX_BASKET", "Baskets", "Payload", "inflate", "unpack"]

MAX_BASKET = 1 << 28
"""Bytes of an inflated basket beyond which a file is not believed; ROOT's own limit for automatic sizes is 25.6 MB."""

_KEY = struct.Struct(">ihiIhh")
_NUMBERS = struct.Struct(">iiB")


@dataclass(frozen=True)
class Payload:
    """One inflated basket.

    Args:
        data: ``(n,)`` uint8: entries, then the table of their offsets.
        border: Where the entries end.
        key_length: What the offsets in the table are too large by.
        n_entries: Entries in the basket.
    """

    data: NDArray[np.uint8]
    border: int
    key_length: int
    n_entries: int


@dataclass(frozen=True)
class Baskets:
    """Where the baskets of one branch lie.

    Args:
        path: The file.
        tree: The tree, for messages.
        seek: ``(n,)`` int64, place in the file.
        nbytes: ``(n,)`` int64, bytes there.
        first: ``(n + m + 1,)`` int64, the entry each basket starts with, and the number of entries.
        embedded: The last ``m`` baskets, which were never written out and lie inside the tree's own record.
    """

    path: str
    tree: str
    seek: NDArray[np.int64]
    nbytes: NDArray[np.int64]
    first: NDArray[np.int64]
    embedded: tuple[Payload, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.first) - 1

    @property
    def n_entries(self) -> int:
        """Entries of the branch."""
        return int(self.first[-1])

    def load(self, source: Source, numbers: Sequence[int]) -> list[bytes | None]:
        """Read the bytes of some baskets as they lie in the file; ``None`` for those that are embedded."""
        n = len(self.seek)
        ranges = [(int(self.seek[i]), int(self.seek[i] + self.nbytes[i])) for i in numbers if i < n]
        raw = iter(source.read_many(ranges))
        return [next(raw) if i < n else None for i in numbers]

    def payload(self, number: int, raw: bytes | None) -> Payload:
        """Inflate one basket, from the bytes that `load` gave.

        Raises:
            InputError: The basket is damaged.
        """
        if raw is None:
            made = self.embedded[number - len(self.seek)]
        else:
            try:
                made = unpack(raw)
            except ValueError as error:
                raise InputError(
                    self.path, f"basket {number} is damaged: {error}", self.tree, int(self.first[number])
                ) from error
        if made.n_entries != self.first[number + 1] - self.first[number]:
            what = f"basket {number} holds {made.n_entries} entries, not the {self.first[number + 1] - self.first[number]} told"
            raise InputError(self.path, what, self.tree, int(self.first[number]))
        return made


def unpack(raw: bytes) -> Payload:
    """Read the header of a basket and inflate it.

    Raises:
        ValueError: It makes no sense.
    """
    if len(raw) < _KEY.size:
        raise ValueError(f"only {len(raw)} bytes")
    total, _, length, _, key_length, _ = _KEY.unpack_from(raw)
    if total != len(raw) or not 40 <= key_length <= total:
        raise ValueError(f"its key says {total} bytes, {key_length} of them the key; there are {len(raw)}")
    if not 0 <= length <= MAX_BASKET:
        raise ValueError(f"its key says {length} bytes inflated")
    n_entries, last, _ = _NUMBERS.unpack_from(raw, key_length - 9)
    border = last - key_length
    if not 0 <= border <= length or n_entries < 0:
        raise ValueError(f"its key says {n_entries} entries that end at byte {last} of {length}")
    body = memoryview(raw)[key_length:]
    data = np.frombuffer(body if len(body) == length else inflate(body, length), np.uint8)
    # The kernels are compiled once, for bytes that are only read.
    data.flags.writeable = False
    return Payload(data, border, key_length, n_entries)


def inflate(body: memoryview, length: int) -> Any:
    """Inflate a sequence of ROOT's compression frames to ``length`` bytes (any buffer).

    A frame is a tag (2 bytes), a method byte, compressed and inflated size (3 bytes each, low byte first), the data.

    Raises:
        ValueError: A frame is damaged, of an unknown kind, or the sizes do not add up.
    """
    parts: list[Any] = []
    at = done = 0
    while done < length:
        if at + 9 > len(body):
            raise ValueError(f"its frames end at {done} of {length} bytes")
        tag = bytes(body[at : at + 2])
        packed = int.from_bytes(body[at + 3 : at + 6], "little")
        size = int.from_bytes(body[at + 6 : at + 9], "little")
        at += 9
        if at + packed > len(body) or size == 0 or done + size > length:
            raise ValueError(f"a frame of {packed} bytes ({size} inflated) does not fit")
        one = _frame(tag, body[at : at + packed], size)
        if len(one) != size:
            raise ValueError(f"a frame gives {len(one)} bytes, not {size}")
        parts.append(one)
        at += packed
        done += size
    if len(parts) == 1:
        return parts[0]
    out = bytearray(length)
    at = 0
    for one in parts:
        out[at : at + len(one)] = one
        at += len(one)
    return out


def _zlib(data: memoryview, size: int) -> Any:
    return deflate.zlib_decompress(data, size)


def _old_zlib(data: memoryview, size: int) -> Any:
    # ROOT before version 5: bare deflate without zlib's header.
    return zlib.decompressobj(-15).decompress(data, size)


def _xz(data: memoryview, size: int) -> Any:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=1 << 30).decompress(data, max_length=size)


def _lz4(data: memoryview, size: int) -> Any:
    if len(data) < 8 or xxhash.xxh64_digest(data[8:]) != data[:8]:
        raise ValueError("the checksum of an LZ4 frame is wrong")
    return cramjam.lz4.decompress_block(data[8:], output_len=size)


def _zstd(data: memoryview, size: int) -> Any:
    out = bytearray(size)
    n = cramjam.zstd.decompress_into(data, out)
    return out if n == size else out[:n]


_CODECS: dict[bytes, Callable[[memoryview, int], Any]] = {
    b"ZL": _zlib,
    b"CS": _old_zlib,
    b"XZ": _xz,
    b"L4": _lz4,
    b"ZS": _zstd,
}


def _frame(tag: bytes, data: memoryview, size: int) -> Any:
    codec = _CODECS.get(tag)
    if codec is None:
        raise ValueError(f"unknown compression {tag!r}")
    try:
        return codec(data, size)
    except ValueError:
        raise
    except (deflate.DeflateError, cramjam.DecompressionError, lzma.LZMAError, zlib.error, OverflowError) as error:
        raise ValueError(f"cannot inflate: {error}") from error
