"""Small series and a detector that learns in no time, for tests of what stands above detectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.base import Detector, Progress, Sample
from dqmroot.model import Model
from dqmroot.prepare import Preparation
from dqmroot.series import Axis, MonitorElement

PREPARE = "include_flow normalise(integral)"


class FarFromMean(Detector):
    """Mean squared distance to the mean of the training sample."""

    name = "far_from_mean"

    def __init__(self, *, floor: float = 0.0) -> None:
        self.floor = floor

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        self.mean_ = x.mean(axis=0)
        if progress:
            progress(1, 1, "mean")

    def _score(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return self._score_bins(x, sample).reshape(len(x), -1).mean(axis=1) + self.floor

    def _score_bins(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return np.square(x.astype(np.float64) - self.mean_)

    def _reconstruct(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        return np.broadcast_to(self.mean_, x.shape)

    def _state(self) -> Mapping[str, NDArray[Any]]:
        return {"mean": self.mean_}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.mean_ = arrays["mean"]


def spectrum(
    runs: Mapping[int, int], *, name: str = "Muon/Size", mean: float = 10.0, nbins: int = 20, seed: int = 1
) -> MonitorElement:
    """Return a 1-D series: so many LS in each run, 500 entries each around ``mean``."""
    rng = np.random.default_rng(seed)
    axis = Axis(nbins, 0, 20, title="size")
    n_ls = sum(runs.values())
    filled = np.digitize(rng.normal(mean, 2, (n_ls, 500)), axis.bin_edges)
    contents = np.stack([np.bincount(row, minlength=nbins + 2) for row in filled]).astype(np.float32)
    run = np.repeat(list(runs), list(runs.values()))
    lumi = np.concatenate([np.arange(1, n + 1) for n in runs.values()])
    return MonitorElement(name, "TH1F", (axis,), run, lumi, contents.sum(axis=1), contents)


def trained(runs: Mapping[int, int] | None = None, *, name: str = "Muon/Size", method: str = "mean_sigma") -> Model:
    """Return a model that has learnt from good runs and has a working point."""
    model = Model(prepare=Preparation.parse(PREPARE), detector=FarFromMean())
    return model.train(spectrum(runs or {1: 40, 2: 40}, name=name), method)
