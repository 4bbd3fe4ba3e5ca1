"""Verbs on whole run periods and on what comes in: batch, watch."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from contextlib import nullcontext
from typing import Any

from dqmroot.cli.console import new_verb, print_json, print_table, progress, say
from dqmroot.errors import UsageError

__all__ = ["add_verbs"]


def add_verbs(verbs: Any) -> None:
    """Add the verbs of this module to the parser."""
    batch = new_verb(
        verbs,
        "batch",
        _batch,
        "do a whole campaign: train what is missing, score, certify and publish; run it again to do what is left",
        "dqmroot batch demo.toml --dry-run",
    )
    batch.add_argument(
        "campaign", metavar="CAMPAIGN", help="TOML file that describes it; docs/campaign.md tells its keys"
    )
    batch.add_argument("--dry-run", action="store_true", help="show the plan and do nothing")
    batch.add_argument("--workers", type=int, metavar="N", help="processes, or jobs of the site")
    where = batch.add_mutually_exclusive_group()
    where.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="a running Dask scheduler")
    where.add_argument("--slurm", action="store_true", help="workers are jobs of Slurm, as [slurm] says")
    where.add_argument("--htcondor", action="store_true", help="workers are jobs of HTCondor, as [htcondor] says")
    batch.add_argument("--job-script", action="store_true", help="print what one job is handed in as, and do nothing")
    batch.add_argument("--since", type=int, metavar="RUN", help="learn from this run on")
    batch.add_argument("--retrain", action="store_true", help="train models that are there, too")
    batch.add_argument("--json", action="store_true", help="the summary on stdout")

    watch = new_verb(
        verbs,
        "watch",
        _watch,
        "score each file as it lands, write verdicts, raise alarms; runs until it is stopped",
        "dqmroot watch . --pattern demo.root --model model -o online --alarm 3/5 --once",
    )
    watch.add_argument("folders", nargs="*", metavar="DIR", help="folders that are watched, with all below them")
    watch.add_argument("--config", metavar="TOML", help="settings from a file; options come before it (docs/watch.md)")
    watch.add_argument("--model", metavar="MODEL", help="model folder")
    watch.add_argument("-o", "--output", metavar="OUT", help="output folder, which also keeps the state")
    watch.add_argument("--pattern", metavar="GLOB", help="which files, by name (*.root)")
    watch.add_argument("--settle", type=float, metavar="S", help="a file is closed when unchanged for so long (0.5)")
    watch.add_argument("--parts", type=int, metavar="N", help="an LS is complete when so many files have it (1) …")
    watch.add_argument("--wait", type=float, metavar="S", help="… or so long after the first of them (60)")
    watch.add_argument("--idle", type=float, metavar="S", help="a run has ended when nothing came for so long (300)")
    watch.add_argument("--refresh", type=float, metavar="S", help="time between updates of a run's ROOT file (20)")
    watch.add_argument("--dataset", metavar="/PD/Era/Tier", help="dataset in the names of the DQM GUI files")
    watch.add_argument("--rule", metavar="RULE", help="how MEs combine: any, at_least_N, all")
    watch.add_argument("--alarm", metavar="N/M", help="alarm when N of the last M judged LS are bad")
    watch.add_argument("--command", metavar="PROGRAM", help="what an alarm runs, with JSON on its standard input")
    watch.add_argument("--url", metavar="URL", help="where an alarm is posted as JSON")
    watch.add_argument("--once", action="store_true", help="do what is there, and end")


def _watch(args: argparse.Namespace) -> int:
    from dqmroot.watch.watcher import watch

    watch(_watch_settings(args), once=args.once, say=lambda text: say(args, text))
    return 0


def _watch_settings(args: argparse.Namespace) -> Any:
    from dqmroot.config import Alarm, Watch, read_watch

    names = ("model", "output", "pattern", "settle", "parts", "wait", "idle", "refresh", "dataset", "rule")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.folders:
        given["folders"] = tuple(args.folders)
    if args.alarm is not None:
        n, slash, of = args.alarm.partition("/")
        if not (slash and n.isdigit() and of.isdigit()):
            raise UsageError(f"--alarm {args.alarm!r}: expected N/M, such as 3/5")
        command = tuple(shlex.split(args.command)) if args.command else ()
        given["alarm"] = (Alarm("alarm", int(n), int(of), command=command, url=args.url),)
    elif args.command or args.url:
        raise UsageError("--command and --url need --alarm N/M")
    if args.config is not None:
        return dataclasses.replace(read_watch(args.config), **given)
    for name, option in (("folders", "DIR"), ("model", "--model"), ("output", "-o")):
        if name not in given:
            raise UsageError(f"{option} is missing (or --config)")
    return Watch(**given)


def _batch(args: argparse.Namespace) -> int:
    from dqmroot.config import read_campaign

    if args.workers is not None and args.workers < 1:
        raise UsageError(f"--workers {args.workers}: at least 1")
    campaign = read_campaign(args.campaign)
    kind = "slurm" if args.slurm else "htcondor" if args.htcondor else "local"
    if args.since is not None and campaign.training is not None:
        campaign = dataclasses.replace(campaign, training=dataclasses.replace(campaign.training, since=args.since))
    changes = {"workers": args.workers, "scheduler": args.scheduler}
    changes = {key: value for key, value in changes.items() if value is not None}
    campaign = dataclasses.replace(campaign, resources=dataclasses.replace(campaign.resources, **changes))
    if kind != "local" and args.workers is not None:
        campaign = dataclasses.replace(
            campaign, **{kind: dataclasses.replace(getattr(campaign, kind), jobs=args.workers)}
        )
    if args.job_script:
        from dqmroot.batch.cluster import job_script

        print(job_script(campaign, "slurm" if kind == "local" else kind))
        return 0
    if args.dry_run:
        from dqmroot.batch.campaign import dry_run

        plan, told = dry_run(campaign)
        _show_plan(args, plan, told)
        return 4 if told.errors else 0
    told = _run(args, campaign, kind)
    if args.json:
        print_json(told.summary)
    for path, error in sorted(told.errors.items()):
        say(args, f"left out: {error}" if path in error else f"left out: {path}: {error}")
    for row in told.failures:
        say(args, f"not done: {row['step']} {row['what']}: {row['error']}")
    for me, error in sorted(told.refused):
        say(args, f"not judged: {error}" if me in error else f"not judged: {me}: {error}")
    outside = {row["run"] for row in told.runs for one in row["mes"] if one["outside_training"]}
    if outside:
        lie = "1 run lies" if len(outside) == 1 else f"{len(outside)} runs lie"
        say(args, f"{lie} outside the runs that their models learnt from: {_first(sorted(outside))}")
    for path, later in told.older:
        say(args, f"left out: {path}: there is a later version, {later}")
    line = "{lumisections} LS of {runs} runs: {good} good, {bad} bad, {not judged} not judged; {missing} missing"
    say(args, line.format(**told.summary) + f"; in {campaign.output.folder}")
    if told.status:
        say(args, f"not complete: {campaign.output.folder}/manifest.json tells what is missing")
    return int(told.status)


def _run(args: argparse.Namespace, campaign: Any, kind: str) -> Any:
    from dqmroot.batch.nursery import nursery

    local = kind == "local" and not campaign.resources.scheduler
    with nursery() if local else nullcontext():
        # What workers are forked from loads while this does.
        from dqmroot.batch.campaign import run_campaign

        with progress(args) as report:
            try:
                return run_campaign(
                    campaign, kind, retrain=args.retrain, report=report, say=lambda text: say(args, text)
                )
            except KeyboardInterrupt:
                say(args, "what is finished is kept: run the same command again to go on")
                raise


def _first(runs: list[int]) -> str:
    return ", ".join(map(str, runs[:5])) + (", …" if len(runs) > 5 else "")


def _show_plan(args: argparse.Namespace, plan: Any, told: Any) -> None:
    if args.json:
        print_json(
            {
                "files": [index.path for index in plan.files],
                "errors": dict(sorted(told.errors.items())),
                "copies": [list(pair) for pair in told.copies],
                "mes": list(plan.mes),
                "runs": list(plan.runs),
                "lumisections": plan.n_lumis,
                "pieces": [
                    {"runs": list(piece.runs), "lumisections": len(piece.keys), "files": list(piece.files)}
                    for piece in plan.pieces
                ],
            }
        )
        return
    print_table(
        {
            "piece": list(range(1, len(plan.pieces) + 1)),
            "runs": [", ".join(map(str, piece.runs)) for piece in plan.pieces],
            "LS": [len(piece.keys) for piece in plan.pieces],
            "files": [len(piece.files) for piece in plan.pieces],
        }
    )
    for path, other in told.copies:
        say(args, f"copy of {other}: {path}")
    for path, later in told.older:
        say(args, f"older version of {later}: {path}")
    for error in told.errors.values():
        say(args, f"cannot be read: {error}")
    say(args, f"{len(plan.files)} files, {plan.n_lumis} LS of {len(plan.runs)} runs, {len(plan.pieces)} pieces")
