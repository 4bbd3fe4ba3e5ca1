"""The detectors on real data: labelled pixel runs, each good run left out in turn, and HCAL maps with faults put into them.

    python benchmarks/real_data.py DATA

DATA holds ``nanodqmio/`` with nine runs of 2017B (charge of pixel layer 1), the csv of their labels, and run 306138 (ten LS
of HCAL occupancy maps). Settings are the detectors' own, unless the table names others.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from contestants import given

from dqmroot import inject, read
from dqmroot.detectors import detector
from dqmroot.evaluate import auc, auc_interval, false_rate_at
from dqmroot.labels import Labels
from dqmroot.series import MonitorElement

PIXEL = "PixelPhase1/Tracks/PXBarrel/chargeInner_PXLayer_1"
HCAL = "Hcal/DigiTask/Occupancy/depth/depth{}"
SPECTRA: list[tuple[str, str, dict[str, Any]]] = [
    ("profiled_spectrum", "profiled_spectrum", {}),
    ("… with the median instead of the peak", "profiled_spectrum", {"scale": "median"}),
    ("… with Hellinger's distance", "profiled_spectrum", {"distance": "hellinger"}),
    ("… with Pearson's χ²", "profiled_spectrum", {"distance": "pearson"}),
    ("… with a fixed scale", "profiled_spectrum", {"scale": "none"}),
    *((name, name, {}) for name in ("landau_fit", "nearest_template")),
    *((name, name, {}) for name in ("max_pull", "chi2", "beta_binomial", "moments", "kolmogorov")),
    *((name, name, {}) for name in ("nmf", "one_class_svm", "isolation_forest", "pca")),
    ("dense_autoencoder, 50 passes", "dense_autoencoder", {"epochs": 50}),
]
MAPS: list[tuple[str, dict[str, Any]]] = [
    ("profiled_map", {}),
    ("likelihood_scan", {}),
    ("poisson_autoencoder", {"epochs": 60, "batch_size": 4}),
    ("max_pull", {}),
    ("beta_binomial", {}),
    ("chi2", {}),
    ("z_score", {}),
    ("nearest_template", {"templates": 1}),
    ("pca", {}),
    ("zero_fraction", {}),
]
FAULTS: dict[str, dict[str, Any]] = {
    "dead 1x1": {"fault": "dead", "where": "channel"},
    "hot 1x1, twice": {"fault": "hot", "where": "channel", "amount": 2.0},
    "half 1x1": {"fault": "degraded", "where": "channel", "amount": 0.5},
    "dead 5x5": {"fault": "dead", "size": [5, 5]},
}


def pixel(folder: Path) -> str:
    """AUC / share of good LS flagged where 99 % of the bad ones are, each good run left out in turn."""
    me = read(sorted(map(str, folder.glob("nanoDQMIO_ZeroBias*.root"))), PIXEL)
    labels = Labels.from_csv(folder / "labels_ZeroBias_2017B.csv", "good_pixel")
    good = labels.look_up(me.run, me.lumi) == 1
    runs = np.unique(me.run[good])
    lines = [f"| detector | {' | '.join(map(str, runs))} |", "|---" * (len(runs) + 1) + "|"]
    for label, name, settings in SPECTRA:
        cells = []
        for run in runs:
            made = detector(name, **settings)
            x = given(made, me, 1.0)
            score = made.fit(x[good & (me.run != run)]).score(x)
            kept, bad = (score[rows & ~np.isnan(score)] for rows in (good & (me.run == run), ~good))
            cells.append(f"{auc(kept, bad):.3f} / {false_rate_at(kept, bad):.2f}")
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def faulty(me: MonitorElement, live: np.ndarray, fault: dict[str, Any], n: int, seed: int) -> MonitorElement:
    """Return ``n`` copies of each LS, each with a fault in live cells of its own."""
    rows = np.repeat(np.arange(len(me)), 2 * n)
    many = me[rows].replace(lumi=np.arange(1, len(rows) + 1))
    events = many.values().max(axis=(1, 2)) if fault["fault"] == "hot" else None
    made = inject(many, seed=seed, events=events, **fault)
    hit = np.flatnonzero((made.truth & live).any(axis=(1, 2)))[: n * len(me)]
    return made.series[hit]


def hcal(folder: Path, depth: int, n: int, seed: int) -> str:
    """AUC of LS with a fault against those without; each of the ten is left out of the training in turn."""
    me = read(str(folder / "nanoDQMIO_HCAL_2017_R000306138.root"), HCAL.format(depth))
    live = me.values().sum(axis=0) > 0
    lines = [f"| detector | {' | '.join(FAULTS)} |", "|---" * (len(FAULTS) + 1) + "|"]
    for name, settings in MAPS:
        scores: dict[str, list[np.ndarray]] = {kind: [] for kind in ["good", *FAULTS]}
        for i in range(len(me)):
            apart = np.arange(len(me)) == i
            made = detector(name, **settings)
            made.fit(given(made, me[~apart]))
            scores["good"].append(made.score(given(made, me[apart])))
            for kind, fault in FAULTS.items():
                scores[kind].append(made.score(given(made, faulty(me[apart], live, fault, n, seed + i))))
        good = np.concatenate(scores.pop("good"))
        cells = []
        for found in scores.values():
            bad = np.concatenate(found)
            area = auc(good, bad)
            cells.append(f"{area:.4f} [{auc_interval(area, len(good), len(bad))[0]:.2f}, 1]")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path, metavar="DATA")
    options.add_argument("--depth", type=int, default=1)
    options.add_argument("--copies", type=int, default=50, help="faulty copies of each of the ten LS, per fault")
    options.add_argument("--seed", type=int, default=1)
    args = options.parse_args()
    folder = args.data / "nanodqmio"
    print(f"Pixel layer 1, AUC / share of good LS flagged at 99 % detection:\n\n{pixel(folder)}\n")
    print(
        f"HCAL depth {args.depth}, {args.copies} copies of each LS:\n\n{hcal(folder, args.depth, args.copies, args.seed)}"
    )


if __name__ == "__main__":
    main()
