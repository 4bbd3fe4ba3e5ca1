"""What the verbs share: options that come in groups, progress for a person, tables and JSON."""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dqmroot._version import __version__
from dqmroot.errors import IncompleteError, InputError, OutputError, UsageError

__all__ = [
    "FILES_HELP",
    "add_selection",
    "keep_log",
    "new_verb",
    "print_json",
    "print_table",
    "progress",
    "say",
    "selection",
    "settings",
    "told",
]

FILES_HELP = "files, globs, .txt lists of files, or root:// addresses"

_log = logging.getLogger("dqmroot")
# Silent where nobody asked: no handler of last resort on stderr.
_log.addHandler(logging.NullHandler())


def new_verb(
    verbs: Any, name: str, run: Callable[[argparse.Namespace], int], text: str, example: str
) -> argparse.ArgumentParser:
    """Add a verb with its help, an example that works as typed, and the options that every verb has."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors")
    parser.add_argument("--verbose", action="store_true", help="show tracebacks, and where time goes")
    parser.add_argument("--log", metavar="FILE", help="add to this file what is done, with times")
    return parser


def add_selection(parser: argparse.ArgumentParser, *, off: str = "keep only LS in it") -> None:
    """Add the options that choose lumisections; ``off`` says what becomes of LS in which the detector was off."""
    group = parser.add_argument_group("selection of lumisections")
    group.add_argument("--golden", metavar="JSON", help="golden JSON: keep only LS in it")
    group.add_argument("--dcs", metavar="JSON", help=f"DCS-only JSON: {off}")
    group.add_argument("--runs", metavar="A-B,C", help="runs, as numbers and ranges")
    group.add_argument("--lumis", metavar="A-B,C", help="lumisections, as numbers and ranges")


def selection(args: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_selection` parsed, as keywords of `dqmroot.read`."""
    return {
        "golden": args.golden,
        "dcs": args.dcs,
        "runs": None if args.runs is None else [n for a, b in _ranges(args.runs, "--runs") for n in range(a, b + 1)],
        "lumis": None if args.lumis is None else _ranges(args.lumis, "--lumis"),
    }


def _ranges(text: str, option: str) -> list[tuple[int, int]]:
    out = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        try:
            pair = (int(low), int(high if dash else low))
        except ValueError:
            raise UsageError(f"{option} {text!r}: expected numbers and ranges, such as 297050-297178,297281") from None
        if pair[0] > pair[1]:
            raise UsageError(f"{option} {text!r}: {part.strip()} runs backwards; did you mean {pair[1]}-{pair[0]}?")
        out.append(pair)
    return out


def settings(pairs: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """Read ``key=value`` texts; a value that is JSON is taken as such, anything else as text."""
    out: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"{option} {pair!r}: expected key=value")
        try:
            out[key.strip().replace("-", "_")] = json.loads(value)
        except ValueError:
            out[key.strip().replace("-", "_")] = value
    return out


def say(args: argparse.Namespace, text: str) -> None:
    """Tell a person something, on stderr, and the log."""
    _log.info("%s", text)
    if not args.quiet:
        print(text, file=sys.stderr)


def told(args: argparse.Namespace, errors: Sequence[InputError]) -> int:
    """Tell which inputs failed, and return the exit status: 0, or 4 where some did."""
    for error in errors:
        _log.warning("left out: %s", error)
        print(f"dqmroot {args.verb}: left out: {error}", file=sys.stderr)
    return IncompleteError.exit_code if errors else 0


@contextmanager
def keep_log(args: argparse.Namespace, words: Sequence[str]) -> Iterator[None]:
    """Write what is done into the file of ``--log`` while the block runs, and on stderr where ``--verbose`` asks for it.

    Raises:
        OutputError: The file cannot be written.
    """
    handlers: list[logging.Handler] = []
    if args.verbose:
        handlers.append(logging.StreamHandler())
    if args.log:
        try:
            Path(args.log).parent.mkdir(parents=True, exist_ok=True)
            handlers.append(logging.FileHandler(args.log, encoding="utf-8"))
        except OSError as error:
            raise OutputError(f"{args.log}: cannot be written: {error.strerror or error}") from error
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    _log.propagate = False
    begin = time.perf_counter()
    _log.info("dqmroot %s: %s", __version__, shlex.join(words))
    try:
        yield
    except BaseException as error:
        _log.error("%s: %s", type(error).__name__, error)
        raise
    finally:
        _log.info("%s ended after %.1f s", args.verb, time.perf_counter() - begin)
        for handler in handlers:
            _log.removeHandler(handler)
            handler.close()


def print_json(data: Any) -> None:
    """Print JSON on stdout, for a machine."""
    json.dump(data, sys.stdout, indent=1)
    sys.stdout.write("\n")


def print_table(columns: Mapping[str, Sequence[Any]], title: str = "") -> None:
    """Print a table on stdout: drawn for a terminal, separated by tabs for a pipe."""
    rows = list(zip(*columns.values(), strict=True))
    if not sys.stdout.isatty():
        print("\t".join(columns))
        for row in rows:
            print("\t".join(map(str, row)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, box=None, pad_edge=False)
    for name, values in columns.items():
        numeric = all(isinstance(value, int | float) for value in values)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row))
    Console().print(table)


@contextmanager
def progress(args: argparse.Namespace) -> Iterator[Callable[[str, int, int, str], None] | None]:
    """Give a function that shows progress on stderr where a person watches, and ``None`` elsewhere."""
    if args.quiet or not sys.stderr.isatty():
        yield _logged if args.log or args.verbose else None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int, note: str) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, note=note)
            bars.update(tasks[what], completed=done, total=total, note=note)
            _logged(what, done, total, note)

        yield report


def _logged(what: str, done: int, total: int, note: str) -> None:
    """Log the first and the last of many steps."""
    if done in {0, 1, total}:
        _log.info("%s %d/%d %s", what, done, total, note)
