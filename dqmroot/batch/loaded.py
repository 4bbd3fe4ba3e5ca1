"""Imported by the process that workers are forked from: loads the libraries and compiled kernels that each of them needs."""

from __future__ import annotations

import gc
import signal
import warnings
from contextlib import suppress
from importlib.resources import as_file, files

__all__ = ["load"]


def load() -> None:
    """Load what a worker calls, and read one lumisection, so that its compiled code is there."""
    from distributed import nanny, worker  # noqa: F401

    from dqmroot.batch import work  # noqa: F401
    from dqmroot.batch.index import index_file
    from dqmroot.io.formats import arrays

    with as_file(files("dqmroot") / "data" / "demo.root") as path:
        key = index_file(str(path)).keys[0]
        arrays([str(path)], runs=int(key) >> 32, lumis=[(int(key) & 0xFFFFFFFF,) * 2], threads=1)


# Ctrl-C reaches every process of a terminal: the campaign ends its workers, and they need not say so.
signal.signal(signal.SIGINT, signal.SIG_IGN)
# Whatever goes wrong here goes wrong in a worker too, and is told there.
with warnings.catch_warnings(), suppress(Exception):
    warnings.simplefilter("ignore")
    load()
# What is there now stays: no worker's collector writes to the pages that all share.
gc.collect()
gc.freeze()
