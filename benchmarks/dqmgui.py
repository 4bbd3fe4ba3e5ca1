"""A DQM GUI file of 160,000 keys: one subsystem and the whole file, beside ROOT compiled and stock uproot.

Run with ``python benchmarks/dqmgui.py [keys]``; the file is written by ROOT, everything is measured in one run, the best
of three each (uproot: one run over a twentieth of the file, scaled).
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uproot

from dqmroot.io import formats
from dqmroot.io.rootfile.dqmgui import open_gui

SYSTEMS = ["Hcal", "Ecal", "PixelPhase1", "SiStrip", "Tracking", "Muons", "L1T", "HLT", "JetMET", "Egamma"]
CODE = r"""
#include "TFile.h"
#include "TH2F.h"
#include "TKey.h"
#include "TObjString.h"
#include "TProfile.h"
#include "TRandom3.h"
#include "TStopwatch.h"
#include <vector>

void fill_folder(TDirectory* folder, int n, TRandom3& rng) {
  folder->cd();
  for (int i = 0; i < n; ++i) {
    if (i % 10 == 7) { TObjString(Form("<v%d>f=%.17g</v%d>", i, rng.Uniform(), i)).Write(); continue; }
    if (i % 10 == 8) { TObjString(Form("<h%d.Q>qr=st:100:%.17g:A:ok</h%d.Q>", i - 8, rng.Uniform(), i - 8)).Write(); continue; }
    if (i % 40 == 9) {
      TH2F h(Form("h%d", i), "a map;x;y", 72, 0, 72, 32, 0, 32);
      for (int j = 0; j < 200; ++j) h.Fill(rng.Uniform(0, 72), rng.Gaus(16, 5));
      h.Write();
    } else if (i % 40 == 19) {
      TProfile h(Form("h%d", i), "a profile;x;y", 50, 0, 50);
      for (int j = 0; j < 100; ++j) h.Fill(rng.Uniform(0, 50), rng.Gaus(16, 5));
      h.Write();
    } else {
      TH1F h(Form("h%d", i), "a spectrum;charge [e];clusters", 100, 0, 100);
      for (int j = 0; j < 300; ++j) h.Fill(rng.Gaus(40, 12));
      h.Write();
    }
  }
}

void write_gui(const char* path, int keys, const std::vector<std::string>& systems) {
  TFile file(path, "RECREATE");
  TRandom3 rng(1);
  TDirectory* run = file.mkdir("DQMData")->mkdir("Run 306138");
  int folders = keys / systems.size() / 40;
  for (auto& system : systems) {
    TDirectory* summary = run->mkdir(system.c_str())->mkdir("Run summary");
    TDirectory* task = nullptr;
    for (int d = 0; d < folders; ++d) {
      if (d % 20 == 0) task = summary->mkdir(Form("Task%d", d / 20));
      fill_folder(task->mkdir(Form("Module%d", d)), 40, rng);
    }
  }
}

static std::vector<double> bins;
static long histograms;

void walk(TDirectory* folder) {
  TIter next(folder->GetListOfKeys());
  while (TKey* key = (TKey*)next()) {
    TObject* object = key->ReadObj();
    if (object->InheritsFrom(TDirectory::Class())) { walk((TDirectory*)object); continue; }
    if (auto* h = dynamic_cast<TH1*>(object)) {
      if (auto* f = dynamic_cast<TArrayF*>(object)) bins.insert(bins.end(), f->GetArray(), f->GetArray() + f->GetSize());
      else if (auto* d = dynamic_cast<TArrayD*>(object)) bins.insert(bins.end(), d->GetArray(), d->GetArray() + d->GetSize());
      ++histograms;
    }
    delete object;
  }
}

double read_gui(const char* path, const char* folder) {
  bins.clear();
  histograms = 0;
  TStopwatch watch;
  TFile* file = TFile::Open(path);
  walk(*folder ? file->GetDirectory(folder) : file);
  double seconds = watch.RealTime();
  delete file;
  return seconds;
}
"""


def best(call: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    return min(times), result


def root() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ROOT
    ROOT.TH1.AddDirectory(False)
    ROOT.gInterpreter.ProcessLine("#pragma cling optimize(3)")
    ROOT.gInterpreter.Declare(CODE)
    return ROOT


def with_uproot(path: Path, system: str) -> int:
    """Read one subsystem the plain way."""
    n = 0
    with uproot.open(path) as file:
        for key, kind in file[f"DQMData/Run 306138/{system}"].iterclassnames():
            if kind.startswith(("TH", "TProfile")):
                file[f"DQMData/Run 306138/{system}/{key}"].values(flow=True)
                n += 1
    return n


def main() -> None:
    keys = int(sys.argv[1]) if len(sys.argv) > 1 else 160_000
    ROOT = root()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "DQM_V0001_R000306138__A__B__C.root"
        ROOT.write_gui(str(path), keys, ROOT.std.vector["std::string"](SYSTEMS))
        print(f"{keys:,} keys, {path.stat().st_size / 1e6:.0f} MB")
        formats.arrays(path, "Hcal/**")  # compiles
        whole_root = min(ROOT.read_gui(str(path), "") for _ in range(3))
        n_root = int(ROOT.histograms)
        whole, arrays = best(lambda: formats.arrays(path))
        one_thread, _ = best(lambda: formats.arrays(path, threads=1))
        files, _ = best(lambda: open_gui(str(path)))
        system, part = best(lambda: formats.arrays(path, "Hcal/**"))
        system_root = min(ROOT.read_gui(str(path), "DQMData/Run 306138/Hcal") for _ in range(3))
        slow, n_slow = best(lambda: with_uproot(path, "Hcal"), 1)
    histograms = sum(len(rows) for storage, rows in arrays.rows.items() if storage.startswith("T"))
    assert histograms == n_root
    assert sum(len(rows) for storage, rows in part.rows.items() if storage.startswith("T")) == n_slow == n_root / 10
    print(f"{'':44}{'s':>8}{'of ROOT':>10}")
    print(f"{'keys, scalars and quality tests':44}{files:8.2f}")
    for name, seconds, unit in (
        ("whole file, ROOT compiled", whole_root, whole_root),
        ("whole file, dqmroot", whole, whole_root),
        ("whole file, dqmroot, one thread", one_thread, whole_root),
        ("whole file, uproot (from one subsystem)", 10 * slow, whole_root),
        ("one subsystem, ROOT compiled", system_root, system_root),
        ("one subsystem, dqmroot", system, system_root),
    ):
        print(f"{name:44}{seconds:8.2f}{seconds / unit:10.2f}")


if __name__ == "__main__":
    main()
