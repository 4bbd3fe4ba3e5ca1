"""Verbs that make and use models: train, score, evaluate."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Iterable
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
from dqmroot.errors import UsageError

if TYPE_CHECKING:
    from dqmroot.comparison import Comparison
    from dqmroot.evaluate import Evaluation

__all__ = ["add_verbs"]


def add_verbs(verbs: Any) -> None:
    """Add the verbs of this module to the parser."""
    train = new_verb(
        verbs,
        "train",
        _train,
        "train one model per monitoring element on good lumisections",
        "dqmroot train demo.root --me 'CSC/**' --runs 355100-355102 -o model",
    )
    train.add_argument("files", nargs="+", metavar="FILES", help=FILES_HELP)
    train.add_argument(
        "--me", action="append", required=True, metavar="PATTERN", help="a name, a glob or re:regex; repeatable"
    )
    train.add_argument("-o", "--output", required=True, metavar="MODEL", help="model folder")
    add_selection(train)
    train.add_argument(
        "--labels", metavar="CSV", help="table with run, lumi and a column of 1 good / 0 bad: keep the good LS"
    )
    train.add_argument("--label-column", default="good", metavar="NAME")
    train.add_argument(
        "--min-entries-per-bin", type=float, default=0.0, metavar="X", help="neither learn from nor judge LS with fewer"
    )
    train.add_argument(
        "--prepare", metavar="STEPS", help="such as 'rebin(2,2) normalise(integral)'; by default by the number of bins"
    )
    train.add_argument("--detector", default="dense_autoencoder", metavar="NAME")
    train.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the detector; repeatable"
    )
    train.add_argument(
        "--working-point",
        default="mean_sigma=3",
        metavar="METHOD=X",
        help="mean_sigma=3, median_mad=3, quantile=0.99, false_rate=1e-3; with bad LS also detection_rate=0.99, f1=0.01",
    )
    train.add_argument(
        "--inject",
        action="append",
        default=[],
        metavar="FAULT",
        help="a fault put into LS that are kept apart, to have bad ones: 'dead where=channel'; repeatable",
    )
    train.add_argument(
        "--combine", action="store_true", help="also train what joins all MEs, for certify --rule trained; needs bad LS"
    )
    train.add_argument("--seed", type=int, metavar="N", help="seed of the detector")
    train.add_argument(
        "--precision",
        choices=("float32", "mixed_float16", "mixed_bfloat16"),
        help="of a convolutional network; mixed ones are for GPUs",
    )
    train.add_argument("--require-gpu", action="store_true", help="fail where no GPU is seen")
    train.add_argument(
        "--checkpoint",
        metavar="FOLDER",
        help="keep the state of the training here; the same command goes on where it was",
    )
    train.add_argument("--json", action="store_true", help="describe the models on stdout")

    score = new_verb(
        verbs,
        "score",
        _score,
        "score lumisections with the models of a folder",
        "dqmroot score demo.root --model model -o scores.csv",
    )
    score.add_argument("files", nargs="+", metavar="FILES", help=FILES_HELP)
    score.add_argument("--model", required=True, metavar="MODEL", help="model folder")
    score.add_argument("-o", "--output", required=True, metavar="SCORES", help="scores.parquet, .csv or .h5")
    add_selection(score)
    score.add_argument("--json", action="store_true", help="the summary on stdout")

    evaluate = new_verb(
        verbs,
        "evaluate",
        _evaluate,
        "compare scores with labels",
        "dqmroot evaluate scores.csv --labels demo-labels.csv --label-column csc",
    )
    evaluate.add_argument("scores", metavar="SCORES")
    evaluate.add_argument(
        "--labels", required=True, metavar="CSV", help="table with run, lumi and a column of 1 good / 0 bad"
    )
    evaluate.add_argument("--label-column", default="good", metavar="NAME")
    evaluate.add_argument(
        "--kind-column", metavar="NAME", help="a column that names the kind of fault: figures for each (inject: kind)"
    )
    evaluate.add_argument(
        "--truth", metavar="OUT", help="what inject wrote: do the bins found overlap the faulty ones?"
    )
    evaluate.add_argument("--model", metavar="MODEL", help="model folder, for --truth")
    evaluate.add_argument(
        "--pictures", metavar="FOLDER", help="also draw ROC curves, distributions, confusion matrices"
    )
    evaluate.add_argument("--format", choices=("png", "pdf"), default="png", help="of these pictures (png)")
    evaluate.add_argument(
        "--label", default="Private work", metavar="TEXT", help='beside "CMS" on these (Private work)'
    )
    evaluate.add_argument("--json", action="store_true", help="for a machine, on stdout")


def _fault(text: str) -> dict[str, Any]:
    """Read ``dead where=channel`` as a fault that `dqmroot.inject` takes."""
    fault, *pairs = shlex.split(text) or [""]
    return {"fault": fault, **settings(pairs, f"--inject {fault}")}


def _train(args: argparse.Namespace) -> int:
    from dqmroot.pipeline import train_files

    parameters = settings(args.set)
    for key in ("seed", "precision"):
        if getattr(args, key) is not None:
            parameters[key] = getattr(args, key)
    if args.require_gpu:
        from dqmroot.detectors.training import require_gpu

        say(args, f"GPU: {require_gpu()}")
    with progress(args) as report:
        done = train_files(
            args.files,
            args.me,
            args.output,
            select=selection(args),
            labels=args.labels,
            label_column=args.label_column,
            min_entries_per_bin=args.min_entries_per_bin,
            prepare=args.prepare,
            detector_name=args.detector,
            parameters=parameters,
            working_point=args.working_point,
            faults=[_fault(text) for text in args.inject],
            combine=args.combine,
            checkpoint=args.checkpoint,
            report=report,
        )
    models = done.summary["models"]
    if args.json:
        print_json(models)
    for model in models:
        point, sample = model["working_point"], model["sample"]
        cut = f"cut {point['threshold']:.4g}" if point["threshold"] is not None else point["note"]
        say(args, f"{model['me']}: learnt from {sample['n']} LS of {len(sample['runs'])} runs; {cut}")
    say(args, f"models in {args.output}")
    return told(args, done.errors)


def _score(args: argparse.Namespace) -> int:
    from dqmroot.pipeline import score_files

    with progress(args) as report:
        done = score_files(args.files, args.model, args.output, report=report, **selection(args))
    if args.json:
        print_json(done.summary)
    say(args, "{rows} scores, {flagged} flagged, {not_judged} not judged".format(**done.summary) + f": {args.output}")
    return told(args, done.errors)


def _evaluate(args: argparse.Namespace) -> int:
    from dqmroot.comparison import compare_files

    if (args.truth is None) != (args.model is None):
        raise UsageError("evaluate: --truth and --model go together")
    found = compare_files(
        args.scores,
        args.labels,
        args.label_column,
        kind_column=args.kind_column,
        truth=args.truth,
        model=args.model,
    )
    if args.pictures:
        from dqmroot.io.tables.scores import read_scores
        from dqmroot.labels import Labels
        from dqmroot.reports import draw_evaluation

        known = Labels.from_csv(args.labels, args.label_column)
        pictures = draw_evaluation(
            read_scores(args.scores),
            known,
            args.pictures,
            calibrations={name: one.calibration for name, one in found.items()},
            kind=args.format,
            label=args.label,
        )
        say(args, f"{len(pictures)} pictures in {args.pictures}")
    if args.json:
        print_json({me: result.to_dict() for me, result in found.items()})
        return 0
    rows: list[tuple[str, str, Evaluation, Comparison | None]]
    rows = [(name, "", one.figures, one) for name, one in found.items()]
    rows += [(name, kind, each, None) for name, one in found.items() for kind, each in one.kinds.items()]
    columns: dict[str, list[object]] = {"ME": [name for name, *_ in rows]}
    if any(kind for _, kind, *_ in rows):
        columns["fault"] = [kind for _, kind, *_ in rows]
    figures = [each for _, _, each, _ in rows]
    columns |= {
        "good": [r.n_good for r in figures],
        "bad": [r.n_bad for r in figures],
        "AUC": [f"{r.auc:.4f} [{r.auc_low:.4f}, {r.auc_high:.4f}]" for r in figures],
        "good flagged at 99 %": [f"{r.false_rate_at_99:.4f}" for r in figures],
        "false of flagged": [f"{r.false_discovery_at_99:.4f} (of {r.prevalence:.2g} bad)" for r in figures],
        "good flagged": [f"{r.flagged_good:.4f}" for r in figures],
        "bad flagged": [f"{r.flagged_bad:.4f}" for r in figures],
        "accuracy": [f"{r.accuracy:.4f}" for r in figures],
    }
    if any(one.ls_to_detect for one in found.values()):
        columns["LS to detect"] = ["" if one is None else _middle(one.ls_to_detect.values()) for *_, one in rows]
    if any(one.overlap for one in found.values()):
        columns["overlap"] = [_overlap_of(found[name], kind) for name, kind, *_ in rows]
    print_table(columns)
    return 0


def _middle(numbers: Iterable[float]) -> str:
    """Return the median of how many LS faults took; never is more than any."""
    known = sorted(numbers)
    if not known:
        return ""
    middle = known[len(known) // 2]
    return "never" if math.isinf(middle) else f"{middle:g}"


def _overlap_of(one: Comparison, kind: str) -> str:
    shares = [one.overlap[kind]] if kind in one.overlap else [] if kind else list(one.overlap.values())
    return f"{sum(shares) / len(shares):.3f}" if shares else ""
