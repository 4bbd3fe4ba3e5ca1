"""Faults put into good lumisections while a supervised detector learns, new ones in each pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.occupancy import Occupancy
from dqmroot.detectors.shapes import flat
from dqmroot.errors import UsageError
from dqmroot.injection import inject
from dqmroot.series import Axis, MonitorElement

__all__ = ["DEFAULT_FAULTS", "FaultMaker", "classes_of"]

DEFAULT_FAULTS: tuple[Mapping[str, Any], ...] = (
    {"fault": "hot", "amount": [2.0, 5.0, 10.0], "where": "channel"},
    {"fault": "dead", "where": "channel"},
)
"""One channel, hot or dead: what is hardest to see."""

_HOT = {"hot", "noisy", "set_maximum", "peak"}
_TRIES = 20


def classes_of(faults: Sequence[Mapping[str, Any]], n_classes: int) -> NDArray[np.int64]:
    """Return the class of each fault, ``(n_faults,)``: 1 bad; with three classes 1 hot, 2 dead."""
    if n_classes == 2:
        return np.ones(len(faults), np.int64)
    return np.array([1 if fault["fault"] in _HOT else 2 for fault in faults], np.int64)


@dataclass(frozen=True)
class FaultMaker:
    """Makes faulty copies of good maps.

    Args:
        faults: Each a fault as `dqmroot.inject` takes it: ``fault``, and ``where``, ``size``, ``amount`` …; an ``amount`` that is a
            list is one of these for each LS.
        occupancy: What good LS are like: where cells live, and how many events there are.
        seed: Of everything random.
    """

    faults: Sequence[Mapping[str, Any]]
    occupancy: Occupancy
    seed: int

    def make(self, counts: NDArray[Any], draw: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Put one fault into each map, all kinds equally often, and where cells live.

        Args:
            counts: ``(n_ls, y, x)`` good.
            draw: Another number, other faults.

        Returns:
            The faulty maps, and for each the index of its fault.
        """
        rng = np.random.default_rng([self.seed, draw])
        kind = rng.permutation(np.arange(len(counts)) % len(self.faults))
        out = np.empty(counts.shape, np.float32)
        live = (self.occupancy.shape > 0).reshape(counts.shape[1:])
        for i, fault in enumerate(self.faults):
            amounts = fault.get("amount")
            choices = amounts if isinstance(amounts, list | tuple) else [amounts]
            which = rng.integers(0, len(choices), len(counts))
            for j, amount in enumerate(choices):
                rows = np.flatnonzero((kind == i) & (which == j))
                plain = {key: value for key, value in fault.items() if key not in {"fault", "amount"}}
                for _ in range(_TRIES):
                    if len(rows) == 0:
                        break
                    seed = int(rng.integers(2**31))
                    made, truth = self._inject(counts[rows], fault["fault"], amount, seed, plain)
                    # Holes cannot break: a fault that touches no live cell is drawn again.
                    good = (truth & live).any(axis=(1, 2))
                    out[rows[good]] = made[good]
                    rows = rows[~good]
                if len(rows):
                    raise UsageError(f"the fault {fault['fault']} finds no live cell in {_TRIES} draws")
        return out, kind

    def _inject(
        self, counts: NDArray[Any], fault: str, amount: float | None, seed: int, plain: Mapping[str, Any]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        n_ls, height, width = counts.shape
        events: NDArray[np.float64] | None = None
        if self.occupancy.saturation:
            events = np.maximum(
                self.occupancy.rate(flat(counts))[:, 0] / self.occupancy.saturation, counts.max(axis=(1, 2))
            )
        series = MonitorElement(
            name="sample",
            storage="TH2F",
            axes=(Axis(width, 0, width), Axis(height, 0, height)),
            run=np.ones(n_ls, np.uint32),
            lumi=np.arange(1, n_ls + 1, dtype=np.uint32),
            entries=counts.sum(axis=(1, 2), dtype=np.float64),
            contents=np.pad(np.rint(counts).astype(np.float32), [(0, 0), (1, 1), (1, 1)]),
        )
        made = inject(series, fault, amount=amount, events=events, seed=seed, **plain)
        truth = made.truth
        assert truth is not None
        return np.asarray(made.values(), np.float32), np.asarray(truth, np.bool_)
