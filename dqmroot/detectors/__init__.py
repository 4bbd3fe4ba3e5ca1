"""Detectors: fit on good lumisections, score new ones; higher is worse.

A new detector is one file and one line in the registry.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

from dqmroot.detectors.base import Detector, read_detector_json
from dqmroot.errors import InputError, UnknownNameError, UsageError

__all__ = ["Detector", "detector", "detector_class", "detector_names", "load_detector"]

REGISTRY = {
    "beta_binomial": "dqmroot.detectors.reference:BetaBinomial",
    "chi2": "dqmroot.detectors.reference:Chi2",
    "cnn_classifier": "dqmroot.detectors.supervised:CNNClassifier",
    "conv_autoencoder": "dqmroot.detectors.convolutional:ConvAutoencoder",
    "dense_autoencoder": "dqmroot.detectors.dense:DenseAutoencoder",
    "drifting_reference": "dqmroot.detectors.drift:DriftingReference",
    "forecaster": "dqmroot.detectors.forecast:Forecaster",
    "isolation_forest": "dqmroot.detectors.novelty:IsolationForest",
    "kolmogorov": "dqmroot.detectors.reference:Kolmogorov",
    "landau_fit": "dqmroot.detectors.landau:LandauFit",
    "likelihood_scan": "dqmroot.detectors.likelihood:LikelihoodScan",
    "max_pull": "dqmroot.detectors.reference:MaxPull",
    "moments": "dqmroot.detectors.moments:Moments",
    "nearest_template": "dqmroot.detectors.templates:NearestTemplate",
    "nmf": "dqmroot.detectors.decomposition:NMF",
    "one_class_svm": "dqmroot.detectors.novelty:OneClassSVM",
    "pca": "dqmroot.detectors.decomposition:PCA",
    "poisson_autoencoder": "dqmroot.detectors.poisson:PoissonAutoencoder",
    "profiled_map": "dqmroot.detectors.profiledmap:ProfiledMap",
    "profiled_spectrum": "dqmroot.detectors.spectrum:ProfiledSpectrum",
    "significance_network": "dqmroot.detectors.supervised:SignificanceNetwork",
    "spatial": "dqmroot.detectors.corrections:SpatialCorrection",
    "summed": "dqmroot.detectors.corrections:SummedLumisections",
    "time_product": "dqmroot.detectors.corrections:TimeProduct",
    "z_score": "dqmroot.detectors.baseline:ZScore",
    "zero_fraction": "dqmroot.detectors.baseline:ZeroFraction",
}


def detector_names() -> list[str]:
    """Return the names that `detector` knows, sorted.

    Examples:
        >>> "dense_autoencoder" in dq.detector_names()
        True
    """
    return sorted(REGISTRY)


def detector_class(name: str) -> type[Detector]:
    """Return the class of a detector; its module is imported now.

    Raises:
        UnknownNameError: There is no such detector.
    """
    if name not in REGISTRY:
        raise UnknownNameError("detector", name, REGISTRY)
    module, _, attribute = REGISTRY[name].partition(":")
    found: type[Detector] = getattr(importlib.import_module(module), attribute)
    return found


def detector(name: str, **parameters: Any) -> Detector:
    """Make a detector by name: ``detector("dense_autoencoder", seed=1)``.

    Raises:
        UnknownNameError: No such detector, or no such parameter of it.
        UsageError: A parameter has an impossible value.

    Examples:
        >>> dq.detector("pca", components=3)
        PCA(components=3, k=10, seed=0)
    """
    made = detector_class(name)
    known = inspect.signature(made).parameters
    for key, value in parameters.items():
        if key not in known:
            raise UnknownNameError("parameter", key, known, f"detector {name}")
        if isinstance(known[key].default, int | float) and isinstance(value, str):
            raise UsageError(f"detector {name}: {key} must be a number, got {value!r}")
    try:
        return made(**parameters)
    except TypeError as error:
        raise UsageError(f"detector {name}: {error}") from error


def load_detector(folder: str | Path) -> Detector:
    """Read a detector that was saved into ``folder``.

    Raises:
        InputError: The folder does not hold one.
    """
    path = Path(folder)
    name = read_detector_json(path)["detector"]
    if name not in REGISTRY:
        raise InputError(path / "detector.json", f"unknown detector {name!r}")
    return detector_class(name).load(path)
