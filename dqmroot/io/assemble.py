"""From entries asked for to rows: plan where each number goes, decode, and tell forms of one monitoring element apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import InputError
from dqmroot.io.arrays import MEInfo, Rows
from dqmroot.io.decode import Places, decode_entries, look, refuse
from dqmroot.io.layout import STORAGES, LayoutError, Storage, describe
from dqmroot.io.nanodqmio import NanoFile
from dqmroot.io.plan import Asked
from dqmroot.kernels import baskets as kernels

__all__ = ["Form", "Forms", "histograms"]


@dataclass(frozen=True)
class Form:
    """One form of a monitoring element: its place in the table, and what its entries store.

    Args:
        me: Place in `Forms.table`.
        n: Number of contents.
        sumw2: Whether Σw² is stored.
        bin_sumw2: Whether the Σw² of a profile's weights is stored.
    """

    me: int
    n: int
    sumw2: bool
    bin_sumw2: bool


@dataclass
class Forms:
    """Every form met so far. A name has several where its bins or labels change.

    Args:
        table: The monitoring elements; lumisections are counted at the end.
        first: The form first met of each (tree, name).
        by_print: Forms by (tree, name, fingerprint of bins, of labels).
    """

    table: list[MEInfo] = field(default_factory=list)
    first: dict[tuple[str, int], Form] = field(default_factory=dict)
    by_print: dict[tuple[str, int, int, int], Form] = field(default_factory=dict)

    def learn(self, file: NanoFile, tree: str, names: list[str], asked: Asked) -> None:
        """Look at some entries of one file and add the forms that are new.

        Raises:
            InputError: A basket is damaged, or an entry is not what it should be.
        """
        asked = asked[np.argsort(asked.entry, kind="stable")]
        storage = STORAGES[tree]
        header = file.trees[tree].header
        for at, found, raw in look(file, tree, asked.entry):
            number = int(asked.name[at])
            if found[kernels.STATUS] != kernels.OK:
                raise refuse(file.path, tree, int(asked.entry[at]), int(found[kernels.STATUS]))
            key = (tree, number, int(found[kernels.BINS]), int(found[kernels.LABELS]))
            if key in self.by_print:
                continue
            try:
                said = describe(raw, storage, header=header)
            except LayoutError as error:
                raise InputError(file.path, f"cannot be read: {error}", tree, int(asked.entry[at])) from error
            sizes = [int(found[column]) for column in (kernels.N, kernels.N_SUMW2, kernels.N_BIN_SUMW2)]
            form = Form(len(self.table), sizes[0], sizes[1] > 0, sizes[2] > 0)
            self.table.append(MEInfo(names[number], storage.name, said.axes, said.title))
            self.by_print[key] = form
            self.first.setdefault((tree, number), form)


def histograms(
    files: dict[int, NanoFile], tree: str, names: list[str], asked: Asked, forms: Forms, threads: int
) -> tuple[Rows, Asked]:
    """Read histograms of one tree.

    Args:
        files: The files by number.
        tree: Name of the tree.
        names: Names by number.
        asked: What to read.
        forms: Forms met so far; new ones are added.
        threads: How many baskets are inflated at a time.

    Returns:
        The rows, ordered by name, run and lumisection, then as the files hold them; and what each is.

    Raises:
        InputError: A basket is damaged, or an entry is not what it should be.
    """
    _first_forms(files, tree, names, asked, forms)
    key = (asked.run.astype(np.uint64) << np.uint64(32)) | asked.lumi
    asked = asked[np.lexsort((key, asked.name))]
    known = [forms.first.get((tree, i)) for i in range(len(names))]
    sizes = np.array([(f.n, f.sumw2, f.bin_sumw2) if f else (0, 0, 0) for f in known], np.int64).reshape(-1, 3)[
        asked.name
    ]
    places = _places(STORAGES[tree], sizes)
    _decode(files, tree, asked, places, threads)
    other = places.found[:, kernels.STATUS] == kernels.OTHER_SIZE
    if other.any():
        # Now the sizes are known: once more, with the right places.
        columns = [kernels.N, kernels.N_SUMW2, kernels.N_BIN_SUMW2]
        told = places.found[:, columns]
        sizes[other] = np.maximum(np.where([True, False, False], 0, sizes[other]), told[other] > 0)
        sizes[other, 0] = told[other, 0]
        places = _places(STORAGES[tree], sizes)
        _decode(files, tree, asked, places, threads)
    bad = np.flatnonzero(places.found[:, kernels.STATUS])
    if len(bad):
        at = int(bad[0])
        path = files[int(asked.file[at])].path
        raise refuse(path, tree, int(asked.entry[at]), int(places.found[at, kernels.STATUS]))
    me = _forms_of(files, tree, names, asked, forms, places)
    return _rows(asked, places, sizes, me), asked


def _first_forms(files: dict[int, NanoFile], tree: str, names: list[str], asked: Asked, forms: Forms) -> None:
    """Look at the first entry of each name that is new."""
    new, at = np.unique(asked.name, return_index=True)
    at = at[[(tree, int(number)) not in forms.first for number in new]]
    for number in np.unique(asked.file[at]):
        forms.learn(files[int(number)], tree, names, asked[at[asked.file[at] == number]])


def _places(storage: Storage, sizes: NDArray[np.int64]) -> Places:
    """Lay out rows one after the other.

    Args:
        storage: Class of the histograms.
        sizes: ``(rows, 3)``: number of contents, whether Σw² and the profile's Σw² are stored.
    """
    n = sizes[:, 0]
    plan = np.full((len(n), 4), -1, np.int64)
    plan[:, 0] = np.cumsum(n) - n
    plan[:, 1] = n
    total = [int(n.sum())]
    for column in (1, 2):
        stored = sizes[:, column] > 0
        mine = np.where(stored, n, 0)
        plan[:, column + 1] = np.where(stored, np.cumsum(mine) - mine, -1)
        total.append(int(mine.sum()))
    bins = total[0] if storage.profile else 0
    found = np.zeros((len(n), 8), np.int64)
    try:
        flats = [np.empty(size, np.float64) for size in (total[1], bins, total[2])]
        return Places(storage, plan, found, np.zeros(len(n)), np.empty(total[0], storage.dtype), *flats)
    except (MemoryError, ValueError) as error:
        message = f"{total[0] * storage.dtype.itemsize / 1e9:.1f} GB of {storage.name} contents do not fit into memory; use iterate"
        raise MemoryError(message) from error


def _decode(files: dict[int, NanoFile], tree: str, asked: Asked, places: Places, threads: int) -> None:
    row = np.arange(len(asked))
    for number in np.unique(asked.file):
        mine = row[asked.file == number] if len(files) > 1 else row
        decode_entries(files[int(number)], tree, asked.entry[mine], mine, places, threads)


def _forms_of(
    files: dict[int, NanoFile], tree: str, names: list[str], asked: Asked, forms: Forms, places: Places
) -> NDArray[np.int32]:
    """Tell for each row which form it has; forms not met before are looked at."""
    bins, labels = places.found[:, kernels.BINS], places.found[:, kernels.LABELS]
    me = np.empty(len(asked), np.int32)
    # Rows are sorted by name: a stretch of one name with equal fingerprints is one form.
    change = np.append(
        True, (asked.name[1:] != asked.name[:-1]) | (bins[1:] != bins[:-1]) | (labels[1:] != labels[:-1])
    )
    begins = np.flatnonzero(change)
    keys = [(tree, int(asked.name[i]), int(bins[i]), int(labels[i])) for i in begins]
    unknown = {key: i for key, i in zip(keys, begins, strict=True) if key not in forms.by_print}
    at = np.array(sorted(unknown.values()), np.intp)
    for number in np.unique(asked.file[at]):
        forms.learn(files[int(number)], tree, names, asked[at[asked.file[at] == number]])
    for key, begin, end in zip(keys, begins, np.append(begins[1:], len(me)), strict=True):
        me[begin:end] = forms.by_print[key].me
    return me


def _rows(asked: Asked, places: Places, sizes: NDArray[np.int64], me: NDArray[np.int32]) -> Rows:
    offsets = np.append(places.plan[:, 0], sizes[:, 0].sum()).astype(np.int64)
    more: dict[str, Any] = {}
    if places.storage.profile:
        more["bin_entries"] = places.bin_entries
    for what, column, count in (("sumw2", 2, kernels.N_SUMW2), ("bin_sumw2", 3, kernels.N_BIN_SUMW2)):
        if np.any(sizes[:, column - 1]):
            more[what] = getattr(places, what)
            # Planned for, but this entry stores none: no place.
            more[what + "_at"] = np.where(places.found[:, count] > 0, places.plan[:, column], -1)
    return Rows(me, asked.run, asked.lumi, places.entries, offsets, places.contents, **more)
