"""Libraries that do not go together in one process, unless each looks into its own: SciPy after ROOT, XRootD after TensorFlow."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["load_scipy", "own_symbols"]


@contextmanager
def own_symbols() -> Iterator[None]:
    """Libraries that are loaded within look into their own first; for those that others in the process would spoil.

    XRootD's client, loaded after TensorFlow, otherwise crashes the process.
    """
    flags = sys.getdlopenflags()
    sys.setdlopenflags(flags | getattr(os, "RTLD_DEEPBIND", 0))  # not on every system; the clashes were seen on Linux
    try:
        yield
    finally:
        sys.setdlopenflags(flags)


def load_scipy() -> None:
    """Import SciPy's linear algebra so that it is right in a process with ROOT; called before anything of SciPy is used.

    ROOT's interpreter makes the symbols of the libraries that are there already visible to all that are loaded later. NumPy
    brings a BLAS with integers of 64 bits, SciPy one with 32, and their inner functions bear the same names: SciPy, loaded
    after ROOT, would call NumPy's and corrupt memory. Where ROOT is there, SciPy is therefore told to look into its own first.
    """
    if "scipy.linalg" in sys.modules or not {"ROOT", "cppyy"} & sys.modules.keys():
        return
    with own_symbols():
        import scipy.linalg  # noqa: F401
