"""From entries asked for to rows: plan where each number goes, decode, and tell forms of one monitoring element apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import InputError
from dqmroot.io.arrays import MEInfo, Rows
from dqmroot.io.nanodqmio.decode import Places, decode_entries, look, refuse
from dqmroot.io.nanodqmio.layout import STORAGES, Description, LayoutError, Storage, describe
from dqmroot.io.nanodqmio.plan import Asked
from dqmroot.io.nanodqmio.surepath import Plain, read_surely
from dqmroot.io.nanodqmio.trees import NanoFile
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
        of: The forms of each (tree, name), in the order met.
        by_print: Forms by (tree, name, fingerprint of bins, of labels).
        growing: Places in ``table`` of those whose axes may all grow.
    """

    table: list[MEInfo] = field(default_factory=list)
    of: dict[tuple[str, int], list[Form]] = field(default_factory=dict)
    by_print: dict[tuple[str, int, int, int], Form] = field(default_factory=dict)
    growing: set[int] = field(default_factory=set)

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
            key = (tree, number, int(found[kernels.BINS]), int(found[kernels.LABELS]))
            if found[kernels.STATUS] == kernels.OK and key in self.by_print:
                continue
            if found[kernels.STATUS] != kernels.OK:
                plain = plainly(file, tree, int(asked.entry[at]), raw, int(found[kernels.STATUS]))
                self.add(tree, number, names[number], plain.said, plain.sizes)
                continue
            try:
                said = describe(raw, storage, header=header)
            except LayoutError as error:
                raise InputError(file.path, f"cannot be read: {error}", tree, int(asked.entry[at])) from error
            sizes = [int(found[column]) for column in (kernels.N, kernels.N_SUMW2, kernels.N_BIN_SUMW2)]
            self.by_print[key] = self.add(tree, number, names[number], said, (sizes[0], sizes[1] > 0, sizes[2] > 0))

    def add(self, tree: str, number: int, name: str, said: Description, sizes: tuple[int, bool, bool]) -> Form:
        """Return the form with these axes, a new one where there is none yet."""
        known = self.of.setdefault((tree, number), [])
        form = next((form for form in known if self.table[form.me].axes == said.axes), None)
        if form is None:
            form = Form(len(self.table), *sizes)
            self.table.append(MEInfo(name, tree[:-1], said.axes, said.title))
            known.append(form)
            if said.grows and all(said.grows):
                self.growing.add(form.me)
        return form


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
    known = [forms.of.get((tree, i)) for i in range(len(names))]
    sizes = np.array([(f[0].n, f[0].sumw2, f[0].bin_sumw2) if f else (0, 0, 0) for f in known], np.int64).reshape(
        -1, 3
    )[asked.name]
    places = _places(STORAGES[tree], sizes)
    _decode(files, tree, asked, places, threads)
    plain = _read_plainly(files, tree, asked, places)
    other = places.found[:, kernels.STATUS] == kernels.OTHER_SIZE
    if other.any() or plain:
        # Now the sizes are known: once more, with the right places.
        told = places.found[:, [kernels.N, kernels.N_SUMW2, kernels.N_BIN_SUMW2]]
        sizes[other, 0] = told[other, 0]
        sizes[other, 1:] |= told[other, 1:] > 0
        for row, one in plain.items():
            sizes[row] = one.sizes
        places = _places(STORAGES[tree], sizes)
        _decode(files, tree, asked, places, threads)
        bad = [row for row in np.flatnonzero(places.found[:, kernels.STATUS]).tolist() if row not in plain]
        if bad:
            raise refuse(
                files[int(asked.file[bad[0]])].path, tree, int(asked.entry[bad[0]]), int(places.found[bad[0], 0])
            )
    me = _forms_of(files, tree, names, asked, forms, places)
    for row, one in plain.items():
        me[row] = forms.add(tree, int(asked.name[row]), names[asked.name[row]], one.said, one.sizes).me
        _put(places, row, one)
    return _rows(asked, places, sizes, me), asked


def plainly(file: NanoFile, tree: str, entry: int, raw: bytes, status: int) -> Plain:
    """Read an entry that the kernels refused in the slow way, where there is one.

    Raises:
        InputError: There is none, or it fails too.
    """
    if status not in {kernels.LAYOUT, kernels.COUNT, kernels.BUFFERED}:
        raise refuse(file.path, tree, entry, status)
    return read_surely(file, tree, entry, raw, STORAGES[tree], buffered=status == kernels.BUFFERED)


def _read_plainly(files: dict[int, NanoFile], tree: str, asked: Asked, places: Places) -> dict[int, Plain]:
    """Read every row that the kernels refused in the slow way."""
    status = places.found[:, kernels.STATUS]
    rows = np.flatnonzero((status != kernels.OK) & (status != kernels.OTHER_SIZE))
    out: dict[int, Plain] = {}
    for number in np.unique(asked.file[rows]):
        mine = rows[asked.file[rows] == number]
        mine = mine[np.argsort(asked.entry[mine], kind="stable")]
        file = files[int(number)]
        for at, _, raw in look(file, tree, asked.entry[mine]):
            row = int(mine[at])
            out[row] = plainly(file, tree, int(asked.entry[row]), raw, int(status[row]))
    return out


def _put(places: Places, row: int, one: Plain) -> None:
    """Write a histogram that was read the slow way to its places."""
    at, n, at_sumw2, at_bin_sumw2 = places.plan[row].tolist()
    places.entries[row] = one.entries
    places.contents[at : at + n] = one.contents
    places.found[row, [kernels.N_SUMW2, kernels.N_BIN_SUMW2]] = one.sizes[1:]
    if at_sumw2 >= 0:
        places.sumw2[at_sumw2 : at_sumw2 + n] = one.sumw2
    if one.bin_entries is not None:
        places.bin_entries[at : at + n] = one.bin_entries
    if one.bin_sumw2 is not None and at_bin_sumw2 >= 0:
        places.bin_sumw2[at_bin_sumw2 : at_bin_sumw2 + n] = one.bin_sumw2


def _first_forms(files: dict[int, NanoFile], tree: str, names: list[str], asked: Asked, forms: Forms) -> None:
    """Look at the first entry of each name that is new."""
    new, at = np.unique(asked.name, return_index=True)
    at = at[[(tree, int(number)) not in forms.of for number in new]]
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
    good = places.found[:, kernels.STATUS] == kernels.OK
    # Rows are sorted by name: a stretch of one name with equal fingerprints is one form. What was read the slow way, as
    # a histogram whose buffer was never emptied, is no part of it: its form is told by whoever read it.
    told = (asked.name, bins, labels, good)
    change = np.append(True, np.any([column[1:] != column[:-1] for column in told], axis=0))
    begins = np.flatnonzero(change)
    keys = [(tree, int(asked.name[i]), int(bins[i]), int(labels[i])) for i in begins]
    unknown = {key: i for key, i in zip(keys, begins, strict=True) if good[i] and key not in forms.by_print}
    at = np.array(sorted(unknown.values()), np.intp)
    for number in np.unique(asked.file[at]):
        forms.learn(files[int(number)], tree, names, asked[at[asked.file[at] == number]])
    for key, begin, end in zip(keys, begins, np.append(begins[1:], len(me)), strict=True):
        me[begin:end] = forms.by_print[key].me if good[begin] else -1
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
