"""Verbs on whole run periods: batch."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from dqmroot.cli.console import new_verb, print_json, print_table, progress, say

__all__ = ["add_verbs"]


def add_verbs(verbs: Any) -> None:
    """Add the verbs of this module to the parser."""
    batch = new_verb(
        verbs,
        "batch",
        _batch,
        "do a whole campaign: train what is missing, score, certify and publish; run it again to do what is left",
        "dqmroot batch campaign.toml --dry-run",
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


def _batch(args: argparse.Namespace) -> int:
    from dqmroot.batch.campaign import dry_run, run_campaign
    from dqmroot.config import read_campaign

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
        plan, told = dry_run(campaign)
        _show_plan(args, plan, told)
        return 4 if told.errors else 0
    with progress(args) as report:
        told = run_campaign(campaign, kind, retrain=args.retrain, report=report, say=lambda text: say(args, text))
    if args.json:
        print_json(told.summary)
    for path, error in sorted(told.errors.items()):
        say(args, f"left out: {error}" if path in error else f"left out: {path}: {error}")
    for row in told.failures:
        say(args, f"not done: {row['step']} {row['what']}: {row['error']}")
    for me, error in sorted(told.refused):
        say(args, f"not judged: {error}" if me in error else f"not judged: {me}: {error}")
    line = "{lumisections} LS of {runs} runs: {good} good, {bad} bad, {not judged} not judged; {missing} missing"
    say(args, line.format(**told.summary) + f"; in {campaign.output.folder}")
    return told.status


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
    for error in told.errors.values():
        say(args, f"cannot be read: {error}")
    say(args, f"{len(plan.files)} files, {plan.n_lumis} LS of {len(plan.runs)} runs, {len(plan.pieces)} pieces")
