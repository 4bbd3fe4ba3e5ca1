"""Make the files of a campaign: nanoDQMIO written by ROOT, runs × lumisections × monitoring elements over many files.

Run it as ``python benchmarks/make_campaign.py OUT [--runs 10] [--lumis 1000] [--mes 20] [--files 200]``. Of five monitoring
elements four are spectra of 100 bins and one is a map of 36 × 42. The last tenth of the last run is bad: the spectra are
stretched and each map has a dead corner. The same seed gives the same contents.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

FIRST_RUN = 380000

WRITER = r"""
#include <TFile.h>
#include <TH1F.h>
#include <TH2F.h>
#include <TRandom3.h>
#include <TTree.h>
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

struct CampaignWriter {
  template <class T> struct Tree {
    TTree *tree; std::string *name = new std::string; UInt_t flags = 0; T *value = nullptr;
    Tree(const char *n) : tree(new TTree(n, n)) {
      tree->Branch("FullName", &name); tree->Branch("Flags", &flags); tree->Branch("Value", &value, 128 * 1024, 0);
    }
  };
  TFile *file; TTree *indices; Tree<TH1F> *spectra; Tree<TH2F> *maps;
  UInt_t run, lumi, history = 0, type; ULong64_t begin = 0, end = 0, first, last;
  TH1F h1{"spectrum", "Event size;size (kB);events", 100, 0., 150.};
  TH2F h2{"map", "Occupancy;ieta;iphi", 42, 0., 42., 36, 0., 36.};

  CampaignWriter(const char *path) : file(new TFile(path, "RECREATE", "", 101)) {
    indices = new TTree("Indices", "Indices");
    indices->Branch("Run", &run); indices->Branch("Lumi", &lumi); indices->Branch("ProcessHistoryIndex", &history);
    indices->Branch("BeginTime", &begin); indices->Branch("EndTime", &end); indices->Branch("Type", &type);
    indices->Branch("FirstIndex", &first); indices->Branch("LastIndex", &last);
    spectra = new Tree<TH1F>("TH1Fs"); maps = new Tree<TH2F>("TH2Fs");
    h1.SetDirectory(nullptr); h2.SetDirectory(nullptr);
  }
  // One row of Indices for each type, as CMSSW has it.
  void lumisection(UInt_t r, UInt_t l, int mes, bool bad, UInt_t seed) {
    run = r; lumi = l;
    TRandom3 rng(seed + 1000003u * r + 7u * l + 1u);
    first = spectra->tree->GetEntries();
    for (int m = 0; m < mes; ++m) if (m % 5 != 4) spectrum(m, bad, rng);
    last = spectra->tree->GetEntries() - 1; type = 3; if (last + 1 > first) indices->Fill();
    first = maps->tree->GetEntries();
    for (int m = 0; m < mes; ++m) if (m % 5 == 4) map(m, bad, rng);
    last = maps->tree->GetEntries() - 1; type = 6; if (last + 1 > first) indices->Fill();
  }
  void spectrum(int m, bool bad, TRandom3 &rng) {
    const double width = (20 + m % 7) * (bad ? 1.25 : 1.0), peak = 40 + m % 11;
    double total = 0; Float_t *c = h1.GetArray();
    for (int i = 0; i < 102; ++i) {
      const double x = 1.5 * (i - 0.5) - peak;
      c[i] = rng.Poisson(2000 * std::exp(-0.5 * x * x / (width * width))); total += c[i];
    }
    h1.SetEntries(total); *spectra->name = "Sub" + std::to_string(m % 4) + "/Spectra/size" + std::to_string(m);
    spectra->value = &h1; spectra->tree->Fill();
  }
  void map(int m, bool bad, TRandom3 &rng) {
    double total = 0; Float_t *c = h2.GetArray();
    for (int y = 0; y < 38; ++y) for (int x = 0; x < 44; ++x) {
      const bool flow = x == 0 || y == 0 || x == 43 || y == 37, dead = bad && x < 8 && y < 8;
      const double mean = flow || dead ? 0 : 60 * (1.2 + std::cos(0.15 * (x - 21)) + 0.1 * (m % 3));
      c[y * 44 + x] = mean > 0 ? rng.Poisson(mean) : 0; total += c[y * 44 + x];
    }
    h2.SetEntries(total); *maps->name = "Sub" + std::to_string(m % 4) + "/Maps/occupancy" + std::to_string(m);
    maps->value = &h2; maps->tree->Fill();
  }
  void close() { file->Write(); file->Close(); delete file; }
};
"""


def writer() -> Any:
    """Return ROOT's class that writes one file; compiled on the first call."""
    import ROOT

    ROOT.gROOT.SetBatch(True)
    ROOT.TH1.AddDirectory(False)
    if not hasattr(ROOT, "CampaignWriter"):
        ROOT.gInterpreter.Declare(WRITER)
    return ROOT.CampaignWriter


def write_file(
    path: str | Path,
    lumisections: list[tuple[int, int]],
    mes: int = 20,
    bad: frozenset[tuple[int, int]] = frozenset(),
    seed: int = 1,
) -> Path:
    """Write one file with the given (run, LS)."""
    made = writer()(str(path))
    for run, lumi in lumisections:
        made.lumisection(run, lumi, mes, (run, lumi) in bad, seed)
    made.close()
    return Path(path)


def make_campaign(
    out: str | Path, *, runs: int = 10, lumis: int = 1000, mes: int = 20, files: int = 200, seed: int = 1
) -> list[Path]:
    """Write the files of a campaign; LS are dealt to the files of their run in stretches, and every fifth file holds two runs.

    Returns:
        The files.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    every = [(FIRST_RUN + r, lumi) for r in range(runs) for lumi in range(1, lumis + 1)]
    last = FIRST_RUN + runs - 1
    bad = frozenset((last, lumi) for lumi in range(lumis - lumis // 10 + 1, lumis + 1))
    cuts = [len(every) * i // files for i in range(files + 1)]
    # Some stretches are shifted, so that borders of files are not borders of runs.
    cuts = [cut + (len(every) // files // 3 if 0 < i < files and i % 5 == 0 else 0) for i, cut in enumerate(cuts)]
    return [
        write_file(folder / f"nano_{i:04d}.root", every[cuts[i] : cuts[i + 1]], mes, bad, seed) for i in range(files)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    for name, value in (("runs", 10), ("lumis", 1000), ("mes", 20), ("files", 200), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = vars(parser.parse_args())
    paths = make_campaign(args.pop("out"), **args)
    print(f"{len(paths)} files, {sum(path.stat().st_size for path in paths) / 1e6:.1f} MB in {paths[0].parent}")


if __name__ == "__main__":
    main()
