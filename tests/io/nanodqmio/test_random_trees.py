"""Random trees, written by ROOT and read back; and damaged ones."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rootfiles
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nanochecks import check, fill

import dqmroot as dq
from dqmroot.errors import DQMWarning

CLASSES = ["TH1F", "TH1S", "TH1D", "TH1I", "TH2F", "TH2S", "TH2D", "TH2I", "TH3F", "TProfile", "TProfile2D"]
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0;#", exclude_categories=["Cs"]), max_size=12)
LIMITS = st.tuples(st.floats(-1e3, 1e3), st.floats(1e-2, 1e3)).map(lambda pair: (pair[0], pair[0] + pair[1]))
AXIS = st.fixed_dictionaries(
    {
        "bins": st.integers(1, 9),
        "limits": LIMITS,
        "variable": st.booleans(),
        "labels": st.dictionaries(st.integers(1, 9), TEXT.filter(bool), max_size=3),
        "title": TEXT,
    }
)
HISTOGRAM = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(CLASSES),
        "axes": st.lists(AXIS, min_size=3, max_size=3),
        "title": TEXT,
        "sumw2": st.booleans(),
        "weighted": st.booleans(),
        "fills": st.integers(0, 60),
        "functions": st.booleans(),
    }
)
FILE = st.fixed_dictionaries(
    {
        "histograms": st.lists(HISTOGRAM, min_size=1, max_size=6),
        "lumis": st.lists(st.tuples(st.integers(1, 3), st.integers(0, 5)), min_size=1, max_size=8, unique=True),
        "present": st.integers(0, 2**16),
        "buffered": st.integers(0, 2**16),
        "codec": st.sampled_from([0, 101, 109, 207, 404, 505]),
        "basket": st.sampled_from([200, 3000, 128 * 1024]),
        "flush": st.sampled_from([0, 2, -1000]),
    }
)


def build(ROOT: Any, said: dict[str, Any], name: str, seed: int, *, buffered: bool = False) -> Any:
    kind = said["kind"]
    dimensions = 2 if kind == "TProfile2D" else 1 if kind == "TProfile" else int(kind[2])
    axes = said["axes"][:dimensions]
    limits: list[Any] = []
    for axis in axes:
        low, high = axis["limits"]
        variable = axes[0]["variable"]
        edges = low + (high - low) * np.linspace(0, 1, axis["bins"] + 1) ** 2
        limits += [axis["bins"], edges] if variable else [axis["bins"], low, high]
    h = getattr(ROOT, kind)(name, said["title"], *limits)
    for axis, root in zip(axes, (h.GetXaxis(), h.GetYaxis(), h.GetZaxis()), strict=False):
        root.SetTitle(axis["title"])
        for number, label in axis["labels"].items():
            if number <= axis["bins"]:
                root.SetBinLabel(number, label)
    if said["sumw2"]:
        h.Sumw2()
    if said["functions"]:
        line = ROOT.TLine(0, 0, 1, 1)
        ROOT.SetOwnership(line, False)
        h.GetListOfFunctions().Add(line)
    if buffered:
        h.SetBuffer(1000)
    return fill(ROOT, h, seed, weighted=said["weighted"], n=said["fills"])


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(said=FILE)
def test_random_trees_equal_root(tmp_path: Path, said: dict[str, Any]) -> None:
    ROOT = rootfiles.root()
    path = tmp_path / "random.root"
    wanted = 0
    with rootfiles.writer(path, said["codec"]) as out:
        for name in rootfiles.TABLES[14][3:]:
            out.trees[name].GetBranch("Value").SetBasketSize(said["basket"])
            if said["flush"]:
                out.trees[name].SetAutoFlush(said["flush"])
        made = [build(ROOT, one, f"h{i}", i) for i, one in enumerate(said["histograms"])]
        # An axis with labels grows when a buffer is emptied, and is refused: see test_read.py.
        kept = [
            build(ROOT, one, f"h{i}", i, buffered=not any(axis["labels"] for axis in one["axes"]))
            for i, one in enumerate(said["histograms"])
        ]
        for k, (run, lumi) in enumerate(said["lumis"]):
            out.begin(run, lumi)
            for i, h in enumerate(made):
                if not said["present"] >> ((5 * k + i) % 16) & 1:
                    out.add(f"Folder/h{i}", kept[i] if said["buffered"] >> ((3 * k + i) % 16) & 1 else h)
                    wanted += 1
            out.end()
    if wanted:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DQMWarning)
            assert check(path) == wanted
    else:
        assert len(dq.arrays(path, scope="all")) == 0


@pytest.fixture(scope="module")
def fuzz() -> Any:
    path = Path(__file__).parents[3] / "benchmarks" / "fuzz_nanodqmio.py"
    spec = importlib.util.spec_from_file_location("fuzz_nanodqmio", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_give_right_data_or_one_error(fuzz: Any, tmp_path: Path, seed: int) -> None:
    paths = fuzz.make(tmp_path)
    originals = [path.read_bytes() for path in paths]
    rights = [fuzz.read_all(path) for path in paths]
    mutant = tmp_path / "mutant.root"
    ends = []
    for i in range(40):
        random = np.random.default_rng([99 + seed, i])
        which = int(random.integers(0, len(paths)))
        kind, raw = fuzz.mutate(originals[which], random)
        mutant.write_bytes(raw)
        protected = paths[which].stem in {"zlib", "lzma", "lz4"} and kind != "repack"
        ends.append(fuzz.judge(fuzz.read_all(mutant), rights[which], protected))
    assert set(ends) == {"data", "error"}
