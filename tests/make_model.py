"""Make tests/data/model_v1: one model of each kind of detector in format 1, with what it scores, for the tests of later versions.

Run once, by the version that the folder is named after; never again, or the test that old models load tests nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import dqmroot as dq
from dqmroot.detectors import detector_class, detector_names

DATA = Path(__file__).parent / "data" / "model_v1"
LEFT_OUT = {"forecaster", "spatial", "summed", "time_product"}  # made of other detectors


def sample(ndim: int) -> dq.MonitorElement:
    """40 good LS of two runs: counts around a shape, 12 bins or 16 × 8."""
    shape = (12,) if ndim == 1 else (8, 16)
    rng = np.random.default_rng(ndim)
    mean = 60 * (1.5 + np.sin(np.arange(np.prod(shape)))).reshape(shape)
    inner = rng.poisson(mean, (40, *shape)).astype(np.float32)
    contents = np.pad(inner, [(0, 0), *[(1, 1)] * ndim])
    axes = (dq.Axis(12, 0, 6),) if ndim == 1 else (dq.Axis(16, -8, 8), dq.Axis(8, 0, 8))
    run, lumi = np.repeat([5, 6], 20), np.tile(np.arange(1, 21), 2)
    conditions = {"pileup": np.linspace(20, 60, 40)}
    entries = inner.reshape(40, -1).sum(axis=1)
    return dq.MonitorElement("", f"TH{ndim}F", axes, run, lumi, entries, contents, conditions=conditions)


def main() -> None:
    """Write the folder."""
    models, scores = [], {}
    for name in detector_names():
        if name in LEFT_OUT:
            continue
        made = detector_class(name)
        quick = {key: value for key, value in made.quick.items() if key != "filters"}
        if "filters" in made.quick:
            quick["filters"] = (2, 2)
        if name == "isolation_forest":
            quick["trees"] = 10
        if "epochs" in quick:
            quick["epochs"] = 2
        me = sample(made.ndims[0]).replace(name=f"Old/{name}")
        steps = (
            ""
            if made.input == "counts"
            else "normalise(integral)"
            if name != "pca"
            else "normalise(integral) standardise"
        )
        model = dq.Model(prepare=steps, detector=dq.detector(name, **quick)).fit(me)
        models.append(model.set_working_point("mean_sigma", 3, me))
        scores[name] = model.score(me)
    dq.save_models(models, DATA)
    np.savez_compressed(DATA.parent / "model_v1_scores.npz", **scores)


if __name__ == "__main__":
    main()
