"""Simulated HCAL occupancy maps that look like the real ones of one layer, with faults that change probabilities, not pictures.

A cell fires with a probability p in each event of a lumisection, so that counts are binomial. The profile of p in ieta, its
texture from cell to cell, the holes, the number of events and its step are those of ten real lumisections of DigiTask occupancy,
depth 1. The forward towers (ieta bins 30 and more from the middle) fire in every event. How runs differ is not known from one run:
a tilt of 1 % is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CASES", "CUT", "Case", "Maps", "break_maps", "detector_map", "simulate"]

PHI, ETA = 72, 84
CUT = slice(26, 58)  # the 32 ieta rows in the middle that the first study used

# Mean and standard deviation of p over the live cells of an ieta row, by its distance from the middle.
MEAN = [
    *(
        0.36,
        0.33,
        0.32,
        0.35,
        0.35,
        0.33,
        0.33,
        0.36,
        0.36,
        0.42,
        0.43,
        0.42,
        0.49,
        0.51,
        0.65,
        0.39,
        0.13,
        0.28,
        0.26,
        0.30,
    ),
    *(0.49, 0.61, 0.68, 0.81, 0.88, 0.94, 0.86, 0.91, 0.77),
    *([1.0] * 13),
]
SPREAD = [
    *(
        0.14,
        0.15,
        0.15,
        0.14,
        0.15,
        0.14,
        0.14,
        0.15,
        0.14,
        0.15,
        0.14,
        0.15,
        0.15,
        0.13,
        0.13,
        0.15,
        0.04,
        0.08,
        0.12,
        0.12,
    ),
    *(0.13, 0.12, 0.13, 0.10, 0.10, 0.06, 0.11, 0.09, 0.17),
    *([0.0] * 13),
]
EVENTS, STEP, JITTER = 1370.0, 1.41, 0.022

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Maps:
    """Lumisections.

    Args:
        counts: ``(n_ls, 72, n_eta)`` float32.
        p: ``(n_ls, 72, n_eta)`` float32, true probabilities before faults.
        events: ``(n_ls,)``.
        run: ``(n_ls,)``.
    """

    counts: NDArray[np.float32]
    p: NDArray[np.float32]
    events: Array
    run: NDArray[np.int64]

    def __getitem__(self, rows: NDArray[np.intp] | slice) -> Maps:
        return Maps(self.counts[rows], self.p[rows], self.events[rows], self.run[rows])

    def __len__(self) -> int:
        return len(self.counts)


def detector_map(seed: int = 0) -> Array:
    """Return the probability of each cell, ``(72, 84)``: one detector for all runs."""
    rng = np.random.default_rng([seed, 306138])
    away = np.maximum(41 - np.arange(ETA), np.arange(ETA) - 42)
    mean, spread = np.array(MEAN)[away], np.array(SPREAD)[away]
    # A gamma law where cells rarely fire: it has the real maps' short tail towards 0.
    rare = rng.gamma((mean / np.maximum(spread, 1e-3)) ** 2, spread**2 / mean, (PHI, ETA))
    p = np.clip(np.where(mean < 0.6, rare, mean + spread * rng.normal(size=(PHI, ETA))), 0.02, 0.995)
    p[:, away >= 29] = 1
    # Towers of twice, further out of four times the width fill one phi bin in two, in four.
    phi = np.arange(PHI)[:, None]
    p[(phi % 2 == 1) & (away >= 20)] = 0
    p[(phi % 4 == 0) & (away >= 40)] = 0
    p[rng.random((PHI, ETA)) < 0.003] = 0
    return np.asarray(p)


def simulate(
    n_runs: int, n_ls: int, *, seed: int, first_run: int = 1, counts_per_cell: float | None = None, cut: bool = True
) -> Maps:
    """Simulate good runs.

    Args:
        n_runs: Runs.
        n_ls: Lumisections in each.
        seed: Of detector, runs and counts.
        first_run: Number of the first run; runs of other numbers are other runs of the same detector.
        counts_per_cell: Mean counts per live cell, by fewer or more events; as in the real maps by default.
        cut: The middle 32 rows in ieta, as the first study had it, or all 84.
    """
    base = detector_map(seed)
    base = base[:, CUT] if cut else base
    away = np.abs(np.linspace(-1, 1, base.shape[1]))
    parts = []
    for run in range(first_run, first_run + n_runs):
        rng = np.random.default_rng([seed, run])
        p = np.where(base < 1, np.clip(base * (1 + 0.01 * rng.normal() * (away - 0.5)), 0, 0.999), 1.0)
        events = EVENTS * np.where(np.arange(n_ls) < n_ls // 2, 1, STEP) * (1 + JITTER * rng.normal(size=n_ls))
        if counts_per_cell is not None:
            events *= counts_per_cell / (events.mean() * p[p > 0].mean())
        whole = np.maximum(1, rng.poisson(events) if counts_per_cell and counts_per_cell < 50 else np.rint(events))
        counts = rng.binomial(whole[:, None, None].astype(np.int64), p[None], (n_ls, *p.shape))
        same = np.broadcast_to(p, counts.shape).astype(np.float32)
        parts.append(Maps(counts.astype(np.float32), same, whole.astype(float), np.full(n_ls, run)))
    return Maps(*(np.concatenate([getattr(part, key) for part in parts]) for key in ("counts", "p", "events", "run")))


@dataclass(frozen=True)
class Case:
    """A kind of fault: where it may be, how large and how strong, all values equally likely.

    Args:
        shapes: Sizes (phi, eta) in cells.
        dead: Factors on p of dead and degraded cells.
        hot: Factors on p of hot cells.
        step: Grid (phi, eta) of the corners.
        place: A fixed corner, or None for any.
    """

    shapes: tuple[tuple[int, int], ...]
    dead: tuple[float, ...] = (0.0,)
    hot: tuple[float, ...] = (2.0, 5.0, 10.0)
    step: tuple[int, int] = (1, 1)
    place: tuple[int, int] | None = None


CASES = {
    "5x5 fixed": Case(((5, 5),), place=(30, 12)),
    "5x5": Case(((5, 5),)),
    "1x1": Case(((1, 1),)),
    "strip": Case(((1, 8), (8, 1), (1, 16), (16, 1))),
    "random 1-16": Case(tuple((h, w) for h in range(1, 17) for w in range(1, 17))),
    "readout box": Case(((4, 16),), step=(4, 16)),
    "degraded": Case(((5, 5),), dead=(0.2, 0.4, 0.6, 0.8), hot=(1.25, 1.5)),
}


def break_maps(
    maps: Maps, case: Case, kind: str, *, seed: int, lasting: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Put a fault into each map, always where there are live cells: all counts inside are drawn anew with p → min(1, f·p).

    Args:
        maps: Good lumisections.
        case: The kind of fault.
        kind: ``"hot"`` or ``"dead"``.
        seed: Of place, size, strength and counts.
        lasting: So many lumisections in a row share place, size and strength.

    Returns:
        Counts, and which cells are faulty.
    """
    rng = np.random.default_rng([seed, kind == "hot"])
    counts, truth = maps.counts.copy(), np.zeros(maps.counts.shape, np.bool_)
    factors = case.hot if kind == "hot" else case.dead
    height, width = counts.shape[1:]
    y = x = h = w = 0
    factor = 1.0
    for i in range(len(maps)):
        while i % lasting == 0:
            h, w = case.shapes[rng.integers(len(case.shapes))]
            y = case.step[0] * int(rng.integers(0, (height - h) // case.step[0] + 1))
            x = case.step[1] * int(rng.integers(0, (width - w) // case.step[1] + 1))
            if case.place is not None:
                y, x = case.place
            # A place is as likely as the share of its cells that live.
            if rng.random() < (maps.p[i, y : y + h, x : x + w] > 0).mean():
                factor = factors[rng.integers(len(factors))]
                break
        inside = maps.p[i, y : y + h, x : x + w]
        broken = np.minimum(1, inside * factor)
        counts[i, y : y + h, x : x + w] = rng.binomial(int(maps.events[i]), broken)
        truth[i, y : y + h, x : x + w] = inside > 0
    return counts, truth
