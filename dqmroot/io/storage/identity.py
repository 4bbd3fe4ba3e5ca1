"""Which file an input was: enough to know it again, without hashing terabytes."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dqmroot.io.storage.source import open_source

__all__ = ["describe_file"]

_LARGE = 1_000_000
"""ROOT adds this to the version of a file whose offsets take 8 bytes."""


def describe_file(path: str) -> dict[str, Any]:
    """Return path, size in bytes, ROOT's UUID where it is a ROOT file, and the time of the last change where it is local.

    Raises:
        InputError: The file cannot be read.
    """
    source = open_source(path)
    try:
        told: dict[str, Any] = {"path": path, "size": source.size}
        head = source.read(0, min(75, source.size))
    finally:
        source.close()
    if head[:4] == b"root" and len(head) == 75:
        (version,) = struct.unpack_from(">i", head, 4)
        at = 59 if version >= _LARGE else 47  # behind the two bytes of the UUID's own version
        told["uuid"] = head[at : at + 16].hex()
    local = Path(path)
    if local.exists():
        told["time"] = datetime.fromtimestamp(local.stat().st_mtime, UTC).isoformat(timespec="seconds")
    return told
