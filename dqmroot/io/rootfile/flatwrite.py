"""Flat per-LS ROOT files: one histogram per element and LS, as `dqmroot.io.rootfile.flatroot` reads them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dqmroot.errors import UsageError
from dqmroot.files import whole_file
from dqmroot.io.rootfile.flatroot import flat_key
from dqmroot.io.rootfile.rootobjects import Histogram
from dqmroot.io.rootfile.rootwrite import RootWriter, create_file
from dqmroot.series import MonitorElement

__all__ = ["FlatWriter", "flat_writer"]


class FlatWriter:
    """Adds series to a ROOT file; key names as harvests write them, the title is the full name of the element."""

    def __init__(self, writer: RootWriter) -> None:
        self._writer = writer

    def append(self, me: MonitorElement) -> None:
        """Add one histogram per LS.

        Raises:
            UsageError: ``me`` is a scalar, or the file has this LS of the element.
            OutputError: The file grows beyond 2 GB.
        """
        if not me.axes:
            raise UsageError(f"{me.name} is a {me.storage}: a ROOT file of series holds histograms only; use series.h5")
        for i in range(len(me)):
            sums = [None if array is None else array[i] for array in (me.sumw2, me.bin_entries, me.bin_sumw2)]
            histogram = Histogram(
                flat_key(me.name, int(me.run[i]), int(me.lumi[i])),
                me.storage,
                me.axes,
                me.contents[i],
                title=me.name,
                sumw2=sums[0],
                bin_entries=sums[1],
                bin_sumw2=sums[2],
                entries=float(me.entries[i]),
            )
            self._writer.put(self._writer.top, histogram)


@contextmanager
def flat_writer(path: str | os.PathLike[str], inputs: Iterable[Mapping[str, Any]] = ()) -> Iterator[FlatWriter]:  # noqa: ARG001
    """Give a writer of a new file, which appears when the block ends well; such a file keeps no ``inputs``."""
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        writer = create_file(stream, Path(path).name)
        yield FlatWriter(writer)
        writer.close()
