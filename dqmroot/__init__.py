"""dqmroot: read CMS data-quality histograms, learn what good looks like, certify run periods.

Every name of the public API is loaded on first use: ``import dqmroot`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dqmroot._version import __version__

if TYPE_CHECKING:
    from dqmroot.certification import Certification, certify, load_certification
    from dqmroot.conditions import Conditions, detector_on, read_conditions
    from dqmroot.detectors import Detector, detector, detector_names
    from dqmroot.distance import ks_distance, loss_map, mean_of_largest, moments, pulls, shape_chi2, time_product
    from dqmroot.evaluate import evaluate_scores
    from dqmroot.injection import Injected, inject
    from dqmroot.io.arrays import Arrays, MEInfo
    from dqmroot.io.convert import from_dataframe, from_hist, from_root
    from dqmroot.io.formats import arrays, iterate, list_mes, read
    from dqmroot.io.interpretation import AsHistograms
    from dqmroot.io.ragged import map_series
    from dqmroot.model import Model, load_models, save_models
    from dqmroot.prepare import (
        Preparation,
        add_lumisections,
        crop,
        drop_empty,
        follow,
        include_flow,
        mask_bins,
        merge_occupancy,
        normalise,
        rebin,
        rebin_edges,
        relative,
        running,
        smooth,
        stabilise,
        standardise,
    )
    from dqmroot.publication import publish
    from dqmroot.reports import report
    from dqmroot.resampling import resample
    from dqmroot.runs import RunMask
    from dqmroot.selection import Selection, select
    from dqmroot.series import Axis, MonitorElement, concatenate
    from dqmroot.threshold import WorkingPoint

_HOMES = {
    "dqmroot.certification": ("Certification", "certify", "load_certification"),
    "dqmroot.conditions": ("Conditions", "detector_on", "read_conditions"),
    "dqmroot.detectors": ("Detector", "detector", "detector_names"),
    "dqmroot.distance": (
        "ks_distance",
        "loss_map",
        "mean_of_largest",
        "moments",
        "pulls",
        "shape_chi2",
        "time_product",
    ),
    "dqmroot.evaluate": ("evaluate_scores",),
    "dqmroot.injection": ("Injected", "inject"),
    "dqmroot.io.arrays": ("Arrays", "MEInfo"),
    "dqmroot.io.convert": ("from_dataframe", "from_hist", "from_root"),
    "dqmroot.io.formats": ("arrays", "iterate", "list_mes", "read"),
    "dqmroot.io.interpretation": ("AsHistograms",),
    "dqmroot.io.ragged": ("map_series",),
    "dqmroot.model": ("Model", "load_models", "save_models"),
    "dqmroot.prepare": (
        "Preparation",
        "add_lumisections",
        "crop",
        "drop_empty",
        "follow",
        "include_flow",
        "mask_bins",
        "merge_occupancy",
        "normalise",
        "rebin",
        "rebin_edges",
        "relative",
        "running",
        "smooth",
        "stabilise",
        "standardise",
    ),
    "dqmroot.publication": ("publish",),
    "dqmroot.reports": ("report",),
    "dqmroot.resampling": ("resample",),
    "dqmroot.runs": ("RunMask",),
    "dqmroot.selection": ("Selection", "select"),
    "dqmroot.series": ("Axis", "MonitorElement", "concatenate"),
    "dqmroot.threshold": ("WorkingPoint",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Arrays",
    "AsHistograms",
    "Axis",
    "Certification",
    "Conditions",
    "Detector",
    "Injected",
    "MEInfo",
    "Model",
    "MonitorElement",
    "Preparation",
    "RunMask",
    "Selection",
    "WorkingPoint",
    "__version__",
    "add_lumisections",
    "arrays",
    "certify",
    "concatenate",
    "crop",
    "detector",
    "detector_names",
    "detector_on",
    "drop_empty",
    "evaluate_scores",
    "follow",
    "from_dataframe",
    "from_hist",
    "from_root",
    "include_flow",
    "inject",
    "iterate",
    "ks_distance",
    "list_mes",
    "load_certification",
    "load_models",
    "loss_map",
    "map_series",
    "mask_bins",
    "mean_of_largest",
    "merge_occupancy",
    "moments",
    "normalise",
    "publish",
    "pulls",
    "read",
    "read_conditions",
    "rebin",
    "rebin_edges",
    "relative",
    "report",
    "resample",
    "running",
    "save_models",
    "select",
    "shape_chi2",
    "smooth",
    "stabilise",
    "standardise",
    "time_product",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        value = getattr(importlib.import_module(_HOME_OF[name]), name)
        globals()[name] = value
        return value
    from dqmroot.errors import nearest

    close = nearest(name, _HOME_OF)
    hint = f"; nearest: {', '.join(close)}" if close else ""
    message = f"module 'dqmroot' has no attribute {name!r}{hint}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted(__all__)
