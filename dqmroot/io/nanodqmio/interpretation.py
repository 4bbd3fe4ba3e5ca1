"""The compiled decoder as an uproot interpretation, for those who are in a plain uproot session.

::

    tree = uproot.open("file.root")["TH1Fs"]
    array = tree["Value"].array(interpretation=dqmroot.AsHistograms())   # records: entries, contents, …
"""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray

from dqmroot.errors import InputError, UsageError
from dqmroot.io.arrays import Rows, awkward_of
from dqmroot.io.nanodqmio.decode import Places, refuse
from dqmroot.io.nanodqmio.layout import STORAGES, Storage
from dqmroot.kernels import baskets as kernels

__all__ = ["AsHistograms"]


class AsHistograms(uproot.interpretation.Interpretation):  # type: ignore[misc]
    """Histograms of one ROOT class as records ``entries`` and ``contents`` (flat, flow bins included, x fastest).

    Profiles have ``bin_entries`` and ``sumw2`` as well; other histograms have ``sumw2`` where any of a basket stores it.
    With ``library="np"`` the result is an array of the contents, one array for each entry.

    Examples:
        >>> import uproot
        >>> tree = uproot.open(file)["TH1Fs"]
        >>> tree["Value"].array(dq.AsHistograms(), entry_stop=2).fields
        ['entries', 'contents']
    """

    @property
    def cache_key(self) -> str:
        """What uproot's caches tell interpretations apart by."""
        return "dqmroot.AsHistograms()"

    @property
    def typename(self) -> str:
        """What the values are, in words."""
        return "histogram"

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """Of the array that ``library="np"`` gives."""
        return np.dtype(object)

    def basket_array(
        self,
        data: NDArray[np.uint8],
        byte_offsets: NDArray[np.int32],
        basket: Any,
        branch: Any,
        context: Any,
        cursor_offset: int,
        library: Any,
        interp_options: Any,
    ) -> ak.Array:
        """Decode one basket.

        Raises:
            UsageError: The branch does not hold histograms.
            InputError: An entry is not laid out as ROOT writes it.
        """
        del basket, context, cursor_offset, library, interp_options
        storage = _storage(branch)
        n = len(byte_offsets) - 1
        table = np.zeros(n + 2, ">u4")
        table[1:-1] = byte_offsets[:-1]
        border = int(byte_offsets[-1])
        whole = np.concatenate([np.asarray(data[:border], np.uint8), table.view(np.uint8)])
        whole.flags.writeable = False
        looked = Places.none(storage, n)
        _decode(whole, border, n, branch, looked)
        places = _planned(storage, looked.found)
        _decode(whole, border, n, branch, places)
        offsets = np.append(places.plan[:, 0], len(places.contents))
        nothing = np.zeros(n, np.uint32)
        more: dict[str, Any] = {"bin_entries": places.bin_entries} if storage.profile else {}
        for what, column in (("sumw2", 2), ("bin_sumw2", 3)):
            if np.any(places.plan[:, column] >= 0):
                more |= {what: getattr(places, what), what + "_at": places.plan[:, column]}
        rows = Rows(nothing.astype(np.int32), nothing, nothing, places.entries, offsets, places.contents, **more)
        made = awkward_of(rows)
        return made[[field for field in made.fields if field not in {"me", "run", "lumi"}]]

    def final_array(
        self,
        basket_arrays: dict[int, ak.Array],
        entry_start: int,
        entry_stop: int,
        entry_offsets: list[int],
        library: Any,
        branch: Any,
        options: Any,
    ) -> Any:
        """Join the baskets and cut off what was not asked for."""
        del branch, options
        parts = []
        for number in sorted(basket_arrays):
            begin, end = entry_offsets[number], entry_offsets[number + 1]
            parts.append(basket_arrays[number][max(entry_start - begin, 0) : max(min(entry_stop, end) - begin, 0)])
        whole = ak.concatenate(parts) if parts else ak.Array([])
        if not isinstance(library, uproot.interpretation.library.NumPy):
            return whole
        out = np.empty(len(whole), object)
        if len(whole):
            ends = np.cumsum(ak.num(whole.contents).to_numpy())
            flat = ak.flatten(whole.contents).to_numpy()
            for i, (begin, end) in enumerate(zip(np.append(0, ends[:-1]).tolist(), ends.tolist(), strict=True)):
                out[i] = flat[begin:end]
        return out


def _storage(branch: Any) -> Storage:
    name = branch.member("fClassName") if branch.has_member("fClassName") else ""
    if name + "s" not in STORAGES:
        raise UsageError(
            f"branch {branch.name} of {branch.tree.name} does not hold histograms but {name or branch.typename}"
        )
    return STORAGES[name + "s"]


def _planned(storage: Storage, found: NDArray[np.int64]) -> Places:
    """Places for what was found, row after row."""
    n = found[:, kernels.N]
    plan = np.full((len(n), 4), -1, np.int64)
    plan[:, 0], plan[:, 1] = np.cumsum(n) - n, n
    totals = []
    for column, count in ((2, kernels.N_SUMW2), (3, kernels.N_BIN_SUMW2)):
        mine = np.where(found[:, count] > 0, n, 0)
        plan[:, column] = np.where(mine > 0, np.cumsum(mine) - mine, -1)
        totals.append(int(mine.sum()))
    total = int(n.sum())
    flats = [np.empty(size, np.float64) for size in (totals[0], total if storage.profile else 0, totals[1])]
    contents = np.empty(total, storage.dtype)
    return Places(storage, plan, np.zeros((len(n), 8), np.int64), np.zeros(len(n)), contents, *flats)


def _decode(data: NDArray[np.uint8], border: int, n: int, branch: Any, places: Places) -> None:
    shape = places.storage.shape(header=branch.classname == "TBranchObject")
    name = np.frombuffer(places.storage.name.encode(), np.uint8)
    rows = np.arange(n)
    kernels.decode(
        data, border, 0, n, rows, rows, shape, name, places.plan, places.found, places.entries, *places.words
    )
    bad = np.flatnonzero(places.found[:, kernels.STATUS])
    if len(bad):
        error: InputError = refuse(
            branch.file.file_path, branch.tree.name, int(bad[0]), int(places.found[bad[0], kernels.STATUS])
        )
        raise error
