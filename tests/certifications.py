"""Certifications made by hand, for everything that publishes one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dqmroot.certification import Certification, combine
from dqmroot.examples import Examples, WorstLS, choose_examples
from dqmroot.judgement import BAD, GOOD, NOT_JUDGED, MEResult
from dqmroot.series import Axis

MAP, SHAPE, PROFILE = "Hcal/DigiTask/Occupancy/depth/depth1", "CSC/FEDIntegrity/FEDTotalEventSize", "Tracking/Mean"
IETA = tuple(str(i) for i in range(-12, 13) if i)
AXES = {
    "TH2F": (Axis(24, 0.0, 24.0, labels=IETA, title="ieta"), Axis(18, 0.5, 18.5, title="iphi")),
    "TH1F": (Axis(50, 0.0, 100.0, title="Event size [kB]"),),
    "TProfile": (Axis.variable([0.0, 1.0, 2.0, 5.0, 10.0, 20.0], title="pt"),),
}


def make_result(
    me: str, storage: str, run: np.ndarray, lumi: np.ndarray, seed: int = 1, threshold: float = 3.0
) -> MEResult:
    """One ME with bad LS 10 to 14 of each run and LS 5 not judged."""
    rng = np.random.default_rng(seed)
    axes = AXES[storage]
    shape = tuple(axis.nbins for axis in reversed(axes))
    score = rng.uniform(0.5, 1.5, len(run))
    score[(lumi >= 10) & (lumi < 15)] += 5.0
    score[lumi == 5] = np.nan
    flag = np.where(np.isnan(score), NOT_JUDGED, np.where(score > threshold, BAD, GOOD)).astype(np.int8)
    expected = np.broadcast_to(np.exp(-(np.linspace(-2.0, 2.0, shape[-1]) ** 2)), shape)
    worst, mean_loss, bad_fraction = {}, {}, {}
    for number in np.unique(run).tolist():
        original = rng.poisson(200 * expected).astype(np.float32)
        original[..., shape[-1] // 3 : shape[-1] // 2] = 0
        reconstruction = (expected / expected.sum()).astype(np.float32)
        loss = (original / original.sum() - reconstruction) ** 2
        at = int(np.nanargmax(np.where(run == number, score, np.nan)))
        worst[number] = WorstLS(int(lumi[at]), float(score[at]), original, reconstruction, loss)
        mean_loss[number] = rng.exponential(1e-6, shape)
        bad_fraction[number] = rng.uniform(0.0, 0.2, shape)
    return MEResult(
        me, storage, axes, run, lumi, score, flag, threshold, "mean + 3 sigma", 1e-3, mean_loss, bad_fraction, worst
    )


def make_certification(
    mes: Sequence[tuple[str, str]] = ((MAP, "TH2F"), (SHAPE, "TH1F"), (PROFILE, "TProfile")),
    runs: Sequence[int] = (297050, 297056),
    n_ls: int = 30,
) -> Certification:
    """Runs of ``n_ls`` LS each, from LS 3 on; bad where any ME is."""
    run = np.repeat(np.array(runs, np.uint32), n_ls)
    lumi = np.tile(np.arange(3, 3 + n_ls, dtype=np.uint32), len(runs))
    results = tuple(make_result(me, storage, run, lumi, seed) for seed, (me, storage) in enumerate(mes))
    flags = np.stack([result.flag for result in results])
    verdict = np.where((flags == BAD).any(0), BAD, np.where((flags == GOOD).any(0), GOOD, NOT_JUDGED)).astype(np.int8)
    reasons = tuple((f"{mes[0][0]}: score above threshold",) if v == BAD else () for v in verdict)
    return Certification(run, lumi, verdict, reasons, results)


def make_large(n_ls: int, n_mes: int, run: int = 355555) -> Certification:
    """One run as large as they come: every third ME a map of 84 x 72 bins, bad stretches here and there, some LS not judged."""
    rng = np.random.default_rng(1)
    lumi, runs = np.arange(1, n_ls + 1, dtype=np.uint32), np.full(n_ls, run, np.uint32)
    map_axes = (Axis(84, -42.0, 42.0, title="ieta"), Axis(72, 0.5, 72.5, title="iphi"))
    results = []
    for k in range(n_mes):
        axes = map_axes if k % 3 == 0 else AXES["TH1F"]
        shape = tuple(axis.nbins for axis in reversed(axes))
        score = rng.exponential(1.0, n_ls)
        score[100 * (k % 25) : 100 * (k % 25) + 20 + k % 7] += 10.0
        score[rng.integers(0, n_ls, n_ls // 150)] = np.nan
        flag = np.where(np.isnan(score), NOT_JUDGED, np.where(score > 9.0, BAD, GOOD)).astype(np.int8)
        rows = choose_examples(runs, score, flag, 10 if k % 3 == 0 else 100)
        original = rng.poisson(50, (len(rows), *shape)).astype(np.float32)
        expected = rng.normal(50.0, 0.5, original.shape).astype(np.float32)
        kept = Examples(runs[rows], lumi[rows], original, expected, (original - expected) ** 2)
        maps = {run: rng.exponential(1.0, shape)}, {run: rng.random(shape)}, {}, {run: np.full(shape, 50, np.float32)}
        name = f"Hcal/DigiTask/Occupancy/part{k // 10}/depth{k}"
        storage = "TH2F" if k % 3 == 0 else "TH1F"
        results.append(MEResult(name, storage, axes, runs, lumi, score, flag, 9.0, "", 1e-3, *maps, kept))
    return combine(results)
