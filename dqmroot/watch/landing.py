"""Which files have landed: new ones whose writer has closed them."""

from __future__ import annotations

import fnmatch
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Landing"]

_WHOLE_LOOK = 10.0  # s; so long may a file that is written over in place stay unseen


class Landing:
    """Looks at folders again and again.

    A file counts as closed when its size and time have stayed the same for ``settle`` seconds. With 0 it counts as closed at
    once, which is right where files are renamed into the folder.

    Args:
        folders: Folders, with all below them.
        pattern: Which files, by name; hidden ones are never looked at.
        settle: Seconds.
        known: Size and time of the files that were handed out before.
    """

    def __init__(
        self, folders: Sequence[str], pattern: str, settle: float, known: Mapping[str, tuple[int, int]]
    ) -> None:
        self.folders, self.pattern, self.settle = tuple(folders), pattern, settle
        self._known = dict(known)
        self._waiting: dict[str, tuple[tuple[int, int], float]] = {}
        self._folder_times: dict[str, int] = {}
        self._looked = float("-inf")

    def closed(self, now: float) -> list[tuple[str, int, int]]:
        """Return path, size and time of the files that closed since the last call, oldest first.

        Args:
            now: The time in seconds.
        """
        if now - self._looked >= _WHOLE_LOOK:
            self._looked = now
            self._folder_times.clear()
            there = set()
            for path, seen in self._files():
                there.add(path)
                self._note(path, seen, now)
            # What is gone need not be remembered.
            self._known = {path: seen for path, seen in self._known.items() if path in there}
        else:
            for path, seen in self._files():
                self._note(path, seen, now)
            for path in list(self._waiting):
                self._look_again(path, now)
        out = []
        for path, (seen, since) in list(self._waiting.items()):
            if now - since >= self.settle:
                del self._waiting[path]
                self._known[path] = seen
                out.append((path, *seen))
        return sorted(out, key=lambda one: (one[2], one[0]))

    @property
    def waiting(self) -> int:
        """How many files are not closed yet."""
        return len(self._waiting)

    def _note(self, path: str, seen: tuple[int, int], now: float) -> None:
        if self._known.get(path) == seen:
            self._waiting.pop(path, None)
        elif path not in self._waiting or self._waiting[path][0] != seen:
            self._waiting[path] = (seen, now)

    def _look_again(self, path: str, now: float) -> None:
        try:
            found = os.stat(path)  # noqa: PTH116 - called very often
        except OSError:
            self._waiting.pop(path, None)
            return
        self._note(path, (found.st_size, found.st_mtime_ns), now)

    def _files(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Look into the folders that have changed."""
        stack = list(self.folders)
        while stack:
            folder = stack.pop()
            try:
                changed_at = os.stat(folder).st_mtime_ns  # noqa: PTH116 - called very often
                # Times of folders tick coarsely: one that changed just now may change again under the same time.
                fresh = time.time_ns() - changed_at < 10**9
                changed = fresh or self._folder_times.get(folder) != changed_at
                entries = list(os.scandir(folder))
            except OSError:
                continue
            self._folder_times[folder] = changed_at
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                try:
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                    elif changed and fnmatch.fnmatch(entry.name, self.pattern):
                        found = entry.stat()
                        if stat.S_ISREG(found.st_mode):
                            yield entry.path, (found.st_size, found.st_mtime_ns)
                except OSError:
                    continue
