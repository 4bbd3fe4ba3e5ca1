"""Prepare monitoring elements for a detector: steps that crop, rebin, normalise, and undo it where they can."""

from __future__ import annotations

from dqmroot.prepare.bins import crop, include_flow, rebin
from dqmroot.prepare.preparation import Preparation
from dqmroot.prepare.scale import normalise
from dqmroot.prepare.step import STEPS, Step

__all__ = ["STEPS", "Preparation", "Step", "crop", "include_flow", "normalise", "rebin"]
