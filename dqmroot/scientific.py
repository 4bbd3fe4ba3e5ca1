"""SciPy beside ROOT: its linear algebra has to find the BLAS that it brings itself."""

from __future__ import annotations

import os
import sys

__all__ = ["load_scipy"]


def load_scipy() -> None:
    """Import SciPy's linear algebra so that it is right in a process with ROOT; called before anything of SciPy is used.

    ROOT's interpreter makes the symbols of the libraries that are there already visible to all that are loaded later. NumPy
    brings a BLAS with integers of 64 bits, SciPy one with 32, and their inner functions bear the same names: SciPy, loaded
    after ROOT, would call NumPy's and corrupt memory. Where ROOT is there, SciPy is therefore told to look into its own first.
    """
    if "scipy.linalg" in sys.modules or not {"ROOT", "cppyy"} & sys.modules.keys():
        return
    flags = sys.getdlopenflags()
    sys.setdlopenflags(flags | getattr(os, "RTLD_DEEPBIND", 0))  # not on every system; the clash was seen on Linux
    try:
        import scipy.linalg  # noqa: F401
    finally:
        sys.setdlopenflags(flags)
