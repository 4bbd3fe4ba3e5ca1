"""How fast nanoDQMIO files are read: dqmroot beside ROOT's own compiled loop, stock uproot, and bare inflation.

Every way hands over the same: contents with flow bins, full names, run, LS and entries of every histogram. All ways run in
turn in one go, each several times; the best of each counts. ROOT's loop is compiled by g++ -O2 against ROOT's libraries.

    python benchmarks/make_nanodqmio.py large.root
    python benchmarks/read.py large.root
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import deflate
import numpy as np

import dqmroot as dq
from dqmroot.io.baskets import Baskets, unpack
from dqmroot.io.inflate import Inflater
from dqmroot.io.nanodqmio import open_file

LOOP = r"""
#include <chrono>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>
#include "TFile.h"
#include "TTree.h"
#include "TH1.h"
#include "TH2.h"
struct Out { std::vector<float> contents; std::vector<size_t> ends; std::vector<std::string> names; std::vector<unsigned> run, lumi;
             std::vector<double> entries; };
template <class H> void loop(TFile& f, const char* name, unsigned wanted, Out& out) {
  TTree* t = (TTree*)f.Get(name);
  TTree* ind = (TTree*)f.Get("Indices");
  unsigned run, lumi, type; ULong64_t first, last;
  ind->SetBranchAddress("Run", &run); ind->SetBranchAddress("Lumi", &lumi); ind->SetBranchAddress("Type", &type);
  ind->SetBranchAddress("FirstIndex", &first); ind->SetBranchAddress("LastIndex", &last);
  H* h = nullptr; std::string* n = nullptr;
  t->SetBranchAddress("Value", &h); t->SetBranchAddress("FullName", &n);
  t->SetBranchStatus("Flags", false);
  for (Long64_t b = 0; b < ind->GetEntries(); ++b) {
    ind->GetEntry(b);
    if (type != wanted) continue;
    for (ULong64_t i = first; i <= last; ++i) {
      t->GetEntry(i);
      out.contents.insert(out.contents.end(), h->fArray, h->fArray + h->fN);
      out.ends.push_back(out.contents.size()); out.names.push_back(*n);
      out.run.push_back(run); out.lumi.push_back(lumi); out.entries.push_back(h->GetEntries());
    }
  }
}
int main(int, char** argv) {
  TH1::AddDirectory(false);
  for (int k = 0; k < std::stoi(argv[2]); ++k) {
    auto wall = std::chrono::steady_clock::now(); auto cpu = std::clock();
    { TFile f(argv[1]); Out out; loop<TH1F>(f, "TH1Fs", 3, out); loop<TH2F>(f, "TH2Fs", 6, out);
      double sum = 0; for (double e : out.entries) sum += e;
      std::fprintf(stderr, "%zu histograms, entries %.0f\n", out.names.size(), sum); }
    std::printf("[%g, %g]\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - wall).count(),
                double(std::clock() - cpu) / CLOCKS_PER_SEC);
  }
}
"""

Times = tuple[float, float]


def clock(function: Callable[[], Any]) -> Times:
    """Wall and processor seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def best(times: list[Times]) -> Times:
    """The least wall time, and the least processor time."""
    return min(t[0] for t in times), min(t[1] for t in times)


def compile_root(folder: Path) -> Path | None:
    """Compile ROOT's loop; ``None`` where there is no compiler or no ROOT."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    ask = "import ROOT; print(ROOT.TROOT.GetIncludeDir()); print(ROOT.TROOT.GetLibDir())"
    told = subprocess.run([sys.executable, "-W", "ignore", "-c", ask], capture_output=True, text=True, check=False)
    if compiler is None or told.returncode:
        return None
    include, lib = told.stdout.split("\n")[:2]
    (folder / "loop.cc").write_text(LOOP)
    program = folder / "loop"
    command = [
        compiler,
        "-O2",
        "-std=c++20",
        "-I",
        include,
        folder / "loop.cc",
        "-o",
        program,
        "-L",
        lib,
        f"-Wl,-rpath,{lib}",
    ]
    libraries = ["-lCore", "-lRIO", "-lTree", "-lHist", "-lMathCore", "-lThread", "-lNet"]
    done = subprocess.run([*command, *libraries], capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr[:2000], file=sys.stderr)
        return None
    return program


def frames(path: Path) -> Iterator[tuple[bytes, int]]:
    """Every compressed frame of the values (ZLIB only), and its inflated size."""
    file = open_file(str(path))
    for tree in file.trees.values():
        for raw in tree.values.load(file.source, range(len(tree.values))):
            assert raw is not None
            at = int.from_bytes(raw[14:16], "big")
            while at < len(raw):
                size = int.from_bytes(raw[at + 3 : at + 6], "little")
                yield raw[at + 9 : at + 9 + size], int.from_bytes(raw[at + 6 : at + 9], "little")
                at += 9 + size


def uproot_fixed(path: Path, tree: str, entries: int) -> Any:
    """Stock uproot on some entries, the missing header of TH1 trees mended (it cannot read them otherwise)."""
    import uproot

    with uproot.open(path) as file:
        branch = file[tree]["Value"]
        interpretation = None
        if branch.classname == "TBranchElement":
            model = file.file.class_named(branch.member("fClassName"), 3)
            fixed = type(model.__name__, (model,), {"read_numbytes_version": _no_header})
            interpretation = uproot.interpretation.objects.AsObjects(fixed, branch)
        objects = branch.array(interpretation, library="np", entry_stop=entries)
        names = file[tree]["FullName"].array(library="np", entry_stop=entries)
        return [o.values(flow=True) for o in objects], names


def _no_header(self: Any, *_: Any) -> None:
    self._num_bytes, self._instance_version, self._is_memberwise = None, 3, False


def inflate_baskets(file: Any, which: dict[str, Any]) -> None:
    """Read and inflate some baskets, and nothing else."""
    inflater = Inflater()
    for tree, numbers in which.items():
        baskets: Baskets = file.trees[tree].values
        for number in numbers:
            raw = baskets.load(file.source, [number])[0]
            assert raw is not None
            unpack(raw, inflater)


def table(rows: list[tuple[str, Times]], unit: Times) -> None:
    width = max(len(name) for name, _ in rows)
    print(f"{'':{width}}   wall s    CPU s   wall / ROOT   CPU / zlib")
    for name, (wall, cpu) in rows:
        print(f"{name:{width}} {wall:8.3f} {cpu:8.3f}   {wall / unit[0]:11.3f}   {cpu / unit[1]:10.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument(
        "--uproot", type=int, default=1000, help="entries per tree that stock uproot reads; 0: leave it out"
    )
    arguments = parser.parse_args()
    path, repeat = arguments.path, arguments.repeat

    data = list(frames(path))
    print(
        f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {sum(n for _, n in data) / 1e6:.0f} MB inflated, {len(data)} frames"
    )
    made = dq.arrays(path, scope="all")
    print(
        f"{sum(len(rows) for rows in made.rows.values())} histograms of {len(made.names)} monitoring elements, "
        f"entries {sum(rows.entries.sum() for rows in made.rows.values()):.0f}"
    )
    del made
    ways: dict[str, Callable[[], Any]] = {
        "inflate only, zlib": lambda: [zlib.decompress(d, bufsize=n) for d, n in data],
        "inflate only, libdeflate": lambda: [deflate.zlib_decompress(d, n) for d, n in data],
        "dqmroot, 1 thread": lambda: dq.arrays(path, scope="all", threads=1),
        "dqmroot, 2 threads": lambda: dq.arrays(path, scope="all", threads=2),
    }
    times: dict[str, list[Times]] = {"ROOT, compiled": [], **{name: [] for name in ways}}
    with tempfile.TemporaryDirectory() as folder:
        program = compile_root(Path(folder))
        for _ in range(repeat):
            if program:
                done = subprocess.run([program, path, "1"], capture_output=True, text=True, check=True)
                wall, cpu = json.loads(done.stdout)
                times["ROOT, compiled"].append((wall, cpu))
            for name, way in ways.items():
                times[name].append(clock(way))
    if not program:
        del times["ROOT, compiled"]
    rows = [(name, best(t)) for name, t in times.items()]
    reference = dict(rows).get("ROOT, compiled", (float("nan"),))[0]
    if arguments.uproot:
        file = open_file(str(path))
        for tree in file.trees:
            n = min(arguments.uproot, len(file.trees[tree]))
            wall, cpu = clock(lambda tree=tree, n=n: uproot_fixed(path, tree, n))  # type: ignore[misc]
            scale = len(file.trees[tree]) / n
            rows.append((f"uproot, {tree} (from {n} entries)", (wall * scale, cpu * scale)))
    table(rows, (reference, dict(rows)["inflate only, zlib"][1]))
    one_me(path, repeat)


def one_me(path: Path, repeat: int) -> None:
    """One monitoring element over all LS, beside inflating the baskets that hold it and the index."""
    file = open_file(str(path))
    print("\none monitoring element over all LS, 1 thread")
    rows = []
    for tree, branch in file.trees.items():
        names, ids = file.names(tree)
        entry = np.flatnonzero(ids == len(names) // 2)
        numbers = np.unique(np.searchsorted(branch.values.first, entry, side="right") - 1)

        def bare(tree: str = tree, numbers: Any = numbers) -> None:
            again = open_file(str(path))
            for other in again.trees:
                again.names(other)
            inflate_baskets(again, {tree: numbers})

        way = names[len(names) // 2]
        a = best([clock(bare) for _ in range(repeat)])
        b = best([clock(lambda way=way: dq.read(path, way, scope="all", threads=1)) for _ in range(repeat)])  # type: ignore[misc]
        rows.append((tree, len(numbers), len(branch.values), a, b))
    print("tree     baskets of   index + inflate   dq.read   ratio (CPU)")
    for tree, n, total, a, b in rows:
        print(f"{tree:8} {n:5} {total:5}   {a[1]:15.4f} {b[1]:9.4f} {b[1] / a[1]:7.3f}")


if __name__ == "__main__":
    main()
