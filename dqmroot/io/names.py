"""Names of monitoring elements: exact, by glob, by regular expression."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from dqmroot.errors import UsageError

__all__ = ["Pattern", "Patterns", "is_glob", "matcher", "patterns_of", "wanted"]

Pattern = str | re.Pattern[str]
Patterns = Pattern | Iterable[Pattern] | None


def patterns_of(patterns: Patterns) -> tuple[Pattern, ...]:
    """Return patterns as a tuple; ``None`` means every name.

    Raises:
        UsageError: There is none, or one is neither text nor a compiled expression.
    """
    if patterns is None:
        return ("**",)
    out = (patterns,) if isinstance(patterns, str | re.Pattern) else tuple(patterns)
    if not out:
        raise UsageError("no monitoring element asked for")
    for one in out:
        if not isinstance(one, str | re.Pattern):
            raise UsageError(f"{one!r} is not the name of a monitoring element nor a pattern")
    return out


def is_glob(pattern: Pattern) -> bool:
    """Tell whether a pattern may stand for several names."""
    return isinstance(pattern, re.Pattern) or pattern.startswith("re:") or any(c in pattern for c in "*?[")


def matcher(pattern: Pattern) -> Callable[[str], object]:
    """Return the test of a name.

    ``*`` and ``?`` stay within one part of the path, ``**`` crosses parts, ``[…]`` is one character of a set;
    ``re:…`` and compiled expressions are regular expressions that may match anywhere in the name.

    Raises:
        UsageError: It is not a regular expression.
    """
    if isinstance(pattern, re.Pattern):
        return pattern.search
    try:
        if pattern.startswith("re:"):
            return re.compile(pattern[3:]).search
        return re.compile(_translated(pattern), re.DOTALL).fullmatch
    except re.error as error:
        raise UsageError(f"{pattern!r} is not a pattern: {error}") from error


def _translated(glob: str) -> str:
    out, i = "", 0
    while i < len(glob):
        c = glob[i]
        if glob.startswith("**/", i):
            out, i = out + "(?:.*/)?", i + 3
        elif glob.startswith("**", i):
            out, i = out + ".*", i + 2
        elif c == "*":
            out, i = out + "[^/]*", i + 1
        elif c == "?":
            out, i = out + "[^/]", i + 1
        elif c == "[" and "]" in glob[i + 2 :]:
            end = glob.index("]", i + 2)
            inside = glob[i + 1 : end].replace("\\", "\\\\")
            out, i = out + "[" + ("^" + inside[1:] if inside[0] == "!" else inside) + "]", end + 1
        else:
            out, i = out + re.escape(c), i + 1
    return out


def wanted(patterns: Sequence[Pattern], names: Iterable[str], seen: dict[str, bool], used: set[int]) -> None:
    """Decide which names any pattern takes.

    Args:
        patterns: What is asked for.
        names: Names to decide on.
        seen: Decisions so far, filled for ``names``.
        used: Places of the patterns that took a name, filled.
    """
    exact = {pattern: i for i, pattern in enumerate(patterns) if isinstance(pattern, str)}
    compiled = [(i, matcher(pattern)) for i, pattern in enumerate(patterns) if is_glob(pattern)]
    for name in names:
        if name in seen:
            continue
        hits = {exact[name]} if name in exact else set()
        hits |= {i for i, expression in compiled if expression(name)}
        used |= hits
        seen[name] = bool(hits)
