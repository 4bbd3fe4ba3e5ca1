"""Verbs on data: ls, extract, inject."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from dqmroot.cli.console import (
    FILES_HELP,
    add_selection,
    new_verb,
    print_json,
    print_table,
    progress,
    say,
    selection,
    settings,
    told,
)
from dqmroot.errors import IncompleteError, InputError

if TYPE_CHECKING:
    from dqmroot.io.arrays import MEInfo

__all__ = ["add_verbs"]


def add_verbs(verbs: Any) -> None:
    """Add the verbs of this module to the parser."""
    ls = new_verb(verbs, "ls", _ls, "list the monitoring elements of files", "dqmroot ls demo.root")
    ls.add_argument("files", nargs="+", metavar="FILES", help=FILES_HELP)
    ls.add_argument("--me", action="append", metavar="PATTERN", help="only these: a name, a glob or re:regex")
    ls.add_argument("--json", action="store_true", help="for a machine, on stdout")

    extract = new_verb(
        verbs,
        "extract",
        _extract,
        "write monitoring elements over their lumisections to one file",
        "dqmroot extract demo.root --me 'Hcal/**' -o series.h5",
    )
    extract.add_argument("files", nargs="+", metavar="FILES", help=FILES_HELP)
    extract.add_argument(
        "--me", action="append", metavar="PATTERN", help="a name, a glob or re:regex; repeatable; all by default"
    )
    extract.add_argument("-o", "--output", required=True, metavar="OUT", help="series.h5, .parquet or .root")
    add_selection(extract)

    inject = new_verb(
        verbs,
        "inject",
        _inject,
        "put a fault into good lumisections, with truth and clean twin",
        "dqmroot inject demo.root --me 'Hcal/**' --fault dead --set size=[5,5] --runs 355100 -o faulty.h5",
    )
    inject.add_argument("files", nargs="+", metavar="FILES", help=FILES_HELP)
    inject.add_argument(
        "--me", action="append", required=True, metavar="PATTERN", help="a name, a glob or re:regex; repeatable"
    )
    inject.add_argument("--fault", required=True, metavar="NAME", help="dead, hot, degraded, noisy, shifted, …")
    inject.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="amount, where, size, place, first, last, …"
    )
    inject.add_argument("--seed", type=int, default=0, metavar="N")
    inject.add_argument("-o", "--output", required=True, metavar="OUT", help="series.h5")
    add_selection(inject)
    inject.add_argument("--json", action="store_true", help="the summary on stdout")


def _extract(args: argparse.Namespace) -> int:
    from dqmroot.io.extract import extract

    errors: list[InputError] = []
    with progress(args) as report:
        note = None if report is None else (lambda done, total: report("reading", done, total, ""))
        done = extract(args.files, args.me, args.output, note, errors=errors, **selection(args))
    say(args, f"{len(done.rows)} monitoring elements in {args.output}")
    for name in done.absent:
        print(f"dqmroot extract: in no file: {name}", file=sys.stderr)
    return told(args, errors) or (IncompleteError.exit_code if done.absent else 0)


def _inject(args: argparse.Namespace) -> int:
    from dqmroot.pipeline import inject_files

    parameters = {**settings(args.set), "seed": args.seed}
    with progress(args) as report:
        done = inject_files(
            args.files, args.me, args.output, args.fault, select=selection(args), report=report, **parameters
        )
    if args.json:
        print_json(done.summary)
    say(args, "{faulty} of {lumisections} LS are faulty now".format(**done.summary) + f": {args.output}")
    return 0


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
