"""What each detector can see: simulated HCAL maps with known faults, every detector beside the exact likelihood ratio.

    python benchmarks/detection.py                    the whole table; what is done already is not done again
    python benchmarks/detection.py --quick            one seed, small samples: a look
    python benchmarks/detection.py --only 1x1 --detectors 'likelihood_scan;max_pull'
    python benchmarks/detection.py --curves           detection rate against counts per cell and against remaining efficiency
    python benchmarks/detection.py --rare             false discovery rate of a single dead cell, one faulty map in a hundred
    python benchmarks/detection.py --print            the tables of what is done
    python benchmarks/detection.py --fill docs/detection.md      the same, put into the page

Results are kept as one JSON line per (seed, case, detector) in --out, networks that have learnt beside it. Detectors learn from
three good runs; cuts are found on a fourth; figures come from two more runs. Good, hot and dead maps of the test are different
lumisections, equally many. Real data: `real_data.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))
from contestants import CURVES, GOOD_ONLY, Gallery, curve_settings, given, oracle, series, supervised, tuned_scan
from detection_tables import fill, tables
from simulation import CASES, Case, Maps, break_maps, simulate

from dqmroot.combine import Combiner
from dqmroot.detectors import Detector
from dqmroot.detectors.likelihood import log_mean
from dqmroot.evaluate import auc, auc_interval, calibration, false_rate_at, overlap

Array = NDArray[Any]
Row = dict[str, Any]

# The rows of the table that have a goal come first.
ORDER = ("1x1", "5x5", "random 1-16", "readout box", "degraded", "strip", "5x5 fixed")
LASTS = 8  # LS that a lasting fault is watched for


class Setting:
    """The samples of one seed."""

    def __init__(self, seed: int, *, quick: bool, counts: float | None = None, n_test: int = 600) -> None:
        n = 60 if quick else 300
        self.seed = seed
        self.train = simulate(3, n, seed=seed, counts_per_cell=counts)
        self.valid = simulate(1, n, seed=seed, first_run=10, counts_per_cell=counts)
        self.test = simulate(2, 120 if quick else n_test, seed=seed, first_run=20, counts_per_cell=counts)

    def broken(self, case: Case, maps: Maps, seed: int) -> tuple[list[Maps], list[Array], list[Array]]:
        """Good, hot and dead thirds of a sample, other lumisections each; their counts, and which cells are faulty."""
        thirds = [maps[np.arange(i, len(maps), 3)] for i in range(3)]
        hot, hot_cells = break_maps(thirds[1], case, "hot", seed=seed)
        dead, dead_cells = break_maps(thirds[2], case, "dead", seed=seed)
        return thirds, [thirds[0].counts, hot, dead], [hot_cells, dead_cells]

    def lasting(self, case: Case) -> tuple[Maps, Array]:
        """Faults that last for `LASTS` LS, hot ones and dead ones one after another."""
        rows = np.arange(40 * LASTS) % len(self.test)
        maps = self.test[rows]
        half = len(maps) // 2
        hot, _ = break_maps(maps[np.arange(half)], case, "hot", seed=self.seed + 3000, lasting=LASTS)
        dead, _ = break_maps(maps[np.arange(half, len(maps))], case, "dead", seed=self.seed + 3000, lasting=LASTS)
        return maps, np.concatenate([hot, dead])


def best_cut(good: Array, bad: Array) -> float:
    """Return the cut with the best accuracy, both classes weighing half; in the middle of the gap, where there is one."""
    cuts = np.unique(np.concatenate([good, bad]))
    right = [(good <= c).mean() + (bad > c).mean() for c in cuts]
    best = int(np.argmax(right))
    return float(0.5 * (cuts[best] + cuts[min(best + 1, len(cuts) - 1)]))


def figures(label: str, valid: list[Array], test: list[Array]) -> tuple[Row, float]:
    """Figures of the scores of good, hot and dead maps, and the cut, which is the best one on the validation run."""
    good, bad = valid[0], np.concatenate(valid[1:])
    cut = best_cut(good, bad)
    tested_good, tested_bad = test[0], np.concatenate(test[1:])
    rate, area = false_rate_at(tested_good, tested_bad, 0.99), auc(tested_good, tested_bad)
    # Scores become probabilities on the validation run; whether these mean what they say is seen on the test runs.
    truth = np.r_[np.ones(len(good)), np.zeros(len(bad))]
    combiner = Combiner.train((label,), np.r_[good, bad][None], truth)
    tested = np.r_[np.ones(len(tested_good)), np.zeros(len(tested_bad))]
    low, high = auc_interval(area, len(tested_good), len(tested_bad))
    return {
        "auc": area,
        "auc_low": low,
        "auc_high": high,
        "auc_hot": auc(tested_good, test[1]),
        "auc_dead": auc(tested_good, test[2]),
        "accuracy2": 0.5 * float((tested_good <= cut).mean() + (tested_bad > cut).mean()),
        "false_rate_99": rate,
        "fdr_99_at_1_percent": 0.99 * rate / (0.99 * rate + 0.01 * 0.99) if rate else 0.0,
        "calibration": calibration(combiner.probability(np.r_[tested_good, tested_bad][None]), tested).error,
        "mean_good": float(tested_good.mean()),
        "mean_bad": float(tested_bad.mean()),
        "n_good": len(tested_good),
        "n_bad": len(tested_bad),
    }, cut


def classified(classes: list[Array]) -> Row:
    """Accuracy over three classes, each weighing a third, and the confusion matrix."""
    matrix = [np.bincount(found.astype(int), minlength=3).tolist() for found in classes]
    accuracy = float(np.mean([row[i] / sum(row) for i, row in enumerate(matrix)]))
    return {"accuracy3": accuracy, "confusion3": matrix}


def judge(
    made: Detector, counts: list[Array], parts: list[Maps], cut: float = 0.0
) -> tuple[list[Array], list[Array] | None]:
    """Return scores of good, hot and dead maps, and classes where the detector gives them."""
    scores, classes = [], []
    for maps, n in zip(parts, counts, strict=True):
        me = given(made, series(maps, n))
        score = made.score(me)
        scores.append(score[~np.isnan(score)])
        if hasattr(made, "probabilities"):
            classes.append(made.probabilities(me).argmax(axis=1))
        elif hasattr(made, "by_factor"):
            by_factor = made.by_factor(me)
            hot = np.array(made.parameters["factors"]) > 1
            pair = np.stack([log_mean(by_factor[:, hot]), log_mean(by_factor[:, ~hot])], axis=1)
            # Good up to the cut that the validation run gave; above it what is likelier.
            classes.append(np.where(score <= cut, 0, 1 + pair.argmax(axis=1)))
    return scores, classes or None


def located(
    made: Detector, valid: tuple[Maps, Array], parts: list[Maps], counts: list[Array], cells: list[Array]
) -> Row:
    """Mean intersection over union of the cells said to be bad and those that are, above what 99 % of good maps stay below."""
    if not made.localises:
        return {}
    peak = made.score_bins(given(made, series(*valid))).max(axis=(1, 2))
    cut = np.nanquantile(peak, 0.99)
    out = {}
    for kind, maps, n, truth in zip(("hot", "dead"), parts, counts, cells, strict=True):
        with np.errstate(invalid="ignore"):
            found = made.score_bins(given(made, series(maps, n))) > cut
        out[f"iou_{kind}"] = float(np.nan_to_num(overlap(truth, found)).mean())
    return out


def detected_after(flags: Array) -> Row:
    """How many LS lasting faults need until they are flagged, and the share that is not within `LASTS`."""
    table = flags.reshape(-1, LASTS)
    seen = table.any(axis=1)
    first = np.where(seen, table.argmax(axis=1) + 1, np.nan)
    return {"ls_to_detect": float(np.nanmean(first)) if seen.any() else None, "never": float((~seen).mean())}


def results(
    seed: int, cases: list[str], wanted: set[str] | None, done: set[str], gallery: Gallery, quick: bool
) -> Iterator[Row]:
    """Train and judge what is wanted and not done."""
    setting = Setting(seed, quick=quick)
    good = series(setting.train)
    for name in cases:
        case = CASES[name]
        entries = {"likelihood_scan, its case": tuned_scan(case), **GOOD_ONLY, **supervised(case)}
        left = [label for label in ["oracle", *entries] if f"{seed}/{name}/{label}/{quick}" not in done]
        left = [label for label in left if wanted is None or label in wanted]
        if not left:
            continue
        checks = setting.broken(case, setting.valid, seed + 1000)
        tests = setting.broken(case, setting.test, seed + 2000)
        lasting = setting.lasting(case)
        for label in left:
            start = time.time()
            if label == "oracle":
                pairs = [[oracle(m, n, case) for m, n in zip(*s[:2], strict=True)] for s in (checks, tests)]
                valid, test = ([log_mean(p) for p in pair] for pair in pairs)
                found, cut = figures(label, valid, test)
                found |= classified([np.c_[np.zeros(len(p)), p].argmax(axis=1) for p in pairs[1]])
                found |= detected_after(log_mean(oracle(*lasting, case)) > cut)
            else:
                own = f"{name} {quick}" if label not in GOOD_ONLY else f"{quick}"
                made = gallery.get(label, entries[label], good, seed, own)
                valid, _ = judge(made, checks[1], checks[0])
                cut = best_cut(valid[0], np.concatenate(valid[1:]))
                test, named = judge(made, tests[1], tests[0], cut)
                found, _ = figures(label, valid, test)
                found |= classified(named) if named else {}
                found |= located(made, (checks[0][0], checks[1][0]), tests[0][1:], tests[1][1:], tests[2])
                if not made.sequential:
                    found |= detected_after(made.score(given(made, series(*lasting))) > cut)
            head = {
                "key": f"{seed}/{name}/{label}/{quick}",
                "seed": seed,
                "case": name,
                "detector": label,
                "quick": quick,
            }
            yield {**head, "seconds": time.time() - start, **found}


COUNTS = (0.5, 1, 2, 5, 10, 20, 30, 40, 50, 70, 100, 200, 500)
HALF = (50, 100, 150, 200, 300, 500)
EFFICIENCIES = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
FEW = (10, 30, 50, 100, 500)  # counts where networks that take long are looked at
POINTS = [
    *(("counts", value, 0.0) for value in COUNTS),
    *(("efficiency", value, value) for value in EFFICIENCIES),
    *(("half", value, 0.5) for value in HALF),
]


def curves(
    seed: int, only: set[str] | None, wanted: set[str] | None, done: set[str], gallery: Gallery, quick: bool
) -> Iterator[Row]:
    """Detection rate at 1 % false rate: a dead and a half-lost cell against counts, a weak one against its efficiency."""
    networks = {label for label, (what, _) in CURVES.items() if what.endswith(("network", "autoencoder", "classifier"))}
    for kind, value, efficiency in POINTS:
        if only is not None and f"{kind} {value}" not in only:
            continue
        labels = [label for label in ["oracle", *CURVES] if wanted is None or label in wanted]
        labels = [label for label in labels if f"{seed}/{kind} {value}/{label}/{quick}" not in done]
        if kind == "half" or (kind == "counts" and value not in FEW):
            labels = [label for label in labels if label not in networks]
        if not labels:
            continue
        setting = Setting(seed, quick=quick, counts=value if kind != "efficiency" else None, n_test=500)
        case = Case(((1, 1),), dead=(efficiency,), hot=(2.0,))
        good, half = series(setting.train), len(setting.test) // 2
        clean, other = setting.test[np.arange(half) * 2], setting.test[np.arange(half) * 2 + 1]
        dead, _ = break_maps(other, case, "dead", seed=seed)
        pair = ((clean, clean.counts), (other, dead))
        for label in labels:
            if label == "oracle":
                scores = [oracle(m, n, case)[:, 1] for m, n in pair]
            else:
                entry = curve_settings(label, kind, efficiency)
                # Away from the case's own faults, good maps at the real statistics are those of the table.
                same = kind == "efficiency" and entry == GOOD_ONLY.get(label)
                sample = f"{quick}" if same else f"{kind} {value if kind != 'efficiency' else ''} {quick}"
                made = gallery.get(label, entry, good, seed, sample)
                scores = [made.score(given(made, series(m, n))) for m, n in pair]
            clean_scores, bad_scores = (np.nan_to_num(s, nan=-1e9) for s in scores)
            cut = np.quantile(clean_scores, 0.99)
            yield {
                "key": f"{seed}/{kind} {value}/{label}/{quick}", "seed": seed, "case": f"{kind} {value}",
                "detector": label, "quick": quick,
                "detected": float((bad_scores > cut).mean()), "auc": auc(clean_scores, bad_scores), "n_bad": len(bad_scores),
            }  # fmt: skip


def may_reach(made: Any, counts: Array, cut: float) -> Array:
    """Return the rows of maps whose score for one dead cell can reach ``cut`` at all; the others need not be scored.

    The score is the mean of the likelihood ratio over cells, so that some cell alone must reach the cut. A ratio reaches it when
    the cell counts no more than a number that follows from what is expected there; 5 % are left for the rate that floats.
    """
    known, least = made.occupancy_, 1e-4
    rate = 1.05 * counts.sum(axis=(1, 2), dtype=np.float64)[:, None]
    if known.saturation:
        p = np.clip(known.saturation * known.shape, 0, 1 - least)
        lost = np.log1p(p * (1 - least) / (1 - p))
        most = (rate / known.saturation * lost - cut * known.scatter) / (lost - np.log(least))
    else:
        most = (rate * known.shape - cut * known.scatter) / -np.log(least)
    return np.flatnonzero(((counts.reshape(len(counts), -1) <= most) & (known.shape > 0)).any(axis=1))


RARE = {"one LS at the real statistics": None, "sum of 8 LS of 20 counts per cell": 160.0}


def rare(seed: int, n_good: int, only: set[str] | None, done: set[str], gallery: Gallery, quick: bool) -> Iterator[Row]:
    """Many good maps, none like another, and single dead cells in others: how often is a false one above what 99 % of dead pass?

    The sum of eight LS of the same probabilities is one map with the events of all eight, and is drawn as such.
    """
    for name, counts in RARE.items():
        key = f"{seed}/rare {name}/{n_good}/{quick}"
        if key in done or (only is not None and name not in only):
            continue
        entry = ("likelihood_scan", {"shapes": [[1, 1]], "factors": [0.0]})
        made = gallery.get(
            "likelihood_scan", entry, series(simulate(3, 300, seed=seed, counts_per_cell=counts)), seed, name
        )
        faulty = simulate(1, 1000, seed=seed, first_run=30, counts_per_cell=counts)
        dead, _ = break_maps(faulty, CASES["1x1"], "dead", seed=seed)
        scores = np.sort(made.score(series(faulty, dead)))
        cut = scores[int(0.01 * len(scores))]
        above = seen = looked = 0
        for run in range(100, 100 + -(-n_good // 2000)):
            good = simulate(1, 2000, seed=seed, first_run=run, counts_per_cell=counts)
            rows = may_reach(made, good.counts, cut)
            seen, looked = seen + len(good), looked + len(rows)
            above += int((made.score(series(good[rows])) >= cut).sum()) if len(rows) else 0
        yield {
            "key": key, "seed": seed, "case": f"rare {name}", "detector": "likelihood_scan", "quick": quick, "good": seen,
            "false": above, "cut": float(cut), "scored": looked, "smallest_dead": float(scores[0]),
        }  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true")
    options.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    options.add_argument("--only", help="cases (of curves: points, such as 'counts 10'), separated by commas")
    options.add_argument("--detectors", help="names, separated by ;")
    options.add_argument("--curves", action="store_true")
    options.add_argument("--rare", type=int, nargs="?", const=100_000, metavar="GOOD_MAPS", help="for each seed")
    options.add_argument("--out", type=Path, default=Path("benchmarks/results/detection.jsonl"))
    options.add_argument("--print", action="store_true", help="print the tables of what is done")
    options.add_argument("--fill", type=Path, metavar="PAGE", help="put them into a page")
    args = options.parse_args()
    rows = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.is_file() else []
    done = {row["key"] for row in rows}
    gallery = Gallery(args.out.parent / "models")
    cases = args.only.split(",") if args.only else list(ORDER)
    chosen = set(cases) if args.only else None
    wanted = set(args.detectors.split(";")) if args.detectors else None
    for seed in [] if args.print or args.fill else args.seeds[: 1 if args.quick else None]:
        if args.rare:
            made = rare(seed, 2000 if args.quick else args.rare, chosen, done, gallery, args.quick)
        elif args.curves:
            made = curves(seed, chosen, wanted, done, gallery, args.quick)
        else:
            made = results(seed, cases, wanted, done, gallery, args.quick)
        for row in made:
            rows.append(row)
            args.out.parent.mkdir(parents=True, exist_ok=True)
            with args.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            short = {key: round(v, 5) if isinstance(v, float) else v for key, v in row.items()}
            print(json.dumps(short), file=sys.stderr, flush=True)
    told = [row for row in rows if row["quick"] == args.quick]
    if args.fill:
        fill(args.fill, told)
    else:
        print(tables(told))


if __name__ == "__main__":
    main()
