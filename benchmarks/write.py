"""Writes 10,000 histograms in 200 folders: dqmroot, uproot's own way and compiled ROOT side by side; then how dqmroot grows.

Run: python benchmarks/write.py
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import ROOT
import uproot

from dqmroot.io.rootfile.guifile import Item, write_gui_file
from dqmroot.io.rootfile.rootobjects import Histogram
from dqmroot.series import Axis

RUN, FOLDERS, BINS = 297050, 200, 100
COMPILED = """
double write_histograms(const char* path, int n, int folders, const float* contents) {
  TStopwatch watch;
  TH1::AddDirectory(false);
  TFile file(path, "RECREATE", "", 101);
  std::vector<TDirectory*> made;
  for (int i = 0; i < folders; ++i)
    made.push_back(file.mkdir(Form("DQMData/Run 297050/dqmroot/Run summary/folder%d", i)));
  for (int i = 0; i < n; ++i) {
    TH1F h(Form("h%d", i), "a histogram", 100, 0., 1.);
    std::copy_n(contents + 102 * (i % 1000), 102, h.GetArray());
    made[i % folders]->WriteTObject(&h);
  }
  file.Close();
  return watch.RealTime();
}
"""


def dqmroot_way(path: Path, n: int, contents: np.ndarray) -> None:
    axes = (Axis(BINS, 0.0, 1.0),)

    def items() -> Iterator[tuple[str, Item]]:
        for i in range(n):
            yield f"folder{i % FOLDERS}", Histogram(f"h{i}", "TH1F", axes, contents[i % 1000], "a histogram")

    write_gui_file(path, RUN, items())


def uproot_way(path: Path, n: int, contents: np.ndarray) -> None:
    edges = np.linspace(0.0, 1.0, BINS + 1)
    with uproot.recreate(path, compression=uproot.ZLIB(1)) as file:
        for i in range(n):
            name = f"DQMData/Run {RUN}/dqmroot/Run summary/folder{i % FOLDERS}/h{i}"
            file[name] = (contents[i % 1000, 1:-1], edges)


def root_way(path: Path, n: int, contents: np.ndarray) -> None:
    ROOT.write_histograms(str(path), n, FOLDERS, contents.ravel())


def timed(
    write: Callable[[Path, int, np.ndarray], None], path: Path, n: int, contents: np.ndarray, repeats: int
) -> float:
    best = float("inf")
    for _ in range(repeats):
        path.unlink(missing_ok=True)
        start = time.perf_counter()
        write(path, n, contents)
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    ROOT.gInterpreter.Declare(COMPILED)
    contents = np.random.default_rng(1).poisson(10.0, (1000, BINS + 2)).astype(np.float32)
    versions = f"ROOT {ROOT.gROOT.GetVersion()}, uproot {uproot.__version__}"
    print(f"{platform.machine()}, {os.cpu_count()} cores, {versions}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.root"
        dqmroot_way(path, 10, contents), root_way(path, 10, contents)
        print(f"\n10,000 TH1F of {BINS} bins in {FOLDERS} folders, ZLIB 1")
        print(f"{'':16}{'seconds':>10}{'MB':>8}{'µs each':>9}")
        for name, write, repeats in (
            ("dqmroot", dqmroot_way, 3),
            ("compiled ROOT", root_way, 3),
            ("uproot", uproot_way, 1),
        ):
            seconds = timed(write, path, 10_000, contents, repeats)
            print(f"{name:16}{seconds:10.3f}{path.stat().st_size / 1e6:8.2f}{seconds * 100:9.1f}")
        print(f"\ndqmroot, growth\n{'histograms':>12}{'seconds':>10}{'µs each':>9}")
        for n in (1_000, 3_000, 10_000, 30_000, 100_000):
            seconds = timed(dqmroot_way, path, n, contents, 3 if n <= 10_000 else 1)
            print(f"{n:12,}{seconds:10.3f}{seconds / n * 1e6:9.1f}")


if __name__ == "__main__":
    main()
