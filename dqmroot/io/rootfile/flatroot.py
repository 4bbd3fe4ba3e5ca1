"""Flat per-LS ROOT files: one histogram per element and LS at the top of the file, ``run<run>_ls<ls>_<name>``.

In the name of a key each ``/`` of the element's name is a ``_``. Files written here keep the full name as the title.
"""

from __future__ import annotations

import re

import numpy as np

from dqmroot.io.nanodqmio.plan import Query
from dqmroot.io.rootfile.objects import KINDS, Picks
from dqmroot.io.rootfile.rootdir import Keys

__all__ = ["flat_key", "is_flat", "pick_flat"]

_KEY = re.compile(r"run(\d{1,10})_ls(\d{1,10})_(.+)", re.DOTALL)


def flat_key(me: str, run: int, lumi: int) -> str:
    """Return the key of one element in one LS."""
    return f"run{run}_ls{lumi}_{me.replace('/', '_')}"


def is_flat(keys: Keys) -> bool:
    """Tell whether the keys at the top of a file are those of a flat file."""
    return any(kind in KINDS and _KEY.fullmatch(name) for kind, name in zip(keys.kind, keys.name, strict=True))


def pick_flat(keys: Keys, query: Query) -> Picks:
    """Choose the histograms of a flat file that are asked for."""
    found = []
    for i, (kind, key, title) in enumerate(zip(keys.kind, keys.name, keys.title, strict=True)):
        match = _KEY.fullmatch(key) if kind in KINDS and not keys.folder[i] else None
        if match and int(match[1]) < 2**32 and int(match[2]) < 2**32:
            name = title if title.replace("/", "_") == match[3] else match[3]
            found.append((i, int(match[1]), int(match[2]), name))
    takes = query.takes([name for *_, name in found])
    run, lumi = (np.array([row[column] for row in found], np.uint32) for column in (1, 2))
    keep = takes & query.scoped(lumi) & query.selection.contains(run, lumi)
    chosen = [found[i] for i in np.flatnonzero(keep)]
    number: dict[str, int] = {}
    me = np.array([number.setdefault(name, len(number)) for *_, name in chosen], np.int32)
    classes = list(KINDS)
    at = np.array([row[0] for row in chosen], np.int64)
    kind_code = np.array([classes.index(keys.kind[i]) for i in at.tolist()], np.int64)
    return Picks(keys.place[at], kind_code, classes, list(number), me, run[keep], lumi[keep])
