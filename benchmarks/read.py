"""How fast nanoDQMIO files are read: dqmroot beside ROOT's own compiled loop, stock uproot, and bare inflation.

Every way hands over the same: contents with flow bins, full names, run, LS and entries of every histogram. All ways run in
turn in one go, each several times; the best of each counts. ROOT's loop is compiled by g++ -O2 against ROOT's libraries.

Memory is warm, as the cache is: each way finds as much free memory as it needs, given back a moment before (ROOT by its own
loop, which runs twice). A virtual machine may have to fetch memory from its host anew, ten times as slowly, which says nothing
of how files are read; what that costs is printed.

    python benchmarks/make_nanodqmio.py large.root
    python benchmarks/read.py large.root --codecs lzma.root zstd.root lz4.root
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
from dqmroot.io.nanodqmio.trees import open_file
from dqmroot.io.storage.baskets import Baskets, unpack
from dqmroot.io.storage.inflate import Inflater

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


def warm(size: int) -> None:
    """Make sure that ``size`` bytes of free memory are at hand."""
    np.empty(size, np.uint8)[::4096] = 1


def fresh(size: int, wait: float) -> Times:
    """What it costs merely to touch ``size`` bytes of new memory, ``wait`` seconds after they were given back."""
    warm(size)
    time.sleep(wait)
    return clock(lambda: warm(size))


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


def frames(path: Path) -> Iterator[tuple[bytes, bytes, int]]:
    """Every compressed frame of the values: tag, data, inflated size."""
    file = open_file(str(path))
    for tree in file.trees.values():
        for raw in tree.values.load(file.source, range(len(tree.values))):
            assert raw is not None
            at = int.from_bytes(raw[14:16], "big")
            while raw[at : at + 2] in {b"ZL", b"XZ", b"L4", b"ZS"} and at < len(raw):
                size = int.from_bytes(raw[at + 3 : at + 6], "little")
                yield raw[at : at + 2], raw[at + 9 : at + 9 + size], int.from_bytes(raw[at + 6 : at + 9], "little")
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
    parser.add_argument("--uproot", type=int, default=1000, help="entries per tree for stock uproot; 0: leave it out")
    parser.add_argument("--copies", type=int, default=10, help="files in the test of many files; 0: leave it out")
    parser.add_argument("--index", type=Path, help="another file, of which only the index is read")
    parser.add_argument("--codecs", type=Path, nargs="*", default=[], help="files of other codecs")
    arguments = parser.parse_args()
    path, repeat = arguments.path, arguments.repeat
    compare(path, repeat, arguments.uproot)
    codecs([path, *arguments.codecs], repeat)
    one_me(path, repeat)
    if arguments.copies:
        many_files(path, arguments.copies)
    if arguments.index:
        index(arguments.index, repeat)


def compare(path: Path, repeat: int, uproot_entries: int) -> None:
    """Everything in one file, in every way."""
    data = list(frames(path))
    total = sum(n for _, _, n in data)
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {total / 1e6:.0f} MB inflated, {len(data)} frames")
    made = dq.arrays(path, scope="all")
    n = sum(len(rows) for rows in made.rows.values())
    entries = sum(rows.entries.sum() for rows in made.rows.values())
    print(f"{n} histograms of {len(made.names)} monitoring elements, entries {entries:.0f}")
    del made
    file = open_file(str(path))
    every = {tree: range(len(one.values)) for tree, one in file.trees.items()}
    ways: dict[str, Callable[[], Any]] = {}
    if all(tag == b"ZL" for tag, _, _ in data):
        ways["inflate only, zlib"] = lambda: [zlib.decompress(d, bufsize=n) for _, d, n in data]
        ways["inflate only, libdeflate"] = lambda: [deflate.zlib_decompress(d, n) for _, d, n in data]
    ways["read and inflate only, as dqmroot does"] = lambda: inflate_baskets(file, every)
    for threads in (1, 2):
        ways[f"dqmroot, threads={threads}"] = lambda threads=threads: dq.arrays(path, scope="all", threads=threads)
    times: dict[str, list[Times]] = {"ROOT, compiled": [], **{name: [] for name in ways}}
    with tempfile.TemporaryDirectory() as folder:
        program = compile_root(Path(folder))
        for _ in range(repeat):
            if program:
                done = subprocess.run([program, path, "2"], capture_output=True, text=True, check=True)
                times["ROOT, compiled"] += [tuple(json.loads(line)) for line in done.stdout.splitlines()]
            for name, way in ways.items():
                warm(2 * total)
                times[name].append(clock(way))
    rows = [(name, best(t)) for name, t in times.items() if t]
    nothing = (float("nan"), float("nan"))
    unit = dict(rows).get("ROOT, compiled", nothing)[0], dict(rows).get("inflate only, zlib", nothing)[1]
    for tree in file.trees if uproot_entries else ():
        n = min(uproot_entries, len(file.trees[tree]))
        wall, cpu = clock(lambda tree=tree, n=n: uproot_fixed(path, tree, n))  # type: ignore[misc]
        scale = len(file.trees[tree]) / n
        rows.append((f"uproot, {tree} (from {n} entries)", (wall * scale, cpu * scale)))
    table(rows, unit)
    size = sum(rows.contents.nbytes for rows in dq.arrays(path, scope="all").rows.values())
    at_hand, from_host = fresh(size, 0)[0], fresh(size, 3)[0]
    print(
        f"touching the {size / 1e6:.0f} MB of contents as new memory: {at_hand:.3f} s at hand, {from_host:.3f} s after 3 s unused"
    )


def codecs(paths: list[Path], repeat: int) -> None:
    """What reading costs beyond inflating, for files of other codecs; all but the index and one LS grows with the file."""
    print("\nprocessor seconds with 1 thread, for 518 MB inflated; index and one LS counted once")
    print(f"{'file':20} {'codec':5} {'MB':>6} {'inflate only':>13} {'dqmroot':>9} {'beyond':>8}")
    for path in paths:
        data = list(frames(path))
        total = sum(n for _, _, n in data)
        tag = data[0][0]
        file = open_file(str(path))
        every = {tree: range(len(one.values)) for tree, one in file.trees.items()}
        bare, mine, once = [], [], []
        for _ in range(repeat):
            once.append(clock(lambda path=path: dq.arrays(path, lumis=(1, 1), threads=1)))  # type: ignore[misc]
            bare.append(clock(lambda file=file, every=every: inflate_baskets(file, every)))  # type: ignore[misc]
            warm(2 * total)
            mine.append(clock(lambda path=path: dq.arrays(path, scope="all", threads=1)))  # type: ignore[misc]
        fixed = best(once)[1]
        a, b = best(bare)[1] * 518e6 / total, (best(mine)[1] - fixed) * 518e6 / total + fixed
        print(f"{path.name:20} {tag.decode():5} {total / 1e6:6.0f} {a:13.3f} {b:9.3f} {b - a:8.3f}")


CHILD = """
import json, resource, sys, time
import dqmroot as dq
next(dq.iterate(sys.argv[1], scope="all", threads=2, step_bytes=1 << 20))  # compiled by now
begin, n = time.perf_counter(), 0
for piece in dq.iterate(sys.argv[1:], scope="all", threads=2, step_bytes=64 << 20):
    n += sum(map(len, piece.rows.values()))
print(json.dumps([n, time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def many_files(path: Path, copies: int) -> None:
    """Piece by piece through one file and through many: time and peak memory."""
    print(f"\niterate, 2 threads, pieces of 64 MB\n{'files':>6} {'histograms':>11} {'wall s':>8} {'peak MB':>8}")
    walls = []
    with tempfile.TemporaryDirectory() as folder:
        links = [Path(folder) / f"{i}.root" for i in range(copies)]
        for link in links:
            link.symlink_to(path.resolve())
        for n in (1, copies):
            done = subprocess.run([sys.executable, "-c", CHILD, *links[:n]], capture_output=True, text=True, check=True)
            histograms, wall, peak = json.loads(done.stdout)
            walls.append(wall)
            print(f"{n:6} {histograms:11} {wall:8.3f} {peak:8.0f}")
    print(f"{copies} files take {walls[1] / walls[0]:.2f} times as long as one")


def index(path: Path, repeat: int) -> None:
    """Open a file and number its names."""

    def way() -> None:
        file = open_file(str(path))
        for tree in file.trees:
            file.names(tree)

    wall, _ = best([clock(way) for _ in range(repeat)])
    file = open_file(str(path))
    entries = sum(len(tree) for tree in file.trees.values())
    names = sum(len(file.names(tree)[0]) for tree in file.trees)
    print(f"\n{path.name}: opened, {names} names of {entries} entries indexed in {wall:.3f} s")


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
