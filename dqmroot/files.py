"""Files that appear whole or not at all, and monitoring-element names as folder names."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from dqmroot.errors import OutputError

__all__ = ["folder_name", "json_by_line", "me_name", "whole_file", "whole_folder", "write_text"]


def folder_name(me: str) -> str:
    """Return the relative folder of a monitoring element: each path part percent-encoded, no part ``.`` or ``..``.

    Parts longer than 120 bytes once encoded are split over nested folders ending in ``%``, so that any name fits a file system.
    """
    parts = []
    for part in me.split("/"):
        encoded = quote(part, safe=" +-=_()#,") or "%"
        if encoded.strip(".") == "":
            encoded = encoded.replace(".", "%2E")
        while len(encoded) > 120:
            cut = 120 if "%" not in encoded[118:120] else 118 + encoded[118:120].index("%")
            parts.append(encoded[:cut] + "%")
            encoded = encoded[cut:]
        parts.append(encoded)
    return "/".join(parts)


def me_name(folder: str) -> str:
    """Return the monitoring element that `folder_name` made a folder of."""
    joined, out = "", []
    for part in folder.split("/"):
        if part != "%" and part.endswith("%"):
            joined += part[:-1]
            continue
        out.append("" if part == "%" else unquote(joined + part))
        joined = ""
    return "/".join(out)


@contextmanager
def whole_file(path: str | os.PathLike[str], *, sync: bool = True) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it onto ``path`` when the block ends well, remove it when not.

    The last of two writers wins, and each file is whole: the rename is atomic and the bytes are on disk before it.

    Args:
        path: The file.
        sync: Whether to wait for the disk, as is needed where a file damaged by a power cut is not noticed, or a loss.

    Raises:
        OutputError: The folder cannot be made or written, or the disk is full.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=".part", dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        if sync:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        why = f"{target.parent} is not a folder" if isinstance(error, FileExistsError) else error.strerror or error
        raise OutputError(f"{target}: cannot be written: {why}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary folder beside ``path``; it takes the place of ``path`` when the block ends well.

    Raises:
        OutputError: The folder cannot be made or written.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name[:100]}.", suffix=".part", dir=target.parent))
        temporary.chmod(0o777 & ~_umask())
        yield temporary
        if target.exists() or target.is_symlink():
            # Two renames: a folder cannot replace one that holds files. The old one stays whole beside it until the end.
            old = Path(tempfile.mkdtemp(prefix=f".{target.name[:100]}.", suffix=".old", dir=target.parent))
            target.replace(old / "old")
            try:
                temporary.replace(target)
            except OSError:
                (old / "old").replace(target)
                raise
            finally:
                shutil.rmtree(old, ignore_errors=True)
        else:
            temporary.replace(target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` to ``path`` in UTF-8, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def json_by_line(data: Mapping[str, Any]) -> str:
    """Return JSON with one line per element of each list, so that a person can read it and it stays small."""
    parts = []
    for key, value in data.items():
        if isinstance(value, list) and value:
            text = "[\n  " + ",\n  ".join(json.dumps(item, allow_nan=False) for item in value) + "\n ]"
        else:
            text = json.dumps(value, allow_nan=False)
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
