"""Verbs on data: ls."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from dqmroot.cli.console import new_verb, print_json, print_table, say, told
from dqmroot.errors import InputError

if TYPE_CHECKING:
    from dqmroot.io.arrays import MEInfo

__all__ = ["add_verbs"]


def add_verbs(verbs: Any) -> None:
    """Add the verbs of this module to the parser."""
    ls = new_verb(verbs, "ls", _ls, "list the monitoring elements of files", "dqmroot ls dqmroot/data/demo.root")
    ls.add_argument("files", nargs="+", metavar="FILES", help="files, globs, @lists or root:// addresses")
    ls.add_argument("--me", action="append", metavar="PATTERN", help="only these: a name, a glob or /regex/")
    ls.add_argument("--json", action="store_true", help="for a machine, on stdout")


def _ls(args: argparse.Namespace) -> int:
    from dqmroot.io.formats import list_mes

    errors: list[InputError] = []
    found = list_mes(args.files, args.me, errors=errors)
    if errors and not found:
        raise errors[0]
    if args.json:
        print_json([_to_dict(me) for me in found])
    else:
        print_table(
            {
                "name": [me.name for me in found],
                "class": [me.storage for me in found],
                "bins": [" × ".join(str(axis.nbins) for axis in me.axes) or "-" for me in found],
                "LS": [me.n_ls for me in found],
                "runs": [_runs(me.runs) for me in found],
            }
        )
        say(args, f"{len(found)} monitoring elements")
    return told(args, errors)


def _to_dict(me: MEInfo) -> dict[str, Any]:
    return {
        "name": me.name,
        "class": me.storage,
        "bins": [axis.nbins for axis in me.axes],
        "axes": [axis.to_dict() for axis in me.axes],
        "title": me.title,
        "n_ls": me.n_ls,
        "runs": list(me.runs),
    }


def _runs(runs: Any) -> str:
    return ", ".join(map(str, runs[:3])) + (f", … ({len(runs)})" if len(runs) > 3 else "")
