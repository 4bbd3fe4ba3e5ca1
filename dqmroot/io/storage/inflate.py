"""Inflate ROOT's compression frames: ZLIB, LZMA, LZ4, ZSTD, and what came before them.

Most time of reading goes here, so the inflated bytes land in one buffer that is used again and again: fresh memory
for each basket costs as much as a third of inflating it.
"""

from __future__ import annotations

import ctypes
import functools
import lzma
import zlib
from collections.abc import Callable
from typing import Any

import cramjam
import deflate
import numpy as np
import xxhash
from numpy.typing import NDArray

from dqmroot.kernels.inflate import link

__all__ = ["Inflater", "linked"]

_KEEP = 64 << 20


class Inflater:
    """Inflates into its own buffer; what it gave last is overwritten by the next call. One thread at a time."""

    def __init__(self) -> None:
        self._buffer = np.empty(0, np.uint8)
        self._zlib = _fast_zlib()

    def __call__(self, body: NDArray[np.uint8], length: int) -> NDArray[np.uint8]:
        """Inflate a sequence of frames to ``length`` bytes.

        A frame is a tag (2 bytes), a method byte, compressed and inflated size (3 bytes each, low byte first), the data.

        Raises:
            ValueError: A frame is damaged, of an unknown kind, or the sizes do not add up.
        """
        if length > len(self._buffer):
            # The frame headers say what will come; do not take memory for what they do not promise.
            _promised(body, length)
            self._buffer = np.empty(length, np.uint8) if length > _KEEP else np.empty(max(length, 1 << 18), np.uint8)
        at = done = 0
        while done < length:
            tag, packed, size = _header(body, at, length - done)
            at += 9
            self._frame(tag, body[at : at + packed], self._buffer[done : done + size])
            at += packed
            done += size
        return self._buffer[:length]

    def _frame(self, tag: bytes, data: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        codec = self._zlib if tag == b"ZL" else _CODECS.get(tag)
        if codec is None:
            raise ValueError(f"unknown compression {tag!r}")
        try:
            codec(data, out)
        except ValueError:
            raise
        except (deflate.DeflateError, cramjam.DecompressionError, lzma.LZMAError, zlib.error, OverflowError) as error:
            raise ValueError(f"cannot inflate: {error}") from error


def _header(body: NDArray[np.uint8], at: int, left: int) -> tuple[bytes, int, int]:
    """Tag, compressed and inflated size of the frame at ``at``."""
    if at + 9 > len(body):
        raise ValueError(f"its frames end {left} bytes too early")
    head = body[at : at + 9].tobytes()
    packed, size = int.from_bytes(head[3:6], "little"), int.from_bytes(head[6:9], "little")
    if at + 9 + packed > len(body) or not 0 < size <= left:
        raise ValueError(f"a frame of {packed} bytes ({size} inflated) does not fit")
    return head[:2], packed, size


def _promised(body: NDArray[np.uint8], length: int) -> None:
    """Step over the frames without inflating them."""
    at = done = 0
    while done < length:
        _, packed, size = _header(body, at, length - done)
        at += 9 + packed
        done += size


def _fill(out: NDArray[np.uint8], made: Any) -> None:
    if len(made) != len(out):
        raise ValueError(f"a frame gives {len(made)} bytes, not {len(out)}")
    out[:] = np.frombuffer(made, np.uint8)


def _plain_zlib(data: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    _fill(out, deflate.zlib_decompress(data.data, len(out)))


def _old_zlib(data: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    # ROOT before version 5: bare deflate without zlib's header.
    _fill(out, zlib.decompressobj(-15).decompress(data.data, len(out)))


def _xz(data: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    inflater = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=1 << 30)
    _fill(out, inflater.decompress(data.data, max_length=len(out)))


def _lz4(data: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    if len(data) < 8 or xxhash.xxh64_digest(data[8:].data) != data[:8].tobytes():
        raise ValueError("the checksum of an LZ4 frame is wrong")
    n = cramjam.lz4.decompress_block_into(data[8:].data, out.data, output_len=len(out))
    if n != len(out):
        raise ValueError(f"a frame gives {n} bytes, not {len(out)}")


def _zstd(data: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    n = cramjam.zstd.decompress_into(data.data, out.data)
    if n != len(out):
        raise ValueError(f"a frame gives {n} bytes, not {len(out)}")


_CODECS: dict[bytes, Callable[[NDArray[np.uint8], NDArray[np.uint8]], None]] = {
    b"CS": _old_zlib,
    b"XZ": _xz,
    b"L4": _lz4,
    b"ZS": _zstd,
}


@functools.cache
def _libdeflate() -> Any:
    """The libdeflate inside `deflate`, which cannot inflate into given memory itself; ``None`` where it does not show."""
    try:
        library = ctypes.CDLL(deflate._deflate.__file__)
        make, free, inflate = (
            library.libdeflate_alloc_decompressor,
            library.libdeflate_free_decompressor,
            library.libdeflate_zlib_decompress,
        )
    except (AttributeError, OSError):
        return None
    make.restype, make.argtypes = ctypes.c_void_p, []
    free.restype, free.argtypes = None, [ctypes.c_void_p]
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    inflate.restype, inflate.argtypes = ctypes.c_int, [pointer, pointer, size, pointer, size, pointer]
    return library


@functools.cache
def linked() -> bool:
    """Tell whether compiled loops can call libdeflate themselves; from then on, they can."""
    return link(deflate._deflate.__file__)


class _DirectZlib:
    """libdeflate straight into given memory, without the interpreter's lock."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._state = library.libdeflate_alloc_decompressor()
        if not self._state:
            raise MemoryError("no memory for libdeflate")

    def __call__(self, data: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        # Without a place for the true size, anything but exactly len(out) bytes is an error.
        status = self._library.libdeflate_zlib_decompress(
            self._state, data.ctypes.data, len(data), out.ctypes.data, len(out), None
        )
        if status:
            why = {1: "damaged data", 2: "too few bytes", 3: "too many bytes"}.get(status, f"status {status}")
            raise ValueError(f"cannot inflate: {why}")

    def __del__(self) -> None:
        self._library.libdeflate_free_decompressor(self._state)


def _fast_zlib() -> Callable[[NDArray[np.uint8], NDArray[np.uint8]], None]:
    library = _libdeflate()
    return _plain_zlib if library is None else _DirectZlib(library)
