"""Write a nanoDQMIO file to measure on, with ROOT and CMSSW's own ``Branch()`` calls.

By default 500 LS × 200 MEs and a run block: 100 200 histograms, about 520 MB inflated, 108 MB on disk: TH1F with 100 and with
102 bins, TH2F 64 × 72 with bin labels, TH2F 50 × 50.

    python benchmarks/make_nanodqmio.py large.root --lumis 500 --mes 200 --compression 101
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import rootfiles

CODE = r"""
#include "TRandom3.h"

void nanoBenchmark(NanoWriter& out, unsigned run, int lumis, int mes, bool narrow) {
  TRandom3 random(run);
  std::vector<std::pair<std::string, TH1*>> all;
  for (int m = 0; m < mes; ++m) {
    std::string k = std::to_string(1000 + m).substr(1);
    int kind = narrow ? m % 2 : m % 200 < 73 ? 0 : m % 200 < 146 ? 1 : m % 200 < 173 ? 2 : 3;
    TH1* h;
    std::string folder;
    if (kind == 0) { folder = "PixelPhase1/Tracks/PXBarrel/"; h = new TH1F(("charge_" + k).c_str(), "charge", 100, 0, 80000); }
    else if (kind == 1) { folder = "CSC/FEDIntegrity/"; h = new TH1F(("FEDSize_" + k).c_str(), "size;kB", 102, 0, 51); }
    else if (kind == 2) {
      folder = "Hcal/DigiTask/Occupancy/depth/";
      h = new TH2F(("depth" + k).c_str(), "Occupancy", 64, 0, 64, 72, .5, 72.5);
      for (int i = 1; i <= 64; ++i) h->GetXaxis()->SetBinLabel(i, std::to_string(i - 33 + (i > 32)).c_str());
    } else { folder = "EcalBarrel/EBOccupancyTask/"; h = new TH2F(("map_" + k).c_str(), "map", 50, 0, 1, 50, 0, 1); }
    all.push_back({folder + h->GetName(), h});
  }
  std::vector<float> pool(1 << 20);  // one Poisson throw costs more than all the rest
  for (auto& x : pool) x = random.Rndm() < .5 ? random.Poisson(3) : 0;
  for (int l = 1; l <= lumis + 1; ++l) {
    out.begin(run, l <= lumis ? l : 0);
    for (auto& one : all) {
      TH1* h = one.second;
      bool flat = h->GetDimension() == 1;
      float* array = flat ? ((TH1F*)h)->fArray : ((TH2F*)h)->fArray;
      size_t at = random.Integer(pool.size() - h->GetNcells());
      for (int i = 0; i < h->GetNcells(); ++i) array[i] = flat ? pool[at + i] * (1 + i % 13) : pool[at + i];
      h->SetEntries(random.Integer(100000));
      out.add(one.first, h);
    }
    out.end();
  }
}
"""


def make(
    path: Path, *, run: int = 380000, lumis: int = 500, mes: int = 200, compression: int = -1, narrow: bool = False
) -> None:
    """Write one file; ``narrow`` leaves the two-dimensional histograms out."""
    ROOT = rootfiles.root()
    if not hasattr(ROOT, "nanoBenchmark"):
        ROOT.gInterpreter.Declare(CODE)
    with rootfiles.writer(path, compression) as out:
        ROOT.nanoBenchmark(out, run, lumis, mes, narrow)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--run", type=int, default=380000)
    parser.add_argument("--lumis", type=int, default=500)
    parser.add_argument("--mes", type=int, default=200)
    parser.add_argument(
        "--compression", type=int, default=-1, help="ROOT's setting: 101 ZLIB-1, 207 LZMA-7, 404 LZ4-4, 505 ZSTD-5"
    )
    parser.add_argument("--narrow", action="store_true", help="TH1F only")
    arguments = parser.parse_args()
    make(**vars(arguments))
    print(f"{arguments.path}: {arguments.path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
