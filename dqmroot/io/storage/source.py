"""Where bytes come from: paths, globs, lists of files, and one small door to each kind of storage.

A `Source` is two methods, `read` and `read_many`. A new kind of storage is one class and one line in `OPENERS`.
"""

from __future__ import annotations

import glob
import os
import re
import stat
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from dqmroot.errors import InputError, UsageError

__all__ = ["OPENERS", "Files", "LocalSource", "SeekableSource", "Source", "expand", "open_source"]

Files = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")


class Source(Protocol):
    """Bytes of one file, wherever it is. Reading is thread-safe."""

    path: str
    size: int

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to before ``stop``.

        Raises:
            InputError: The file ends before ``stop``, or the bytes cannot be had.
        """

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the bytes of several ranges (start, stop), in order; one request where the storage can."""

    def close(self) -> None:
        """Give back what the file holds open."""


class LocalSource:
    """A file of this machine, read with ``pread``: no shared position, and a file cut short meanwhile is no crash.

    Once closed it opens itself again when it is read, so that a thousand files need not be open at a time.

    Raises:
        InputError: The file is missing, a folder, or not readable.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1
        self._lock = threading.Lock()
        self.size = os.fstat(self._open()).st_size

    def _open(self) -> int:
        with self._lock:
            if self._fd < 0:
                try:
                    fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0))
                except OSError as error:
                    raise InputError(self.path, error.strerror or str(error)) from error
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    os.close(fd)
                    folder = f"a folder; name the files in it, such as '{self.path.rstrip('/')}/*.root'"
                    raise InputError(self.path, folder if Path(self.path).is_dir() else "not a file")
                self._fd = fd
            return self._fd

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to before ``stop``."""
        if not 0 <= start <= stop <= self.size:
            raise InputError(
                self.path, f"bytes {start} to {stop} lie outside the file of {self.size} bytes (truncated?)"
            )
        fd = self._open()
        try:
            data = os.pread(fd, stop - start, start)
            while len(data) < stop - start:
                more = os.pread(fd, stop - start - len(data), start + len(data))
                if not more:
                    raise InputError(self.path, f"ends before byte {stop} (truncated while it was read?)")
                data += more
        except OSError as error:
            raise InputError(self.path, error.strerror or str(error)) from error
        return data

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the bytes of several ranges, in order."""
        return [self.read(start, stop) for start, stop in ranges]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def __getstate__(self) -> str:
        return self.path

    def __setstate__(self, path: str) -> None:
        # A file descriptor does not travel to another process; the path does.
        LocalSource.__init__(self, path)

    def __del__(self) -> None:
        if hasattr(self, "_lock"):
            self.close()


class SeekableSource:
    """A `Source` as the file-like object that uproot wants for the metadata."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._at = 0

    def seek(self, position: int) -> int:
        """Move to ``position``, counted from the start of the file."""
        self._at = position
        return position

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes from the present position; fewer at the end of the file."""
        start = min(max(self._at, 0), self.source.size)
        stop = self.source.size if size < 0 else min(start + size, self.source.size)
        self._at = stop
        return self.source.read(start, stop)


def _http(path: str) -> Source:
    from dqmroot.io.storage.remote import HttpSource

    return HttpSource(path)


def _xrootd(path: str) -> Source:
    from dqmroot.io.storage.remote import XRootDSource

    return XRootDSource(path)


OPENERS: dict[str, Callable[[str], Source]] = {
    "http": _http,
    "https": _http,
    "root": _xrootd,
    "roots": _xrootd,
    "xroot": _xrootd,
    "xroots": _xrootd,
}
"""How to open a URL, by its scheme; a plain path is a `LocalSource`."""


def open_source(path: str | os.PathLike[str]) -> Source:
    """Open a local path or a URL.

    Raises:
        InputError: It cannot be opened, or nothing here knows the scheme.
    """
    text = os.fspath(path)
    scheme = _SCHEME.match(text)
    if scheme is None:
        return LocalSource(text)
    kind = scheme.group(1).lower()
    if kind == "file":
        return LocalSource(text[len(scheme.group(0)) :])
    if kind not in OPENERS:
        raise InputError(text, f"do not know how to read {kind}://")
    return OPENERS[kind](text)


def expand(files: Files, *, lists: bool = True) -> list[str]:
    """Turn paths, globs, URLs and lists of them into a list of paths, each once, in the order given.

    A glob gives its matches sorted by name. A name that ends in ``.txt`` or ``.list`` is a text file with one path, glob
    or URL a line; ``#`` starts a comment; lists do not nest.

    Args:
        files: What was asked for.
        lists: Whether text files are lists.

    Raises:
        InputError: A glob matches nothing, or a list cannot be read. (A missing plain file is told when it is opened.)
        UsageError: No file at all.
    """
    items = [files] if isinstance(files, str | os.PathLike) else list(files)
    out: list[str] = []
    for item in items:
        text = os.fspath(item)
        if _SCHEME.match(text) or Path(text).exists():
            is_list = lists and text.endswith((".txt", ".list")) and not _SCHEME.match(text)
            out.extend(expand(_lines(text), lists=False) if is_list else [text])
        elif glob.has_magic(text):
            found = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute patterns
            if not found:
                raise InputError(text, "no file matches")
            out.extend(found)
        else:
            out.append(text)
    if not out:
        raise UsageError("no input file given")
    return list(dict.fromkeys(out))


def _lines(path: str) -> list[str]:
    """Read the lines of a text file, without comments and empty ones."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"not a list of files: {error}") from error
    stripped = [line.split("#", 1)[0].strip() for line in lines]
    found = [line for line in stripped if line]
    if not found:
        raise InputError(path, "lists no file")
    if not any(_SCHEME.match(line) or glob.has_magic(line) or Path(line).exists() for line in found):
        raise InputError(path, f"taken for a list of files, and none of them is there: {found[0]}, …")
    return found
