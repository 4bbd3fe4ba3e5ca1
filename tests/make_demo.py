"""Make dqmroot/data/demo.root: a small nanoDQMIO file with two good runs and one with known faults, written by ROOT.

Run it as ``python tests/make_demo.py``. The contents are simulated to look like the real thing: an event-size spectrum of 102
values, an HCAL occupancy map whose counts are binomial in the number of events, and a profile of hits against η. What is wrong with
the third run, and where, is written beside it in demo.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import rootfiles
from numpy.typing import NDArray

DATA = Path(__file__).parents[1] / "dqmroot" / "data"
SIZE = "CSC/FEDIntegrity/FEDTotalEventSize"
MAP = "Hcal/DigiTask/Occupancy/depth/depth1"
HITS = "Tracking/TrackParameters/generalTracks/HitProperties/NumberOfRecHitsPerTrackVsEta"

GOOD_RUNS = {355100: 60, 355102: 60}
BAD_RUN = 355105
# What is wrong in the third run: ME, fault, first and last LS, and where in the histogram (0-based bins, y first).
FAULTS: list[dict[str, Any]] = [
    {
        "me": MAP,
        "fault": "dead",
        "lumi": [11, 20],
        "where": "ieta bins 30-34, iphi bins 20-24",
        "y": [20, 25],
        "x": [30, 35],
    },
    {"me": MAP, "fault": "hot", "lumi": [21, 30], "where": "ieta bin 55, iphi bin 40", "y": [40, 41], "x": [55, 56]},
    {"me": SIZE, "fault": "shifted", "lumi": [31, 40], "where": "whole spectrum, 8 % to larger sizes", "factor": 1.08},
]
BAD_LS = 50


def occupancy(rng: np.random.Generator) -> NDArray[np.float64]:
    """Probability per event that a cell is hit, (72 iphi, 84 ieta); 0 where there is no channel."""
    depth = np.abs(np.arange(84) - 41.5)
    profile = 0.18 + 0.35 * np.exp(-(((depth - 24) / 7.0) ** 2)) + 0.10 * (depth / 42) ** 2
    p = np.tile(profile, (72, 1)) * (1 + 0.06 * np.sin(np.arange(72) * 2 * np.pi / 18))[:, None]
    p *= rng.normal(1, 0.08, p.shape).clip(0.6, 1.4)
    # Forward towers have every second, the outermost every fourth iphi only.
    p[:, (depth > 20) & (depth <= 38)] *= (np.arange(72) % 2 == 0)[:, None]
    p[:, depth > 38] *= (np.arange(72) % 4 == 2)[:, None]
    p[rng.random(p.shape) < 0.003] = 0
    return np.clip(p, 0, 0.95)


def main() -> None:
    """Write demo.root and demo.json."""
    root = rootfiles.root()
    rng = np.random.default_rng(20240601)
    p = occupancy(rng)
    DATA.mkdir(exist_ok=True)
    with rootfiles.writer(DATA / "demo.root") as out:
        for run, n_ls in {**GOOD_RUNS, BAD_RUN: BAD_LS}.items():
            write_run(root, out, rng, p, run, n_ls)
    truth = {"good_runs": list(GOOD_RUNS), "bad_run": BAD_RUN, "faults": FAULTS}
    (DATA / "demo.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    print(f"{DATA / 'demo.root'}: {(DATA / 'demo.root').stat().st_size / 1e6:.2f} MB")


def write_run(root: Any, out: Any, rng: np.random.Generator, p: NDArray[np.float64], run: int, n_ls: int) -> None:
    """Simulate the lumisections of one run, whose gain differs a little from that of others."""
    gain = rng.normal(1, 0.004)
    for lumi in range(1, n_ls + 1):
        faults = [f for f in FAULTS if run == BAD_RUN and f["lumi"][0] <= lumi <= f["lumi"][1]]
        events = int(rng.integers(1500, 1700) * (1.15 if lumi > 25 else 1.0))
        size, map_, hits = histograms(root)
        scale = gain * np.prod([f["factor"] for f in faults if f["me"] == SIZE])
        for value in 20 + scale * rng.gamma(6.0, 5.0, 10 * events):
            size.Fill(value)
        cells = p.copy()
        for fault in faults:
            if fault["me"] == MAP:
                region = (slice(*fault["y"]), slice(*fault["x"]))
                cells[region] = 0 if fault["fault"] == "dead" else np.clip(2.5 * cells[region], 0, 1)
        counts = rng.binomial(events, cells)
        for iy, ix in np.argwhere(counts):
            map_.SetBinContent(int(ix) + 1, int(iy) + 1, float(counts[iy, ix]))
        map_.SetEntries(float(counts.sum()))
        eta = rng.uniform(-2.5, 2.5, 4000)
        for x, y in zip(eta, rng.normal(14 + 3 * np.cos(eta), 2.5), strict=True):
            hits.Fill(x, y)
        out.begin(run, lumi)
        for name, histogram in ((SIZE, size), (MAP, map_), (HITS, hits)):
            out.add(name, histogram)
        out.end()


def histograms(root: Any) -> tuple[Any, Any, Any]:
    """Book the three monitoring elements of one lumisection."""
    size = root.TH1F(SIZE.rsplit("/", 1)[1], "Event size;size (kB);events", 100, 0.0, 150.0)
    map_ = root.TH2F("depth1", "Digi occupancy, depth 1;ieta;iphi", 84, 0.0, 84.0, 72, 0.5, 72.5)
    # Tower 29 is there twice, in HE and in HF.
    for i, label in enumerate([*range(-41, -28), *range(-29, 0), *range(1, 30), *range(29, 42)]):
        map_.GetXaxis().SetBinLabel(i + 1, str(label))
    hits = root.TProfile(HITS.rsplit("/", 1)[1], "Hits per track;#eta;hits", 52, -2.6, 2.6)
    return size, map_, hits


if __name__ == "__main__":
    main()
