"""Write nanoDQMIO files with ROOT itself, by the ``Branch()`` calls of CMSSW's DQMRootOutputModule, and read them with ROOT.

`NanoWriter` is C++; from Python::

    with writer(path, compression=101) as out:
        out.begin(run, lumi)
        out.add("Folder/name", histogram)
        out.end()
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

TREES = [
    "Ints",
    "Floats",
    "Strings",
    "TH1Fs",
    "TH1Ss",
    "TH1Ds",
    "TH2Fs",
    "TH2Ss",
    "TH2Ds",
    "TH3Fs",
    "TProfiles",
    "TProfile2Ds",
]
TABLES = {12: TREES, 14: [*TREES, "TH1Is", "TH2Is"], 15: [*TREES[:9], "TH2Polys", *TREES[9:], "TH1Is", "TH2Is"]}

CODE = r"""
#include <map>
#include <string>
#include <vector>
#include "TFile.h"
#include "TTree.h"
#include "TH1.h"
#include "TH2.h"
#include "TH3.h"
#include "TH2Poly.h"
#include "TProfile.h"
#include "TProfile2D.h"

struct NanoWriter {
  TFile file;
  std::vector<std::string> table;
  std::map<std::string, TTree*> trees;
  std::map<std::string, ULong64_t> begins;
  TTree* indices;
  UInt_t run = 0, lumi = 0, history = 0, type = 0, flags = 0;
  ULong64_t beginTime = 0, endTime = 0, first = 0, last = 0;
  std::string* name = new std::string;
  Long64_t i = 0; double d = 0; std::string* s = new std::string;
  TH1F* h1f = 0; TH1S* h1s = 0; TH1D* h1d = 0; TH1I* h1i = 0; TH2F* h2f = 0; TH2S* h2s = 0; TH2D* h2d = 0; TH2I* h2i = 0;
  TH3F* h3f = 0; TProfile* p1 = 0; TProfile2D* p2 = 0; TH2Poly* poly = 0;

  NanoWriter(const std::string& path, const std::vector<std::string>& names, int compression)
      : file(path.c_str(), "RECREATE", "1"), table(names) {
    if (compression >= 0) file.SetCompressionSettings(compression);
    indices = new TTree("Indices", "Indices");
    indices->SetDirectory(&file);
    indices->Branch("Run", &run, "Run/i");
    indices->Branch("Lumi", &lumi, "Lumi/i");
    indices->Branch("ProcessHistoryIndex", &history, "ProcessHistoryIndex/i");
    indices->Branch("BeginTime", &beginTime, "BeginTime/l");
    indices->Branch("EndTime", &endTime, "EndTime/l");
    indices->Branch("Type", &type, "Type/i");
    indices->Branch("FirstIndex", &first, "FirstIndex/l");
    indices->Branch("LastIndex", &last, "LastIndex/l");
    for (auto& n : table) {
      TTree* t = trees[n] = new TTree(n.c_str(), n.c_str());
      t->SetDirectory(&file);
      t->Branch("FullName", &name);
      t->Branch("Flags", &flags, "Flags/i");
      if (n == "Ints") t->Branch("Value", &i, "Value/L");
      if (n == "Floats") t->Branch("Value", &d, "Value/D");
      if (n == "Strings") t->Branch("Value", &s);
      const int size = 128 * 1024;
      if (n == "TH1Fs") t->Branch("Value", &h1f, size, 0);
      if (n == "TH1Ss") t->Branch("Value", &h1s, size, 0);
      if (n == "TH1Ds") t->Branch("Value", &h1d, size, 0);
      if (n == "TH1Is") t->Branch("Value", &h1i, size, 0);
      if (n == "TH2Fs") t->Branch("Value", &h2f, size, 0);
      if (n == "TH2Ss") t->Branch("Value", &h2s, size, 0);
      if (n == "TH2Ds") t->Branch("Value", &h2d, size, 0);
      if (n == "TH2Is") t->Branch("Value", &h2i, size, 0);
      if (n == "TH3Fs") t->Branch("Value", &h3f, size, 0);
      if (n == "TProfiles") t->Branch("Value", &p1, size, 0);
      if (n == "TProfile2Ds") t->Branch("Value", &p2, size, 0);
      if (n == "TH2Polys") t->Branch("Value", &poly, size, 0);
    }
  }
  void begin(unsigned r, unsigned l) {
    run = r; lumi = l;
    for (auto& t : trees) begins[t.first] = t.second->GetEntries();
  }
  void fill(const std::string& tree, const std::string& n) { *name = n; trees.at(tree)->Fill(); }
  void add(const std::string& n, TH1* h) {
    std::string c = h->ClassName();
    if (c == "TH1F") h1f = (TH1F*)h; else if (c == "TH1S") h1s = (TH1S*)h; else if (c == "TH1D") h1d = (TH1D*)h;
    else if (c == "TH1I") h1i = (TH1I*)h; else if (c == "TH2F") h2f = (TH2F*)h; else if (c == "TH2S") h2s = (TH2S*)h;
    else if (c == "TH2D") h2d = (TH2D*)h; else if (c == "TH2I") h2i = (TH2I*)h; else if (c == "TH3F") h3f = (TH3F*)h;
    else if (c == "TProfile") p1 = (TProfile*)h; else if (c == "TProfile2D") p2 = (TProfile2D*)h;
    else if (c == "TH2Poly") poly = (TH2Poly*)h;
    fill(c + "s", n);
  }
  void addInt(const std::string& n, Long64_t v) { i = v; fill("Ints", n); }
  void addFloat(const std::string& n, double v) { d = v; fill("Floats", n); }
  void addString(const std::string& n, const std::string& v) { *s = v; fill("Strings", n); }
  void row(unsigned t, ULong64_t f, ULong64_t l) { type = t; first = f; last = l; indices->Fill(); }
  void end() {
    bool any = false;
    for (unsigned t = 0; t < table.size(); ++t) {
      ULong64_t now = trees[table[t]]->GetEntries(), before = begins[table[t]];
      if (now == before) continue;
      row(t, before, now - 1);
      any = true;
    }
    if (!any && lumi) row(1000, 0, 0);
  }
  void close() { file.Write(); file.Close(); }
};

void nanoAddBin(TH2Poly* h, double x1, double y1, double x2, double y2) { h->AddBin(x1, y1, x2, y2); }

// What ROOT itself says of every bin, flow bins included: contents, errors, for profiles the entries of the bin too.
std::vector<double> nanoContents(TH1* h) {
  std::vector<double> out(h->GetNcells());
  for (int i = 0; i < h->GetNcells(); ++i) out[i] = h->GetBinContent(i);
  return out;
}
std::vector<double> nanoErrors(TH1* h) {
  std::vector<double> out(h->GetNcells());
  for (int i = 0; i < h->GetNcells(); ++i) out[i] = h->GetBinError(i);
  return out;
}
"""


@functools.cache
def root() -> Any:
    """PyROOT, with the C++ above compiled."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ROOT

        ROOT.gROOT.SetBatch(True)
        ROOT.TH1.AddDirectory(False)
        ROOT.gErrorIgnoreLevel = ROOT.kError
        if not ROOT.gInterpreter.Declare(CODE):
            message = "the C++ of the writer does not compile"
            raise RuntimeError(message)
    return ROOT


@contextmanager
def writer(path: str | Path, compression: int = -1, table: int = 14) -> Iterator[Any]:
    """Give a ``NanoWriter``; the file is written when the block ends."""
    ROOT = root()
    out = ROOT.NanoWriter(str(path), ROOT.std.vector["std::string"](TABLES[table]), compression)
    try:
        yield out
    finally:
        out.close()


def entries(path: str | Path) -> Iterator[tuple[int, int, str, str, Any]]:
    """Everything in a file as ROOT reads it: run, lumi, tree, full name, and the value, which the next step overwrites."""
    ROOT = root()
    file = ROOT.TFile(str(path))
    names = {key.GetName() for key in file.GetListOfKeys()}
    table = TABLES[15 if "TH2Polys" in names else 14 if "TH1Is" in names else 12]
    blocks = [(int(r.Run), int(r.Lumi), int(r.Type), int(r.FirstIndex), int(r.LastIndex)) for r in file.Get("Indices")]
    for run, lumi, kind, first, last in blocks:
        if kind == 1000:
            continue
        tree = file.Get(table[kind])
        for entry in range(first, last + 1):
            tree.GetEntry(entry)
            yield run, lumi, table[kind], str(tree.FullName), tree.Value
    file.Close()


def contents(histogram: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """``GetBinContent`` of every cell, flat."""
    return np.array(root().nanoContents(histogram))


def errors(histogram: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """``GetBinError`` of every cell, flat."""
    return np.array(root().nanoErrors(histogram))
