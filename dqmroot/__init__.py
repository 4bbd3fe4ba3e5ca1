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
    from dqmroot.deployment import ExportedModel, export, load_exported, read_models
    from dqmroot.detectors import Detector, detector, detector_names
    from dqmroot.distance import ks_distance, loss_map, mean_of_largest, moments, pulls, shape_chi2, time_product
    from dqmroot.evaluate import evaluate_scores
    from dqmroot.injection import Injected, inject
    from dqmroot.io.arrays import Arrays, MEInfo
    from dqmroot.io.convert import from_dataframe, from_hist, from_root
    from dqmroot.io.extract import Extracted, extract
    from dqmroot.io.formats import arrays, iterate, list_mes, read
    from dqmroot.io.nanodqmio.interpretation import AsHistograms
    from dqmroot.io.ragged import map_series
    from dqmroot.io.rootfile.dqmgui import GuiFile, QualityReport, open_gui
    from dqmroot.io.tables.cubes import read_cubes
    from dqmroot.io.tables.hdf5 import append_series, read_series, write_series
    from dqmroot.model import Model, load_models, save_models
    from dqmroot.outliers import remove_outliers
    from dqmroot.plot import draw
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
    from dqmroot.runs import RunMask, read_reference_runs
    from dqmroot.selection import Selection, select
    from dqmroot.series import Axis, MonitorElement, concatenate
    from dqmroot.threshold import WorkingPoint

_HOMES = {
    "dqmroot.certification": ("Certification", "certify", "load_certification"),
    "dqmroot.conditions": ("Conditions", "detector_on", "read_conditions"),
    "dqmroot.deployment": ("ExportedModel", "export", "load_exported", "read_models"),
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
    "dqmroot.io.tables.cubes": ("read_cubes",),
    "dqmroot.io.rootfile.dqmgui": ("GuiFile", "QualityReport", "open_gui"),
    "dqmroot.io.extract": ("Extracted", "extract"),
    "dqmroot.io.formats": ("arrays", "iterate", "list_mes", "read"),
    "dqmroot.io.tables.hdf5": ("append_series", "read_series", "write_series"),
    "dqmroot.io.nanodqmio.interpretation": ("AsHistograms",),
    "dqmroot.io.ragged": ("map_series",),
    "dqmroot.model": ("Model", "load_models", "save_models"),
    "dqmroot.outliers": ("remove_outliers",),
    "dqmroot.plot": ("draw",),
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
    "dqmroot.runs": ("RunMask", "read_reference_runs"),
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
    "ExportedModel",
    "Extracted",
    "GuiFile",
    "Injected",
    "MEInfo",
    "Model",
    "MonitorElement",
    "Preparation",
    "QualityReport",
    "RunMask",
    "Selection",
    "WorkingPoint",
    "__version__",
    "add_lumisections",
    "append_series",
    "arrays",
    "certify",
    "concatenate",
    "crop",
    "detector",
    "detector_names",
    "detector_on",
    "draw",
    "drop_empty",
    "evaluate_scores",
    "export",
    "extract",
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
    "load_exported",
    "load_models",
    "loss_map",
    "map_series",
    "mask_bins",
    "mean_of_largest",
    "merge_occupancy",
    "moments",
    "normalise",
    "open_gui",
    "publish",
    "pulls",
    "read",
    "read_conditions",
    "read_cubes",
    "read_models",
    "read_reference_runs",
    "read_series",
    "rebin",
    "rebin_edges",
    "relative",
    "remove_outliers",
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
    "write_series",
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
