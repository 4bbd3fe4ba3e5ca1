"""Loads a macro of this folder into PyROOT, for the scripts beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def load(name: str, *, batch: bool) -> Callable[..., int]:
    """Return the function of the macro ``name``.C; it answers 0 where all went well.

    Args:
        name: Name of the macro.
        batch: Whether pictures are only saved, with no window.
    """
    import ROOT

    ROOT.gROOT.SetBatch(batch)
    path = Path(__file__).resolve().parent / f"{name}.C"
    ROOT.gInterpreter.AddIncludePath(str(path.parent))
    ROOT.gROOT.LoadMacro(str(path))
    function: Callable[..., int] = getattr(ROOT, name)
    return function
