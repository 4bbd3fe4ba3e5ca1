"""Scores as a TTree, for RDataFrame and everyone who has no dqmroot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray

from dqmroot.files import whole_file
from dqmroot.io.rootfile.rootwrite import encoded

__all__ = ["write_score_tree"]

# What "string" means; awkward takes longer to parse that word than the rows take to be written.
_TEXT = ak.types.ListType(
    ak.types.NumpyType("uint8", parameters={"__array__": "char"}), parameters={"__array__": "string"}
)


class _Scores(Protocol):
    @property
    def me(self) -> str: ...
    @property
    def run(self) -> NDArray[np.uint32]: ...
    @property
    def lumi(self) -> NDArray[np.uint32]: ...
    @property
    def score(self) -> NDArray[np.float64]: ...
    @property
    def flag(self) -> NDArray[np.int8]: ...
    @property
    def threshold(self) -> float: ...


def write_score_tree(path: str | os.PathLike[str], results: Sequence[_Scores]) -> Path:
    """Write the tree ``scores``: one row per ME, run and LS.

    Branches: ``run``, ``lumi`` (uint32), ``me`` (int32, the number of the ME), ``name`` (text, its name), ``score``,
    ``threshold`` (float64, NaN where there is none) and ``flag`` (int32: 1 bad, 0 good, -1 not judged).

    Raises:
        OutputError: The file cannot be written.
    """
    number = [np.full(len(result.run), index, np.int32) for index, result in enumerate(results)]
    columns = {
        "run": _joined([result.run for result in results], np.uint32),
        "lumi": _joined([result.lumi for result in results], np.uint32),
        "me": _joined(number, np.int32),
        "score": _joined([result.score for result in results], np.float64),
        "threshold": _joined([np.full(len(r.run), r.threshold) for r in results], np.float64),
        "flag": _joined([result.flag for result in results], np.int32),
    }
    names = ak.Array([encoded(result.me).decode() for result in results])
    with whole_file(path) as temporary, uproot.recreate(temporary, compression=uproot.ZLIB(1)) as file:
        types: dict[str, object] = {key: column.dtype for key, column in columns.items()}
        tree = file.mktree("scores", {**types, "name": _TEXT}, title="dqmroot scores")
        if len(columns["run"]):
            tree.extend({**columns, "name": names[columns["me"]]})
    return Path(path)


def _joined(parts: Sequence[NDArray[np.generic]], dtype: type) -> NDArray[np.generic]:
    return np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype)
