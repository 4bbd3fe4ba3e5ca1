"""The one error tree of dqmroot, and how a message names what is nearest.

::

    DQMError
    ├── UsageError (2)            the caller asked for something that cannot be
    │   ├── UnknownNameError      no such ME, detector, step, column, key …
    │   ├── EmptySelectionError   a selection leaves nothing
    │   ├── ModelMismatchError    the model is of another ME or other bins
    │   ├── NotFittedError        a detector or model that has not learnt yet
    │   └── MissingExtraError     an optional dependency is not installed
    ├── InputError (3)            an input cannot be read
    ├── IncompleteError (4)       finished, but some inputs failed
    └── OutputError (5)           an output cannot be written

The number is the exit status of the command line. Every message is one line that names the file, the ME or the
option, says what is wrong, and, where there is one, the nearest right name.
"""

from __future__ import annotations

import difflib
import errno
import itertools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

__all__ = [
    "DQMError",
    "DQMWarning",
    "EmptySelectionError",
    "IncompleteError",
    "InputError",
    "MissingExtraError",
    "ModelMismatchError",
    "NotFittedError",
    "OutputError",
    "UnknownNameError",
    "UsageError",
    "nearest",
    "one_line",
]


def one_line(error: object, most: int = 300) -> str:
    """Return what a library says of an error in one line, cut where it is long."""
    return " ".join(str(error).split())[:most]


def nearest(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """Return the up to ``n`` names of ``known`` that look most like ``name``.

    The comparison ignores case; a name that contains ``name`` (or ends like it) comes before one that merely resembles it.
    """
    pool = list(dict.fromkeys(known))
    lower = name.lower()
    tail = lower.rsplit("/", 1)[-1]
    ranked = sorted(
        pool,
        key=lambda other: (
            lower not in other.lower(),
            bool(tail) and tail not in other.lower(),
            -difflib.SequenceMatcher(None, lower, other.lower()).ratio(),
        ),
    )
    close = [
        other
        for other in ranked
        if (tail and tail in other.lower()) or difflib.SequenceMatcher(None, lower, other.lower()).ratio() >= 0.5
    ]
    return close[:n]


def _instead(path: Path) -> str:
    """Return what is there instead of a path that is not: files of a similar name, or the folder that is missing, too."""
    folder = path.parent
    if not folder.is_dir():
        return f" (there is no folder {folder})"
    try:
        with os.scandir(folder) as entries:
            close = nearest(path.name, [entry.name for entry in itertools.islice(entries, 5000)])
    except OSError:
        return ""
    return f"; nearest: {', '.join(close)}" if close else ""


class DQMWarning(UserWarning):
    """Something is not as it should be, but the numbers given are right."""


class DQMError(Exception):
    """Base of everything dqmroot raises on purpose."""

    exit_code: ClassVar[int] = 70


class UsageError(DQMError):
    """The caller asked for something that cannot be."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that does not exist; the nearest known ones are told.

    Args:
        kind: What is named, in the singular ("monitoring element", "detector").
        name: The name that was given.
        known: Every name that would have been right.
        where: Where it was looked for (a file, an option); optional.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], where: str = "") -> None:
        pool = list(known)
        close = nearest(name, pool)
        message = f"unknown {kind} {name!r}" + (f" in {where}" if where else "")
        if close:
            message += "; nearest: " + ", ".join(close)
        elif pool:
            shown = ", ".join(pool[:5])
            message += f"; there are: {shown}" + (", …" if len(pool) > 5 else "")
        super().__init__(message)
        self.kind, self.name, self.known, self.where = kind, name, tuple(pool), where


class EmptySelectionError(UsageError):
    """A selection leaves no lumisection, bin or file."""


class ModelMismatchError(UsageError):
    """A model was given data of another monitoring element or with other bins."""


class NotFittedError(UsageError):
    """A detector or model was asked before it had learnt."""


class MissingExtraError(UsageError):
    """An optional dependency is not installed.

    Args:
        package: The package that could not be imported.
        extra: The extra of dqmroot that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; install it with: pip install 'dqmroot[{extra}]'")
        self.package, self.extra = package, extra


class InputError(DQMError):
    """An input cannot be read.

    Args:
        path: The file.
        what: What is wrong with it, in a few words.
        tree: The tree or group inside the file, where known.
        entry: The entry number inside the tree, where known.
    """

    exit_code = 3

    def __init__(self, path: object, what: str, tree: str = "", entry: int | None = None) -> None:
        place = str(path)
        if what == os.strerror(errno.ENOENT) and "://" not in place:
            what += _instead(Path(place))
        if tree:
            place += f", {tree}"
        if entry is not None:
            place += f" entry {entry}"
        super().__init__(f"{place}: {what}")
        self.path, self.what, self.tree, self.entry = str(path), what, tree, entry

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str, int | None]]:
        return type(self), (self.path, self.what, self.tree, self.entry)


class IncompleteError(DQMError):
    """The work is finished, but some inputs failed; the manifest lists them."""

    exit_code = 4


class OutputError(DQMError):
    """An output cannot be written."""

    exit_code = 5
