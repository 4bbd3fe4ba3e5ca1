"""Who takes part in `detection.py`, with which settings, and the oracle that knows the truth.

Settings were chosen on seeds 1-3; the tables are of seeds 11-13. The classifiers of the first study get 15 passes over the maps.
"""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simulation import Case, Maps

from dqmroot.detectors import Detector, detector, detector_class, load_detector
from dqmroot.detectors.likelihood import log_mean, log_ratio, scan
from dqmroot.files import whole_folder
from dqmroot.series import Axis, MonitorElement

__all__ = ["CURVES", "GOOD_ONLY", "Gallery", "curve_settings", "given", "oracle", "series", "supervised", "tuned_scan"]

Array = NDArray[Any]
Entry = tuple[str, dict[str, Any]]

CONV = {"epochs": 10, "batch_size": 16, "learning_rate": 2e-3}
GOOD_ONLY: dict[str, Entry] = {
    "likelihood_scan": ("likelihood_scan", {}),
    "profiled_map": ("profiled_map", {}),
    "poisson_autoencoder": ("poisson_autoencoder", {"epochs": 60}),
    "conv_autoencoder": ("conv_autoencoder", CONV),
    "conv_autoencoder, squared": ("conv_autoencoder", {**CONV, "distance": "squared"}),
    "z_score": ("z_score", {}),
    "max_pull": ("max_pull", {}),
    "chi2": ("chi2", {}),
    "beta_binomial": ("beta_binomial", {}),
    "forecaster": ("forecaster", {}),
    "drifting_reference": ("drifting_reference", {}),
    "spatial(pca)": ("spatial", {"detector": "pca"}),
    "pca": ("pca", {}),
    "nmf": ("nmf", {}),
    "nearest_template": ("nearest_template", {}),
    "dense_autoencoder": ("dense_autoencoder", {"epochs": 20}),
    "one_class_svm": ("one_class_svm", {}),
    "moments": ("moments", {}),
    "isolation_forest": ("isolation_forest", {}),
    "zero_fraction": ("zero_fraction", {}),
}
# What differs in the score only need not learn again.
_SAME = {"conv_autoencoder, squared": ("conv_autoencoder", {"distance": "squared"})}

NET: dict[str, Any] = {"epochs": 20, "batch_size": 32, "learning_rate": 1e-2}
CNN: dict[str, Any] = {"epochs": 15, "batch_size": 32, "learning_rate": 3e-3}


def supervised(case: Case) -> dict[str, Entry]:
    """The networks that learn the faults of a case; `dqmroot.inject` makes them, x first."""
    if len(case.shapes) > 8:
        where: list[dict[str, Any]] = [{"where": "random_size"}]
    elif case.step != (1, 1):
        where = [{"where": "box"}]
    else:
        where = [{"size": [w, h]} for h, w in case.shapes]
        if case.place is not None:
            where[0]["place"] = [case.place[1], case.place[0]]
    dead = {"fault": "dead"} if case.dead == (0.0,) else {"fault": "degraded", "amount": list(case.dead)}
    faults = [{**kind, **at} for kind in ({"fault": "hot", "amount": list(case.hot)}, dead) for at in where]
    return {
        "significance_network": ("significance_network", {"faults": faults, **NET}),
        "cnn strided 8-8": ("cnn_classifier", {"layout": "strided", "faults": faults, **CNN}),
        "cnn pooled 10-8-8": ("cnn_classifier", {"layout": "pooled", "faults": faults, **CNN}),
        "cnn normalised 10-8-8": ("cnn_classifier", {"layout": "normalised", "faults": faults, **CNN}),
    }


def tuned_scan(case: Case) -> Entry:
    """The likelihood scan that is told the faults of the case, but not the true map."""
    shapes = case.shapes if len(case.shapes) < 9 else [(h, w) for h in (1, 2, 4, 8, 14) for w in (1, 2, 4, 8, 14)]
    return "likelihood_scan", {"shapes": [list(shape) for shape in shapes], "factors": [*case.dead, *case.hot]}


_DEAD = [{"fault": "dead", "where": "channel"}]
_WEAK = [{"fault": "degraded", "amount": [0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], "where": "channel"}]
CURVES: dict[str, Entry] = {
    "likelihood_scan, its case": ("likelihood_scan", {"shapes": [[1, 1]]}),
    "likelihood_scan": ("likelihood_scan", {}),
    "profiled_map": ("profiled_map", {}),
    "profiled_map, single cells": ("profiled_map", {"windows": [1]}),
    "significance_network": ("significance_network", {"classes": 2, **NET}),
    "poisson_autoencoder": ("poisson_autoencoder", {"epochs": 60}),
    "conv_autoencoder": ("conv_autoencoder", CONV),
    "cnn strided 8-8": ("cnn_classifier", {"classes": 2, "layout": "strided", **CNN}),
    "max_pull": ("max_pull", {}),
    "z_score": ("z_score", {}),
    "pca": ("pca", {}),
}


def curve_settings(label: str, kind: str, efficiency: float) -> Entry:
    """Return the settings of a contestant at a point: what is tuned to the fault knows its efficiency."""
    what, settings = CURVES[label]
    if label.endswith("its case"):
        return what, {**settings, "factors": [efficiency]}
    if "faults" in inspect.signature(detector_class(what)).parameters:
        mild = [{"fault": "degraded", "amount": efficiency, "where": "channel"}]
        return what, {**settings, "faults": _WEAK if kind == "efficiency" else mild if efficiency else _DEAD}
    return what, settings


def series(maps: Maps, counts: Array | None = None) -> MonitorElement:
    """Return maps as dqmroot reads them."""
    contents = maps.counts if counts is None else counts
    _, height, width = contents.shape
    lumi = np.concatenate([np.arange(1, (maps.run == run).sum() + 1) for run in np.unique(maps.run)])
    return MonitorElement(
        "Hcal/DigiTask/Occupancy/depth/depth1", "TH2F", (Axis(width, 0, width), Axis(height, 0, height)), maps.run, lumi,
        contents.sum(axis=(1, 2), dtype=np.float64), np.pad(contents, [(0, 0), (1, 1), (1, 1)]),
    )  # fmt: skip


def given(made: Detector, me: MonitorElement, sum_to: float = 1000.0) -> MonitorElement:
    """Bring to one sum what a detector of normalised histograms takes."""
    inner = getattr(made, "inner_", made)
    if inner.input == "counts":
        return me
    total = me.values().sum(axis=tuple(range(1, me.values().ndim)), dtype=np.float64)
    total = np.maximum(total, 1e-9).reshape(-1, *[1] * (me.contents.ndim - 1))
    return me.replace(contents=(me.contents / total * sum_to).astype(np.float32))


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


class Gallery:
    """Detectors that have learnt, kept in a folder: each network learns once per seed and sample, and goes on where it was.

    Args:
        folder: Where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, label: str, entry: Entry, good: MonitorElement, seed: int, sample: str) -> Detector:
        """Return the detector, which learns now where it has not learnt yet.

        Args:
            label: Name of the contestant.
            entry: Detector and settings.
            good: What to learn from.
            seed: Of detectors that have one.
            sample: What tells this training from others: case, statistics.
        """
        if label in _SAME:
            base, change = _SAME[label]
            made = copy.copy(self.get(base, GOOD_ONLY[base], good, seed, sample))
            for key, value in change.items():
                setattr(made, key, value)
            return made
        what, settings = entry
        random = "seed" in inspect.signature(detector_class(what)).parameters
        made = detector(what, **settings, **({"seed": seed} if random else {}))
        if not hasattr(made, "epochs"):
            return made.fit(given(made, good))
        place = self.folder / f"{label} {sample} {seed}".replace("/", "-")
        if not (place / "detector.json").is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            half = place.with_name(place.name + ".checkpoint.npz")
            made.fit(given(made, good), checkpoint=half)
            with whole_folder(place) as temporary:
                made.save(temporary)
            half.unlink(missing_ok=True)
        return load_detector(place)
