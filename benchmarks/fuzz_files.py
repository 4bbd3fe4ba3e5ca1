"""Mutate the other files that dqmroot reads, and read them: each gives data or one error; nothing crashes, hangs or eats memory.

DQM GUI files, flat ROOT files, tables in csv and parquet, series and cubes in HDF5, and the JSON and csv that tell which
lumisections count are written, damaged like the files of `fuzz_nanodqmio.py` (texts also word by word), and read.

HDF5's own library loops for ever on some damaged files (seen in about 1 of 100 of ``series.h5``): such an end is listed, too.

    python benchmarks/fuzz_files.py --files 20000 --seed 1
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import fuzz_nanodqmio as fuzz

TEXTS = [
    b"",
    b"nan",
    b"-1",
    b"1e999",
    b"[",
    b"]",
    b"[[",
    b"{",
    b'"',
    b",",
    b"\xff",
    b"np.int64(",
    b"null",
    b"9" * 400,
    b"TH9Q",
]


def make(folder: Path) -> None:
    """Write one or more files of each kind."""
    import rootfiles

    ROOT = rootfiles.root()
    for codec, setting in {"none": 0, "zlib": 101, "lzma": 207, "lz4": 404, "zstd": 505}.items():
        _gui(ROOT, folder / f"gui-{codec}.root", setting)
        _flat(ROOT, folder / f"flat-{codec}.root", setting)
    import dqmroot as dq

    dq.write_series(folder / "series.h5", list(dq.arrays(folder / "flat-zlib.root").all_series()))
    _cubes(folder / "cubes_run1.hdf5")
    _tables(folder)
    dq.extract(folder / "flat-zlib.root", None, folder / "series.parquet")
    from dqmroot.io.tables.scores import write_scores
    from dqmroot.scores import ScoreTable

    n = 50
    scores = ScoreTable(
        np.ones(n, np.uint32), np.arange(1, n + 1, dtype=np.uint32), np.full(n, "Folder/one"), np.linspace(0, 1, n),
        np.full(n, 0.5), np.repeat([0, 1], n // 2).astype(np.int8),
    )  # fmt: skip
    for suffix in ("csv", "h5", "parquet"):
        write_scores(folder / f"scores.{suffix}", scores)
    mask = {"1": [[1, 20], [30, 40]], "297050": [[-1]], "5": [[7, 7]]}
    (folder / "mask.json").write_text(json.dumps(mask))
    (folder / "references.json").write_text(json.dumps([{"run_number": 5, "reference_run_number": 3}]))
    rows = [
        {"attributes": {"run_number": 1, "lumisection_number": i, "pileup": 30.5 + i, "rpc_ready": True}}
        for i in range(9)
    ]
    (folder / "conditions.json").write_text(json.dumps({"data": rows}))
    (folder / "conditions.csv").write_text("run,lumi,pileup,on\n" + "".join(f"1,{i},{i / 3},true\n" for i in range(9)))


def _gui(ROOT: Any, path: Path, setting: int) -> None:
    file = ROOT.TFile(str(path), "RECREATE", "", setting)
    file.mkdir("DQMData").mkdir("Run 1").mkdir("Hcal").mkdir("Run summary").mkdir("Folder").cd()
    for h in fuzz.histograms(ROOT):
        h.SetDirectory(ROOT.nullptr)
        h.Write()
    for text in (
        "<i>i=3</i>",
        "<f>f=0.5</f>",
        "<s>s=text</s>",
        "<oneF.t>qr=st:300:0.5:A:m</oneF.t>",
        "<prof>e=1</prof>",
    ):
        ROOT.TObjString(text).Write()
    file.Close()


def _flat(ROOT: Any, path: Path, setting: int) -> None:
    file = ROOT.TFile(str(path), "RECREATE", "", setting)
    for lumi in (1, 2):
        for h in fuzz.histograms(ROOT):
            h.SetDirectory(ROOT.nullptr)
            h.Write(f"run1_ls{lumi}_Folder_{h.GetName()}")
    file.Close()


def _cubes(path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        for depth in (1, 2):
            data = np.arange(5 * 6 * 4, dtype=np.float32).reshape(5, 6, 4)
            file.create_dataset(f"depth{depth}", data=data, chunks=(2, 6, 4), compression="gzip")


def _tables(folder: Path) -> None:
    import pandas as pd

    rows = []
    for lumi in range(1, 6):
        for name, kind, code, nx, ny in (("one", "TH1F", 3, 4, 1), ("two", "TH2F", 6, 3, 2)):
            cells = (nx + 2) * (ny + 2 if ny > 1 else 1)
            rows.append(
                {
                    "fromrun": 1, "fromlumi": lumi, "hname": name, "metype": code, "histo": list(range(cells)), "entries": 9,
                    "Xmax": 1.0, "Xmin": 0.0, "Xbins": nx, "Ymax": 1.0, "Ymin": 0.0, "Ybins": ny,
                }
            )  # fmt: skip
            assert kind
    frame = pd.DataFrame(rows)
    frame.to_csv(folder / "table.csv")
    frame.to_parquet(folder / "table.parquet")
    runs = {"run_number": range(6), "label": [0, 1] * 3, "one": [[1.0, 2.0, 3.0]] * 6, "two": [[[1.0, 2.0]] * 4] * 6}
    pd.DataFrame(runs).to_parquet(folder / "autodqm.parquet")


def words_of_text(raw: bytearray, random: np.random.Generator) -> None:
    """Put odd words in the place of others."""
    for _ in range(random.integers(1, 4)):
        cuts = [i for i, byte in enumerate(raw) if byte in b',:[]{} "\n']
        if len(cuts) < 2:
            return
        at = int(random.integers(0, len(cuts) - 1))
        raw[cuts[at] + 1 : cuts[at + 1]] = TEXTS[random.integers(0, len(TEXTS))]


def mutate(path: Path, original: bytes, random: np.random.Generator) -> tuple[str, bytes]:
    """Damage a file in a way that suits it."""
    raw = bytearray(original)
    text = path.suffix in {".csv", ".json"}
    if text and random.random() < 0.5:
        words_of_text(raw, random)
        return "words_of_text", bytes(raw)
    if text or path.suffix != ".root":
        ways = [fuzz.flips, fuzz.words, fuzz.cut, fuzz.splice, fuzz.shift] if len(raw) > 200 else [fuzz.flips, fuzz.cut]
        way = ways[random.integers(0, len(ways))]
        way(raw, random)
        return way.__name__, bytes(raw)
    return fuzz.mutate(original, random)


def read(path: Path) -> str:
    """Read one file in every way that there is for it; return how it ended."""
    import warnings

    from dqmroot.errors import InputError, UsageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _reader(path)(path)
        except (InputError, UsageError) as error:
            told = error
        else:
            return "data"
    text = str(told)
    assert "\n" not in text, text
    assert str(path) in text or not isinstance(told, InputError), text
    return "error"


def _reader(path: Path) -> Callable[[Path], object]:
    import dqmroot as dq
    from dqmroot.io.tables.scores import read_scores
    from dqmroot.runs import RunMask, read_reference_runs

    stem = path.name.removeprefix("mutant-")
    if stem.startswith("mask"):
        return RunMask.from_json
    if stem.startswith("references"):
        return read_reference_runs
    if stem.startswith("conditions"):
        return dq.read_conditions
    return read_scores if stem.startswith("scores") else _all_series


def _all_series(path: Path) -> None:
    import dqmroot as dq

    made = dq.arrays(path, scope="all", threads=1)
    for me in made.all_series():
        n = int(np.prod(me.contents.shape[1:], dtype=np.int64))
        assert n == int(np.prod([axis.nbins + 2 for axis in me.axes], dtype=np.int64))
        assert len(me.run) == len(me.lumi) == len(me.entries) == len(me.contents)


def work(folder: Path, seed: int, begin: int, end: int) -> None:
    """Read the files from ``begin`` to ``end``; the number of each is printed before it is tried."""
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    originals = [path.read_bytes() for path in paths]
    scratch = Path(tempfile.mkdtemp(dir=folder))
    for path in paths:  # this compiles everything, too
        assert read(path) == "data", path
    fuzz.limited()
    for i in range(begin, end):
        random = np.random.default_rng([seed, i])
        # As many of each kind: the ROOT files come in five codecs.
        kinds = sorted({path.name.split("-")[0] for path in paths})
        kind = kinds[random.integers(0, len(kinds))]
        mine = [k for k, path in enumerate(paths) if path.name.split("-")[0] == kind]
        which = mine[random.integers(0, len(mine))]
        way, raw = mutate(paths[which], originals[which], random)
        mutant = scratch / f"mutant-{paths[which].name}"
        mutant.write_bytes(raw)
        fuzz.attempt(i, f"{kind}/{way}", lambda mutant=mutant: read(mutant))  # type: ignore[misc]


if __name__ == "__main__":
    sys.exit(fuzz.main(__file__, make, work))
