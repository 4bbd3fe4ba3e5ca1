"""Prepare monitoring elements for a detector: steps that crop, rebin, normalise, and undo it where they can."""

from __future__ import annotations

from dqmroot.prepare.bins import crop, include_flow, rebin
from dqmroot.prepare.learnt import follow, relative, standardise
from dqmroot.prepare.masks import drop_empty, mask_bins
from dqmroot.prepare.merging import merge_occupancy, rebin_edges
from dqmroot.prepare.preparation import Preparation
from dqmroot.prepare.scale import normalise
from dqmroot.prepare.smoothing import add_lumisections, running, smooth
from dqmroot.prepare.stabilise import stabilise
from dqmroot.prepare.step import STEPS, Step

__all__ = [
    "STEPS",
    "Preparation",
    "Step",
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
]
