"""HDF5 occupancy cubes: each dataset one element, ``(LS, iphi, ieta)``, without flow bins and without run or LS numbers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import Any

import h5py
import numpy as np

from dqmroot.errors import InputError, one_line
from dqmroot.io.tables.rows import in_class, with_flow
from dqmroot.series import Axis, MonitorElement

__all__ = ["read_cubes"]

_STORAGES = {"f4": "F", "f8": "D", "i2": "S", "i4": "I"}
# Between ieta -29 and 29 a tower belongs to HE and to HF.
_IETA = (*range(-41, -28), *range(-29, 0), *range(1, 30), *range(29, 42))
_HCAL = (Axis(84, 0.0, 84.0, labels=tuple(map(str, _IETA)), title="ieta"), Axis(72, 0.5, 72.5, title="iphi"))


def read_cubes(
    path: str | os.PathLike[str] | Any,
    keep: Callable[[str], bool] | None = None,
    *,
    run: int | None = None,
    lumi: Iterable[int] | None = None,
) -> dict[str, MonitorElement]:
    """Read every dataset of two or three dimensions as a series of 1-D or 2-D histograms.

    Maps of 72 × 84 bins are taken for HCAL's iphi × ieta and get its axes; the axes of others run from 0 to the number of
    bins. The flow bins are NaN, the entries the sum of the bins.

    Args:
        path: The file, or one that is open for reading in binary mode.
        keep: Tells by its name whether to read an element; all by default.
        run: Run of the maps; by default the number after ``run`` in the name of the file.
        lumi: LS of each map; by default they are counted from 1.

    Raises:
        InputError: The file cannot be read, its name tells no run and none is given, or ``lumi`` has another length.

    Examples:
        >>> import h5py
        >>> with h5py.File("maps.hdf5", "w") as out:
        ...     _ = out.create_dataset("depth1", data=np.ones((3, 72, 84), np.float32))
        >>> dq.read_cubes("maps.hdf5", run=1)["depth1"].bins
        (72, 84)
    """
    name = str(getattr(path, "name", path))
    if run is None:
        told = re.search(r"run_?0*(\d+)", PurePath(name).name, re.IGNORECASE)
        if told is None:
            raise InputError(name, "neither the file nor its name tells the run of these maps; give run=")
        run = int(told[1])
    found: dict[str, MonitorElement] = {}
    try:
        with h5py.File(path, "r") as file:
            datasets: list[h5py.Dataset] = []
            file.visititems(lambda _, item: datasets.append(item) if isinstance(item, h5py.Dataset) else None)
            for dataset in datasets:
                me = dataset.name.strip("/")
                if dataset.ndim in {2, 3} and dataset.dtype.kind in "fiu" and (keep is None or keep(me)):
                    found[me] = _series(name, me, dataset[...], run, lumi)
            if not any(dataset.ndim in {2, 3} for dataset in datasets):
                raise InputError(name, "an HDF5 file without a dataset of two or three dimensions")
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(name, f"not readable as HDF5: {one_line(error)}") from error
    return found


def _series(path: str, me: str, values: Any, run: int, lumi: Iterable[int] | None) -> MonitorElement:
    n = len(values)
    numbers = np.arange(1, n + 1) if lumi is None else np.array(list(lumi))
    if numbers.shape != (n,):
        raise InputError(path, f"{n} maps, but {len(numbers)} LS numbers", me)
    bins = values.shape[1:]
    axes = _HCAL if bins == (72, 84) else tuple(Axis(k, 0.0, float(k)) for k in reversed(bins))
    letter = _STORAGES.get(values.dtype.newbyteorder("=").str[1:], "D")
    contents = in_class(with_flow(values), f"TH{len(bins)}{letter}") if letter in "FD" else with_flow(values)
    storage = f"TH{len(bins)}{'D' if contents.dtype == np.float64 else letter}"
    entries = values.sum(axis=tuple(range(1, values.ndim)), dtype=np.float64)
    return MonitorElement(
        me, storage, axes, np.full(n, run, np.uint32), numbers.astype(np.uint32), entries, contents, title=me
    ).sort()
