"""What to read: which entries of which files, told by names, runs, lumisections and scope."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import InputError, UnknownNameError, UsageError
from dqmroot.io.names import Patterns, is_glob, patterns_of, wanted
from dqmroot.io.nanodqmio.trees import NanoFile, open_file
from dqmroot.io.storage.source import Files, expand
from dqmroot.selection import Selection

__all__ = ["Asked", "Query", "Scope", "ask", "by_name", "opened"]

Scope = Literal["lumi", "run", "all"]
"""Rows of lumisections, rows of whole runs (LS 0), or both."""


@dataclass
class Query:
    """What is asked for, and what of it has been met so far.

    Args:
        patterns: Names and patterns of monitoring elements.
        selection: Which lumisections.
        scope: Lumisections, whole runs or both.
    """

    patterns: Patterns
    selection: Selection = field(default_factory=Selection)
    scope: Scope = "lumi"

    def __post_init__(self) -> None:
        if self.scope not in {"lumi", "run", "all"}:
            raise UsageError(f"scope must be 'lumi', 'run' or 'all'; got {self.scope!r}")
        self.all_patterns = patterns_of(self.patterns)
        self.seen: dict[str, bool] = {}
        self.used: set[int] = set()
        wanted(self.all_patterns, (), self.seen, self.used)

    def takes(self, names: Iterable[str]) -> NDArray[np.bool_]:
        """Tell for each name whether it is asked for."""
        names = list(names)
        wanted(self.all_patterns, names, self.seen, self.used)
        return np.array([self.seen[name] for name in names], np.bool_)

    def absent(self) -> list[str]:
        """The names and patterns that no file had anything for."""
        return [
            str(getattr(p, "pattern", p)) for i, p in enumerate(self.all_patterns) if i not in self.used and p != "**"
        ]

    def check(self, where: str = "") -> None:
        """Raise `UnknownNameError` where something asked for is in no file.

        Raises:
            UnknownNameError: It names everything absent, and the nearest names to the first.
        """
        absent = self.absent()
        if not absent:
            return
        known = sorted(self.seen)
        if len(absent) == 1:
            raise UnknownNameError("monitoring element", absent[0], known, where)
        others = ", ".join(repr(name) for name in absent[1:])
        raise UnknownNameError("monitoring element", absent[0], known, f"{where or 'the files'} (and {others})")

    def scoped(self, lumi: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Tell which LS numbers are of the scope asked for."""
        if self.scope == "all":
            return np.ones(lumi.shape, np.bool_)
        return (lumi > 0) if self.scope == "lumi" else (lumi == 0)

    @property
    def everything(self) -> bool:
        """Whether every name is asked for."""
        return "**" in self.all_patterns

    @property
    def has_globs(self) -> bool:
        """Whether a pattern may stand for several names."""
        return any(is_glob(pattern) for pattern in self.all_patterns)


def opened(files: Files, errors: list[InputError] | None) -> Iterator[NanoFile]:
    """Open files one after the other, each closed again before it is given (it opens itself when read).

    Args:
        files: See `dqmroot.io.storage.source.expand`.
        errors: Where a file that cannot be read is told; ``None``: the first one is raised.

    Raises:
        InputError: A file cannot be read, and ``errors`` is ``None``; or none of them could.
    """
    paths = expand(files)
    failed = 0
    for path in paths:
        try:
            file = open_file(path)
        except InputError as error:
            if errors is None:
                raise
            errors.append(error)
            failed += 1
            if failed == len(paths):
                raise
            continue
        yield file
        file.close()


@dataclass
class Asked:
    """Entries of one tree that are asked for, over all files.

    Args:
        file: ``(n,)`` int32, which file.
        entry: ``(n,)`` int64.
        name: ``(n,)`` int64, place in the list of names.
        run: ``(n,)`` uint32.
        lumi: ``(n,)`` uint32.
    """

    file: NDArray[np.int32]
    entry: NDArray[np.int64]
    name: NDArray[np.int64]
    run: NDArray[np.uint32]
    lumi: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.entry)

    def __getitem__(self, index: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Asked:
        return Asked(self.file[index], self.entry[index], self.name[index], self.run[index], self.lumi[index])

    @classmethod
    def join(cls, parts: list[Asked]) -> Asked:
        """Put the entries of several files together."""
        fields = ("file", "entry", "name", "run", "lumi")
        return cls(*(np.concatenate([getattr(part, what) for part in parts]) for what in fields))


def by_name(asked: Iterable[dict[str, Asked]], numbers: dict[str, int]) -> list[str]:
    """Renumber the names in the order of the alphabet, in place; returns them."""
    names = list(numbers)
    order = sorted(range(len(names)), key=names.__getitem__)
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    for part in asked:
        for one in part.values():
            one.name = rank[one.name]
    return [names[i] for i in order]


def ask(file: NanoFile, number: int, query: Query, numbers: dict[str, int]) -> dict[str, Asked]:
    """Find the entries of one file that are asked for, in the order of its blocks.

    Args:
        file: The file.
        number: What to call it in `Asked.file`.
        query: What is asked for.
        numbers: Place of each name in the list of names; new ones are added.

    Returns:
        By tree; trees without such entries are left out.

    Raises:
        InputError: A basket of names is damaged.
    """
    out = {}
    for tree, blocks in file.blocks.items():
        names, ids = file.names(tree)
        takes = query.takes(names)
        chosen = query.scoped(blocks.lumi) & query.selection.contains(blocks.run, blocks.lumi)
        if not takes.any() or not chosen.any():
            continue
        entry, block = blocks.entries(chosen)
        name = ids[entry]
        if not takes.all():
            keep = takes[name]
            entry, block, name = entry[keep], block[keep], name[keep]
        if len(entry) == 0:
            continue
        mine = np.array([numbers.setdefault(n, len(numbers)) if t else -1 for n, t in zip(names, takes, strict=True)])
        out[tree] = Asked(
            np.full(len(entry), number, np.int32), entry, mine[name], blocks.run[block], blocks.lumi[block]
        )
    return out
