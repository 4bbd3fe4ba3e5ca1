"""Histograms of polygons (TH2Poly), read through uproot: they are few, and no two of their bytes lie alike.

A TH2Poly becomes one axis that counts its polygons, labelled with their extents; what fell outside of all of them, nine
areas in ROOT, is added up in the underflow bin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import InputError
from dqmroot.io.arrays import Rows
from dqmroot.io.nanodqmio.assemble import Forms
from dqmroot.io.nanodqmio.layout import Description
from dqmroot.io.nanodqmio.plan import Asked
from dqmroot.io.nanodqmio.surepath import Plain, uproot_object
from dqmroot.io.nanodqmio.trees import NanoFile
from dqmroot.series import Axis

__all__ = ["polygon_of", "polygons"]

_OUTSIDE = 9


def polygons(files: dict[int, NanoFile], tree: str, names: list[str], asked: Asked, forms: Forms) -> tuple[Rows, Asked]:
    """Read the TH2Poly that are asked for.

    Returns:
        The rows, ordered by name, run and lumisection, then as the files hold them; and what each is.

    Raises:
        InputError: An entry cannot be read.
    """
    key = (asked.run.astype(np.uint64) << np.uint64(32)) | asked.lumi
    asked = asked[np.lexsort((key, asked.name))]
    made: list[Plain] = []
    for number, entry in zip(asked.file.tolist(), asked.entry.tolist(), strict=True):
        made.append(_read(files[number], tree, entry))
    me = np.array(
        [
            forms.add(tree, int(name), names[name], one.said, one.sizes).me
            for name, one in zip(asked.name, made, strict=True)
        ],
        np.int32,
    )
    sizes = np.array([len(one.contents) for one in made], np.int64)
    squares = np.array([len(one.sumw2) for one in made], np.int64)
    rows = Rows(
        me,
        asked.run,
        asked.lumi,
        np.array([one.entries for one in made]),
        np.append(0, np.cumsum(sizes)),
        np.concatenate([one.contents for one in made]),
    )
    if not squares.any():
        return rows, asked
    at = np.where(squares > 0, np.cumsum(squares) - squares, -1)
    flat = np.concatenate([one.sumw2 for one in made])
    return Rows(rows.me, rows.run, rows.lumi, rows.entries, rows.offsets, rows.contents, flat, at), asked


def _read(file: NanoFile, tree: str, entry: int) -> Plain:
    made = uproot_object(file, tree, entry)
    try:
        return polygon_of(made)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(file.path, f"is not laid out as ROOT writes it: {error}", tree, entry) from error


def polygon_of(made: Any) -> Plain:
    """Turn uproot's TH2Poly into plain arrays.

    Raises:
        ValueError: It has squared weights for another number of bins.
        Exception: Whatever uproot raises where it lacks a member.
    """
    bins = sorted((one for one in made.member("fBins")), key=lambda one: int(one.member("fNumber")))
    outside = np.asarray(made.member("fOverflow"), np.float64)
    contents = _with_outside(np.array([float(one.member("fContent")) for one in bins]), outside)
    stored = np.asarray(made.member("fSumw2"), np.float64)
    # ROOT puts the nine areas outside before the polygons.
    inside = stored[_OUTSIDE : _OUTSIDE + len(bins)]
    sumw2 = _with_outside(inside, stored[:_OUTSIDE]) if len(stored) else stored
    axis = Axis(len(bins), 0.5, len(bins) + 0.5, None, tuple(map(_extent, bins)), "polygon")
    plain = Plain(Description(str(made.member("fTitle")), (axis,)), float(made.member("fEntries")), contents, sumw2)
    if len(sumw2) not in {0, len(contents)}:
        raise ValueError(f"{len(sumw2)} squared weights for {len(contents)} bins")
    return plain


def _with_outside(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([[outside.sum()], inside, [0.0]])


def _extent(one: Any) -> str:
    low_x, high_x, low_y, high_y = (one.member(name) for name in ("fXmin", "fXmax", "fYmin", "fYmax"))
    return f"{low_x:g}..{high_x:g}, {low_y:g}..{high_y:g}"
