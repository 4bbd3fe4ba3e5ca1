"""Small series for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from dqmroot import Axis, MonitorElement

AXES = (
    Axis(12, -6.0, 6.0, title="ieta"),
    Axis.variable([0, 1, 2, 4, 8, 16, 20, 30, 40], title="y"),
    Axis(4, 0.0, 1.0, labels=("a", "b", "", "d"), title="z"),
)


def counts(n: int = 8, n_axes: int = 2, *, mean: float = 6.0, dtype: Any = np.float32, seed: int = 1) -> MonitorElement:
    """``n`` lumisections of Poisson counts, flow bins filled too; two runs."""
    axes = AXES[:n_axes]
    shape = (n, *(axis.nbins + 2 for axis in reversed(axes)))
    contents = np.random.default_rng(seed).poisson(mean, shape).astype(dtype)
    return MonitorElement(
        name="Sub/Folder/me",
        storage=f"TH{n_axes}" + {"f4": "F", "f8": "D", "i2": "S", "i4": "I"}[np.dtype(dtype).str[1:]],
        axes=axes,
        run=np.where(np.arange(n) < (n + 1) // 2, 7, 8),
        lumi=np.arange(n) % ((n + 1) // 2) + 1 if n else np.empty(0),
        entries=contents.reshape(n, int(np.prod(shape[1:]))).sum(axis=1),
        contents=contents,
        conditions={"pileup": np.linspace(20, 60, n), "events": np.full(n, 40.0)},
    )


def profile(n: int = 8, n_axes: int = 1, seed: int = 1) -> MonitorElement:
    """``n`` lumisections of a profile whose y has mean 3 and spread 2."""
    rng = np.random.default_rng(seed)
    me = counts(n, n_axes, dtype=np.float64, seed=seed)
    entries = me.contents
    mean = 3 + 2 * rng.standard_normal(entries.shape) / np.sqrt(np.maximum(entries, 1))
    return me.replace(
        storage="TProfile" if n_axes == 1 else "TProfile2D",
        contents=entries * mean,
        sumw2=entries * (mean**2 + 4),
        bin_entries=entries,
    )
