"""What each detector can see: simulated HCAL maps with known faults, every detector beside the exact likelihood ratio.

    python benchmarks/detection.py                    the whole table and the curves; what is done already is not done again
    python benchmarks/detection.py --quick            one seed, small samples: a look
    python benchmarks/detection.py --only 1x1 --detectors likelihood_scan,max_pull
    python benchmarks/detection.py --curves           detection rate against counts per cell and against remaining efficiency
    python benchmarks/detection.py --rare             false discovery rate of a single dead cell, one faulty map in a hundred

Results are kept as one JSON line per (seed, case, detector) in --out and printed as tables. Detectors learn from three good runs;
cuts are found on a fourth; figures come from two more runs. Good, hot and dead maps of the test are different lumisections, equally
many.
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
from simulation import CASES, Case, Maps, break_maps, simulate

from dqmroot.detectors import Detector, detector
from dqmroot.detectors.likelihood import log_mean, log_ratio, scan
from dqmroot.evaluate import auc, false_rate_at
from dqmroot.series import Axis, MonitorElement

Array = NDArray[Any]

GOOD_ONLY: dict[str, tuple[str, dict[str, Any]]] = {
    "zero_fraction": ("zero_fraction", {}),
    "z_score": ("z_score", {}),
    "chi2": ("chi2", {}),
    "max_pull": ("max_pull", {}),
    "beta_binomial": ("beta_binomial", {}),
    "moments": ("moments", {}),
    "pca": ("pca", {}),
    "nmf": ("nmf", {}),
    "isolation_forest": ("isolation_forest", {}),
    "one_class_svm": ("one_class_svm", {}),
    "drifting_reference": ("drifting_reference", {}),
    "forecaster": ("forecaster", {}),
    "spatial(pca)": ("spatial", {"detector": "pca"}),
    "profiled_map": ("profiled_map", {}),
    "likelihood_scan": ("likelihood_scan", {}),
    "poisson_autoencoder": ("poisson_autoencoder", {"epochs": 60}),
    "conv_autoencoder": ("conv_autoencoder", {"epochs": 12, "learning_rate": 3e-3}),
    "conv_autoencoder, squared": ("conv_autoencoder", {"epochs": 12, "learning_rate": 3e-3, "distance": "squared"}),
}
SLOW = {"conv_autoencoder", "conv_autoencoder, squared"}


def series(maps: Maps, counts: Array | None = None) -> MonitorElement:
    """Return maps as dqmroot reads them."""
    contents = maps.counts if counts is None else counts
    _, height, width = contents.shape
    lumi = np.concatenate([np.arange(1, (maps.run == run).sum() + 1) for run in np.unique(maps.run)])
    return MonitorElement(
        "Hcal/DigiTask/Occupancy/depth/depth1", "TH2F", (Axis(width, 0, width), Axis(height, 0, height)), maps.run, lumi,
        contents.sum(axis=(1, 2), dtype=np.float64), np.pad(contents, [(0, 0), (1, 1), (1, 1)]),
    )  # fmt: skip


def given(made: Detector, me: MonitorElement) -> MonitorElement:
    """Divide by the sum what a detector of normalised histograms takes."""
    inner = getattr(made, "inner_", made)
    if inner.input == "counts":
        return me
    total = me.values().sum(axis=(1, 2), dtype=np.float64)[:, None, None]
    return me.replace(contents=(me.contents / total * 1000).astype(np.float32))


def supervised(case: Case) -> dict[str, tuple[str, dict[str, Any]]]:
    """The networks that learn the faults of a case; `dqmroot.inject` makes them, x first."""

    def place(h: int, w: int) -> dict[str, Any]:
        return {"size": [w, h]}

    if len(case.shapes) > 8:
        where: list[dict[str, Any]] = [{"where": "random_size"}]
    elif case.step != (1, 1):
        where = [{"where": "box"}]
    else:
        where = [place(h, w) for h, w in case.shapes]
        if case.place is not None:
            where[0]["place"] = [case.place[1], case.place[0]]
    dead = {"fault": "dead"} if case.dead == (0.0,) else {"fault": "degraded", "amount": list(case.dead)}
    faults = [{**kind, **at} for kind in ({"fault": "hot", "amount": list(case.hot)}, dead) for at in where]
    windows = (
        [[1, 1]]
        if case.shapes == ((1, 1),)
        else [[1, 1], [3, 3], [5, 5], [4, 16]]
        if len(case.shapes) > 8 or case.step != (1, 1)
        else [list(shape) for shape in case.shapes]
    )
    return {
        "significance_network": (
            "significance_network",
            {"faults": faults, "windows": windows, "epochs": 60, "batch_size": 32, "learning_rate": 1e-2},
        ),
        "cnn strided 8-8": (
            "cnn_classifier",
            {"layout": "strided", "faults": faults, "epochs": 40, "learning_rate": 3e-3},
        ),
        "cnn pooled 10-8-8": (
            "cnn_classifier",
            {"layout": "pooled", "faults": faults, "epochs": 40, "learning_rate": 3e-3},
        ),
        "cnn normalised 10-8-8": (
            "cnn_classifier",
            {"layout": "normalised", "faults": faults, "epochs": 40, "learning_rate": 3e-3},
        ),
    }


def oracle(maps: Maps, counts: Array, case: Case) -> Array:
    """Return ln of the likelihood ratio to good of hot and of dead, ``(n_ls, 2)``, that knows the true map and the case's prior."""
    live = maps.p[0] > 0
    out = []
    for i in range(0, len(maps), 50):
        rows = slice(i, i + 50)
        n, events = counts[rows].astype(np.float64), maps.events[rows, None, None]
        expected = maps.p[rows] * events
        pair = []
        for factors in (case.hot, case.dead):
            ratios = (log_ratio(n, expected, factor, events) for factor in factors)
            if case.place is None:
                pair.append(log_mean(np.stack([scan(r, case.shapes, live, case.step) for r in ratios], axis=1)))
            else:
                (h, w), (y, x) = case.shapes[0], case.place
                pair.append(log_mean(np.stack([r[:, y : y + h, x : x + w].sum(axis=(1, 2)) for r in ratios], axis=1)))
        out.append(np.stack(pair, axis=1))
    return np.concatenate(out)


class Setting:
    """The samples of one seed."""

    def __init__(self, seed: int, *, quick: bool, counts: float | None = None) -> None:
        n = 60 if quick else 300
        self.seed = seed
        self.train = simulate(3, n, seed=seed, counts_per_cell=counts)
        self.valid = simulate(1, n, seed=seed, first_run=10, counts_per_cell=counts)
        self.test = simulate(2, 2 * n, seed=seed, first_run=20, counts_per_cell=counts)

    def broken(self, case: Case, maps: Maps, seed: int) -> tuple[list[Maps], list[Array]]:
        """Good, hot and dead thirds of a sample: other lumisections each."""
        thirds = [maps[np.arange(i, len(maps), 3)] for i in range(3)]
        hot, _ = break_maps(thirds[1], case, "hot", seed=seed)
        dead, _ = break_maps(thirds[2], case, "dead", seed=seed)
        return thirds, [thirds[0].counts, hot, dead]


def figures(valid: list[Array], test: list[Array]) -> dict[str, float]:
    """Figures of scores of good, hot and dead maps; the cut is the best one on the validation run."""
    good, bad = valid[0], np.concatenate(valid[1:])
    cuts = np.unique(np.concatenate([good, bad]))
    right = [(good <= c).mean() + (bad > c).mean() for c in cuts]
    best = int(np.argmax(right))
    # In the middle of the gap, where there is one.
    cut = 0.5 * (cuts[best] + cuts[min(best + 1, len(cuts) - 1)])
    tested_good, tested_bad = test[0], np.concatenate(test[1:])
    rate = false_rate_at(tested_good, tested_bad, 0.99)
    return {
        "auc": auc(tested_good, tested_bad),
        "auc_hot": auc(tested_good, test[1]),
        "auc_dead": auc(tested_good, test[2]),
        "accuracy2": 0.5 * float((tested_good <= cut).mean() + (tested_bad > cut).mean()),
        "false_rate_99": rate,
        "fdr_99_at_1_percent": 0.99 * rate / (0.99 * rate + 0.01 * 0.99) if rate else 0.0,
        "n_good": len(tested_good),
        "n_bad": len(tested_bad),
    }


def classified(classes: list[Array]) -> dict[str, float]:
    """Accuracy over three classes, each weighing a third."""
    return {"accuracy3": float(np.mean([(found == i).mean() for i, found in enumerate(classes)]))}


def judge(made: Detector, parts: list[Maps], counts: list[Array]) -> tuple[list[Array], list[Array] | None]:
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
            pair = np.stack([np.zeros(len(n)), log_mean(by_factor[:, hot]), log_mean(by_factor[:, ~hot])], axis=1)
            classes.append(pair.argmax(axis=1))
    return scores, classes or None


def results(
    seed: int, cases: list[str], wanted: set[str] | None, done: set[str], *, quick: bool
) -> Iterator[dict[str, Any]]:
    """Train and judge what is wanted and not done."""
    setting = Setting(seed, quick=quick)
    good = series(setting.train)
    fitted: dict[str, Detector] = {}
    for name in cases:
        case = CASES[name]
        checks = setting.broken(case, setting.valid, seed=seed + 1000)
        tests = setting.broken(case, setting.test, seed=seed + 2000)
        shapes = case.shapes if len(case.shapes) < 9 else [(h, w) for h in (1, 2, 4, 8, 14) for w in (1, 2, 4, 8, 14)]
        own = {"shapes": [list(shape) for shape in shapes], "factors": [*case.dead, *case.hot]}
        matched = {f"likelihood_scan, its case|{name}": ("likelihood_scan", own)}
        entries = {**GOOD_ONLY, **matched, **supervised(case)}
        for entry in ["oracle", *entries]:
            label = entry.split("|")[0]
            key = f"{seed}/{name}/{label}/{quick}"
            if key in done or (wanted is not None and label not in wanted):
                continue
            start = time.time()
            if label == "oracle":
                pairs = [[oracle(m, n, case) for m, n in zip(*sample, strict=True)] for sample in (checks, tests)]
                valid, test = ([log_mean(p) for p in pair] for pair in pairs)
                classes = [np.concatenate([np.zeros((len(p), 1)), p], axis=1).argmax(axis=1) for p in pairs[1]]
                found = {**figures(valid, test), **classified(classes)}
            else:
                made = _once(fitted, entry, *entries[entry], good, seed, keep=entry in GOOD_ONLY)
                valid, _ = judge(made, *checks)
                test, named = judge(made, *tests)
                found = {**figures(valid, test), **(classified(named) if named else {})}
            yield {
                "key": key,
                "seed": seed,
                "case": name,
                "detector": label,
                "quick": quick,
                "seconds": time.time() - start,
                **found,
            }


def _fit(what: str, settings: dict[str, Any], good: MonitorElement, seed: int) -> Detector:
    more = (
        {"seed": seed}
        if what in {"significance_network", "cnn_classifier", "conv_autoencoder", "poisson_autoencoder"}
        else {}
    )
    made = detector(what, **settings, **more)
    return made.fit(given(made, good))


def _once(
    fitted: dict[str, Detector],
    entry: str,
    what: str,
    settings: dict[str, Any],
    good: MonitorElement,
    seed: int,
    *,
    keep: bool,
) -> Detector:
    """Fit a detector that knows nothing of the case only once."""
    if entry in fitted:
        return fitted[entry]
    made = _fit(what, settings, good, seed)
    if keep:
        fitted[entry] = made
    return made


COUNTS = (0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100, 200, 500)
EFFICIENCIES = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
NET = {"faults": [{"fault": "dead", "where": "channel"}], "epochs": 60, "batch_size": 32, "learning_rate": 1e-2}
CURVES: dict[str, tuple[str, dict[str, Any]]] = {
    "likelihood_scan, its case": ("likelihood_scan", {"shapes": [[1, 1]], "factors": [0.0]}),
    "likelihood_scan": ("likelihood_scan", {}),
    "profiled_map": ("profiled_map", {"windows": [1]}),
    "significance_network": ("significance_network", {"classes": 2, **NET}),
    "max_pull": ("max_pull", {}),
    "z_score": ("z_score", {}),
    "pca": ("pca", {}),
}  # fmt: skip


def curves(seed: int, only: set[str] | None, done: set[str], *, quick: bool) -> Iterator[dict[str, Any]]:
    """Detection rate at 1 % false rate of one dead cell against counts, and of one weak cell against its efficiency."""
    points = [("counts", c, 0.0) for c in COUNTS] + [("efficiency", e, e) for e in EFFICIENCIES]
    for kind, value, efficiency in points:
        case = Case(((1, 1),), dead=(efficiency,), hot=(2.0,))
        labels = [label for label in ["oracle", *CURVES] if only is None or label in only]
        wanted = {label for label in labels if f"{seed}/{kind} {value}/{label}/{quick}" not in done}
        if not wanted:
            continue
        setting = Setting(seed, quick=quick, counts=value if kind == "counts" else None)
        good = series(setting.train)
        half = len(setting.test) // 2
        clean, other = setting.test[np.arange(half) * 2], setting.test[np.arange(half) * 2 + 1]
        dead, _ = break_maps(other, case, "dead", seed=seed)
        for label in ["oracle", *CURVES]:
            if label not in wanted:
                continue
            if label == "oracle":
                scores = [oracle(m, n, case)[:, 1] for m, n in ((clean, clean.counts), (other, dead))]
            else:
                what, settings = CURVES[label]
                if label.endswith("its case"):
                    settings = {**settings, "factors": [efficiency]}
                if what == "significance_network" and efficiency:
                    fault = {"fault": "degraded", "amount": efficiency, "where": "channel"}
                    settings = {**settings, "faults": [fault]}
                made = _fit(what, settings, good, seed)
                scores = [made.score(given(made, series(m, n))) for m, n in ((clean, clean.counts), (other, dead))]
            clean_scores, bad_scores = (np.nan_to_num(s, nan=-1e9) for s in scores)
            cut = np.quantile(clean_scores, 0.99)
            yield {
                "key": f"{seed}/{kind} {value}/{label}/{quick}", "seed": seed, "case": f"{kind} {value}",
                "detector": label, "quick": quick,
                "detected": float((bad_scores > cut).mean()), "auc": auc(clean_scores, bad_scores), "n_bad": len(bad_scores),
            }  # fmt: skip


def rare(seed: int, n_good: int) -> dict[str, Any]:
    """Many good maps, none like another, and single dead cells in others: how often is a false one above what 99 % of dead pass?"""
    made = _fit("likelihood_scan", {"shapes": [[1, 1]], "factors": [0.0]}, series(simulate(3, 300, seed=seed)), seed)
    faulty = simulate(1, 1000, seed=seed, first_run=30)
    dead, _ = break_maps(faulty, CASES["1x1"], "dead", seed=seed)
    scores = np.sort(made.score(series(faulty, dead)))
    cut = scores[int(0.01 * len(scores))]
    above, seen, worst = 0, 0, -np.inf
    for run in range(100, 100 + -(-n_good // 2000)):
        good = made.score(series(simulate(1, 2000, seed=seed, first_run=run)))
        above, seen, worst = above + int((good >= cut).sum()), seen + len(good), max(worst, float(good.max()))
    # 95 % upper limit of a Poisson mean where none is seen is 3.0.
    limit = (3.0 if above == 0 else above + 1.64 * np.sqrt(above) + 1.35) / seen
    fdr = 0.99 * limit / (0.99 * limit + 0.01 * 0.99)
    return {
        "key": f"{seed}/rare/likelihood_scan/{n_good}", "seed": seed, "case": "rare", "detector": "likelihood_scan", "good": seen,
        "false": above, "fdr_limit": fdr, "cut": float(cut), "largest_good": worst, "smallest_dead": float(scores[0]),
    }  # fmt: skip


def table(rows: list[dict[str, Any]], figure: str) -> str:
    """Return a Markdown table of mean ± spread over seeds, detectors below each other, cases side by side."""
    cases = list(dict.fromkeys(row["case"] for row in rows))
    lines = ["| detector | " + " | ".join(cases) + " |", "|---" * (len(cases) + 1) + "|"]
    for label in dict.fromkeys(row["detector"] for row in rows):
        cells = []
        for case in cases:
            values = [row[figure] for row in rows if row["case"] == case and row["detector"] == label and figure in row]
            spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.4f}{spread}" if values else "")
        if any(cells):
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def needed(rows: list[dict[str, Any]], detection: float = 0.99) -> str:
    """Return the mean counts per cell at which each detector sees a dead cell in 99 % of maps, beside the oracle's."""
    out, reference = [], np.nan
    for label in dict.fromkeys(row["detector"] for row in rows):
        points = sorted(
            (float(row["case"].split()[1]), row["detected"])
            for row in rows
            if row["detector"] == label and row["case"].startswith("counts")
        )
        counts = np.unique([p[0] for p in points])
        rates = np.array([np.mean([r for c, r in points if c == count]) for count in counts])
        above = np.flatnonzero(rates >= detection)
        at = np.nan
        if len(above) and above[0] > 0:
            i = above[0]
            at = np.exp(np.interp(detection, rates[i - 1 : i + 1], np.log(counts[i - 1 : i + 1])))
        reference = at if label == "oracle" else reference
        out.append(f"| {label} | {at:.1f} | {at / reference:.2f} |")
    return "\n".join(["| detector | counts per cell | ÷ oracle |", "|---|---|---|", *out])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true")
    options.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options.add_argument("--only", help="cases, separated by commas")
    options.add_argument("--detectors", help="names, separated by ;")
    options.add_argument("--curves", action="store_true")
    options.add_argument("--rare", type=int, nargs="?", const=300_000, metavar="GOOD_MAPS")
    options.add_argument("--out", type=Path, default=Path("benchmarks/results/detection.jsonl"))
    options.add_argument("--print", action="store_true", help="print the tables of what is done")
    args = options.parse_args()
    rows = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.is_file() else []
    done = {row["key"] for row in rows}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    cases = args.only.split(",") if args.only else list(CASES)
    wanted = set(args.detectors.split(";")) if args.detectors else None
    for seed in [] if args.print else args.seeds[: 1 if args.quick else None]:
        if args.rare:
            made: Iterator[dict[str, Any]] = iter([rare(seed, args.rare)])
        elif args.curves:
            made = curves(seed, wanted, done, quick=args.quick)
        else:
            made = results(seed, cases, wanted, done, quick=args.quick)
        for row in made:
            rows.append(row)
            with args.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(
                json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}),
                file=sys.stderr,
                flush=True,
            )
    shown = [row for row in rows if row.get("quick", False) == args.quick]
    plain = [row for row in shown if row["case"] in CASES]
    for figure in ("accuracy3", "accuracy2", "auc", "false_rate_99"):
        print(f"\n## {figure}\n\n{table(plain, figure)}")
    lines = [row for row in shown if row["case"].split()[0] in {"counts", "efficiency"}]
    if lines:
        print(f"\n## detected at 1 % false rate, one dead cell\n\n{table(lines, 'detected')}")
        print(f"\n## statistics needed\n\n{needed(lines)}")
    for row in rows:
        if row["case"] == "rare":
            print(
                f"\nseed {row['seed']}: {row['false']} false in {row['good']} good maps; at 99 % detection and one faulty map in"
            )
            print(f"a hundred the share of false alarms is below {row['fdr_limit']:.2g}")


if __name__ == "__main__":
    main()
