"""Verbs that give the verdict: certify, publish, report, demo."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dqmroot.cli.console import FILES_HELP, add_selection, new_verb, print_json, progress, say, selection, told

__all__ = ["add_verbs"]

_FAIL_ON_BAD = 10


def add_verbs(verbs: Any) -> None:
    """Add the verbs of this module to the parser."""
    certify = new_verb(
        verbs,
        "certify",
        _certify,
        "judge every lumisection and write the certification, with one DQM GUI file per run",
        "dqmroot certify demo.root --model model --runs 355105 -o certification",
    )
    certify.add_argument("files", nargs="+", metavar="FILES", help=FILES_HELP)
    certify.add_argument("--model", required=True, metavar="MODEL", help="model folder")
    certify.add_argument("-o", "--output", required=True, metavar="OUT", help="output folder")
    certify.add_argument("--dataset", metavar="/PD/Era/Tier", help="dataset in the names of the DQM GUI files")
    certify.add_argument("--rule", default="any", metavar="RULE", help="how MEs combine: any, at_least_N, all, trained")
    add_selection(certify, off="LS that are not in it are listed as not judged, detector off")
    certify.add_argument(
        "--fail-on-bad", action="store_true", help=f"exit with {_FAIL_ON_BAD} when an LS is judged bad"
    )
    certify.add_argument("--json", action="store_true", help="the summary on stdout")

    publish = new_verb(
        verbs,
        "publish",
        _publish,
        "write the DQM GUI files of a certification again: under another dataset, or beside the originals",
        "dqmroot publish certification --dataset /ZeroBias/Run2024C-dqmroot-v1/DQMIO -o published",
    )
    publish.add_argument("certification", metavar="OUT", help="what certify wrote: its folder, or certification.json")
    publish.add_argument("--dataset", required=True, metavar="/PD/Era/Tier", help="dataset in the names of the files")
    publish.add_argument("-o", "--output", required=True, metavar="FOLDER", help="folder of the files")
    publish.add_argument(
        "--overlay",
        action="append",
        default=[],
        metavar="FILE",
        help="a DQM GUI file: write a copy of it with dqmroot's folder beside what it has (once per run)",
    )
    publish.add_argument("--json", action="store_true", help="what was written on stdout")

    report = new_verb(
        verbs, "report", _report, "make a report that a browser opens from disk", "dqmroot report certification"
    )
    report.add_argument("certification", metavar="OUT", help="what certify wrote: its folder, or certification.json")
    report.add_argument("-o", "--output", metavar="FOLDER", help="folder of the report (OUT/report)")
    report.add_argument("--title", default="", help="heading; by default the runs")
    report.add_argument("--conditions", metavar="FILE", help="quantities and DCS bits per LS: csv, parquet or JSON")
    report.add_argument("--dcs", metavar="JSON", help="DCS-only JSON, drawn in the time line")
    report.add_argument(
        "--jsroot",
        metavar="FILE",
        help="jsroot.min.js (of $ROOTSYS/js/build or npm): draw the ROOT objects in the page",
    )
    report.add_argument("--max-size", type=float, default=20.0, metavar="MB", help="leave out pictures beyond (20)")
    report.add_argument("--pictures", metavar="FOLDER", help="also draw every picture into a folder, in CMS style")
    report.add_argument("--format", choices=("png", "pdf"), default="png", help="of these pictures (png)")
    report.add_argument("--label", default="Private work", metavar="TEXT", help='beside "CMS" on these (Private work)')
    report.add_argument("--json", action="store_true", help="what was written on stdout")

    demo = new_verb(
        verbs, "demo", _demo, "run the whole job on the data that dqmroot carries", "dqmroot demo -o demo-output"
    )
    demo.add_argument("-o", "--output", default="demo-output", metavar="OUT", help="output folder (demo-output)")
    demo.add_argument(
        "--data", metavar="FOLDER", help="only write what the examples use: demo.root, labels, a campaign"
    )


def _certify(args: argparse.Namespace) -> int:
    from dqmroot.judgement import BAD
    from dqmroot.pipeline import DEFAULT_DATASET, certify_files

    with progress(args) as report:
        cert, done = certify_files(
            args.files,
            args.model,
            args.output,
            dataset=args.dataset or DEFAULT_DATASET,
            rule=args.rule,
            report=report,
            **selection(args),
        )
    if args.json:
        print_json(done.summary)
    say(args, f"{len(cert)} LS of {done.summary['runs']} runs: {counts(done.summary)}")
    say(args, f"certification in {args.output}")
    status = told(args, done.errors)
    if status == 0 and args.fail_on_bad and (cert.verdict == BAD).any():
        return _FAIL_ON_BAD
    return status


def _publish(args: argparse.Namespace) -> int:
    from dqmroot.certification import load_certification
    from dqmroot.publication import overlay, publish

    cert = load_certification(args.certification)
    if args.overlay:
        written = [overlay(cert, source, args.output, args.dataset) for source in args.overlay]
    else:
        written = publish(cert, args.output, args.dataset)
    if args.json:
        print_json({"files": [str(path) for path in written]})
    for path in written:
        say(args, f"wrote {path}")
    return 0


def _report(args: argparse.Namespace) -> int:
    from dqmroot.certification import load_certification
    from dqmroot.reports import draw_certification, gui_files, report

    given = Path(args.certification)
    folder = given if given.is_dir() else given.parent
    cert = load_certification(given)
    page = report(
        cert,
        args.output or folder / "report",
        title=args.title,
        conditions=args.conditions,
        dcs=args.dcs,
        root_files=gui_files(folder),
        jsroot=args.jsroot,
        most_mb=args.max_size,
    )
    pictures = []
    if args.pictures:
        with progress(args) as show:
            pictures = draw_certification(cert, args.pictures, kind=args.format, label=args.label, progress=show)
    if args.json:
        size = sum(file.stat().st_size for file in page.parent.rglob("*") if file.is_file())
        print_json({"report": str(page), "bytes": size, "pictures": [str(path) for path in pictures]})
    say(args, f"open {page}")
    if pictures:
        say(args, f"{len(pictures)} pictures in {args.pictures}")
    return 0


def _demo(args: argparse.Namespace) -> int:
    from dqmroot.demo import copy_data, run_demo

    if args.data is not None:
        for path in copy_data(Path(args.data)):
            say(args, f"wrote {path}")
        return 0
    with progress(args) as report:
        told_lines = run_demo(Path(args.output), report)
    for line in told_lines:
        say(args, line)
    return 0


def counts(summary: Any) -> str:
    """Return the verdicts in words."""
    return f"{summary['good']} good, {summary['bad']} bad, {summary['not judged']} not judged"
