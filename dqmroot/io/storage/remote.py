"""Bytes of remote files: ``root://`` through XRootD, ``https://`` through range requests.

Only the ranges asked for are moved. Requests for ranges close to each other are joined; XRootD takes many in one request,
HTTP takes one each, over a few connections that stay open.
"""

from __future__ import annotations

import bisect
import http.client
import ssl
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from dqmroot._version import __version__
from dqmroot.errors import InputError, MissingExtraError
from dqmroot.scientific import own_symbols

__all__ = ["TIMEOUT", "HttpSource", "XRootDSource", "coalesce"]

TIMEOUT = 60
"""Seconds without an answer after which a server counts as gone."""

_GAP = 1 << 14
_CONNECTIONS = 8
_REDIRECTS = 5
# Limits of an XRootD vector read: ranges per request, bytes per range.
_VECTOR, _VECTOR_BYTES = 1024, 2_000_000


def coalesce(ranges: Sequence[tuple[int, int]], gap: int = _GAP) -> list[tuple[int, int]]:
    """Join ranges (start, stop) that overlap or lie at most ``gap`` bytes apart; sorted."""
    out: list[list[int]] = []
    for start, stop in sorted(ranges):
        if out and start <= out[-1][1] + gap:
            out[-1][1] = max(out[-1][1], stop)
        else:
            out.append([start, stop])
    return [(start, stop) for start, stop in out]


class _Remote:
    """What both kinds share: bounds, joining ranges, cutting the answers up again. Once closed, it opens itself again."""

    path: str
    size: int

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[type[_Remote], tuple[str]]:
        return type(self), (self.path,)

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to before ``stop``."""
        return self.read_many([(start, stop)])[0]

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the bytes of several ranges, in order."""
        for start, stop in ranges:
            if not 0 <= start <= stop <= self.size:
                what = f"bytes {start} to {stop} lie outside the file of {self.size} bytes (truncated?)"
                raise InputError(self.path, what)
        wanted = coalesce([pair for pair in ranges if pair[0] < pair[1]])
        blocks = dict(zip(wanted, self._fetch(wanted), strict=True)) if wanted else {}
        out, starts = [], [start for start, _ in wanted]
        for start, stop in ranges:
            if start == stop:
                out.append(b"")
                continue
            first, last = wanted[bisect.bisect_right(starts, start) - 1]
            block = blocks[first, last]
            out.append(block if (first, last) == (start, stop) else block[start - first : stop - first])
        return out

    def _fetch(self, ranges: list[tuple[int, int]]) -> list[bytes]:
        raise NotImplementedError


class HttpSource(_Remote):
    """A file on a web server that answers range requests.

    Raises:
        InputError: The server cannot be reached, has no such file, or does not answer range requests.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._local = threading.local()
        self._open: list[http.client.HTTPConnection] = []
        self._pool: ThreadPoolExecutor | None = None
        self._url = urlsplit(path)
        self.size = self._find()

    def close(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        for connection in self._open:
            connection.close()
        self._open.clear()
        self._local = threading.local()

    def _find(self) -> int:
        """Follow redirections and return the size of the file."""
        for _ in range(_REDIRECTS):
            status, headers, _ = self._ask(0, 1)
            if status in {301, 302, 303, 307, 308} and headers.get("Location"):
                self._url = urlsplit(urljoin(self._url.geturl(), headers["Location"]))
                if self._url.scheme not in {"http", "https"}:
                    raise InputError(self.path, f"is redirected to {self._url.scheme}://")
                self.close()
                continue
            if status == 416:
                return 0
            total = headers.get("Content-Range", "").rpartition("/")[2]
            if status == 200:
                raise InputError(self.path, "the server does not answer range requests; copy the file first")
            if status != 206 or not total.isdigit():
                raise InputError(
                    self.path, f"the server answers {status} {http.client.responses.get(status, '')}".strip()
                )
            return int(total)
        raise InputError(self.path, "is redirected without end")

    def _fetch(self, ranges: list[tuple[int, int]]) -> list[bytes]:
        if len(ranges) == 1:
            return [self._range(ranges[0])]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_CONNECTIONS, "dqmroot-http")
        return list(self._pool.map(self._range, ranges))

    def _range(self, pair: tuple[int, int]) -> bytes:
        start, stop = pair
        status, headers, data = self._ask(start, stop)
        if status != 206 or not headers.get("Content-Range", "").startswith(f"bytes {start}-{stop - 1}/"):
            raise InputError(self.path, f"the server answers {status} to the request for bytes {start} to {stop}")
        if len(data) != stop - start:
            raise InputError(self.path, f"the server sent {len(data)} of the {stop - start} bytes from byte {start}")
        return data

    def _ask(self, start: int, stop: int) -> tuple[int, dict[str, str], bytes]:
        """Ask for one range; a connection that the server has closed meanwhile is opened once more."""
        target = self._url._replace(scheme="", netloc="", fragment="").geturl() or "/"
        headers = {
            "Range": f"bytes={start}-{stop - 1}",
            "User-Agent": f"dqmroot/{__version__}",
            "Accept-Encoding": "identity",
        }
        for attempt in (1, 2):
            kept = getattr(self._local, "connection", None)
            connection = kept or self._connect(self._url)
            try:
                connection.request("GET", target, headers=headers)
                answer = connection.getresponse()
                # A server that ignores the range would send all of the file: leave it there.
                data = answer.read(stop - start + 1) if answer.status == 206 else b""
                if answer.status != 206:
                    self._drop(connection)
                return answer.status, dict(answer.headers), data
            except (OSError, http.client.HTTPException) as error:
                self._drop(connection)
                if kept is None or attempt == 2:
                    raise InputError(
                        self.path, f"the server does not answer: {error or type(error).__name__}"
                    ) from error
        raise AssertionError

    def _connect(self, url: SplitResult) -> http.client.HTTPConnection:
        host = url.hostname or ""
        if url.scheme == "https":
            context = ssl.create_default_context()
            made: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, url.port, timeout=TIMEOUT, context=context
            )
        else:
            made = http.client.HTTPConnection(host, url.port, timeout=TIMEOUT)
        self._open.append(made)
        self._local.connection = made
        return made

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        connection.close()
        if connection in self._open:
            self._open.remove(connection)
        self._local.connection = None


class XRootDSource(_Remote):
    """A file on an XRootD server.

    Raises:
        MissingExtraError: XRootD's Python package is not installed.
        InputError: The server cannot be reached or has no such file.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._file: Any = None
        self._lock = threading.Lock()
        self.size = int(self._check(self._opened().stat(timeout=TIMEOUT), "cannot be opened").size)

    def _opened(self) -> Any:
        try:
            with own_symbols():
                from XRootD import client
                from XRootD.client.flags import OpenFlags
        except ImportError as error:
            raise MissingExtraError("xrootd", "xrootd") from error
        with self._lock:
            if self._file is None:
                file = client.File()
                self._check(file.open(self.path, OpenFlags.READ, timeout=TIMEOUT), "cannot be opened")
                self._file = file
            return self._file

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close(timeout=5)
                self._file = None

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self._file.close(timeout=1)

    def _check(self, answer: Any, what: str) -> Any:
        """Return what the server gave."""
        status, given = answer
        if not status.ok:
            raise InputError(self.path, f"{what}: {' '.join(str(status.message).split())}")
        return given

    def _fetch(self, ranges: list[tuple[int, int]]) -> list[bytes]:
        pieces = [
            (at, min(at + _VECTOR_BYTES, stop) - at)
            for start, stop in ranges
            for at in range(start, stop, _VECTOR_BYTES)
        ]
        file = self._opened()
        got: list[bytes] = []
        for first in range(0, len(pieces), _VECTOR):
            some = pieces[first : first + _VECTOR]
            if len(some) == 1:
                got.append(bytes(self._check(file.read(*some[0], timeout=TIMEOUT), "cannot be read")))
            else:
                given = self._check(file.vector_read(some, timeout=TIMEOUT), "cannot be read")
                got += [bytes(chunk.buffer) for chunk in given]
        for (at, length), data in zip(pieces, got, strict=True):
            if len(data) != length:
                raise InputError(self.path, f"the server sent {len(data)} of the {length} bytes from byte {at}")
        out, i = [], 0
        for start, stop in ranges:
            n = -(-(stop - start) // _VECTOR_BYTES)
            out.append(got[i] if n == 1 else b"".join(got[i : i + n]))
            i += n
        return out
