// What the macros share: find things in a DQM GUI file that dqmroot wrote, and draw them in the CMS style.
#ifndef DQMROOT_MACROS_H
#define DQMROOT_MACROS_H

#include <TCanvas.h>
#include <TColor.h>
#include <TDirectory.h>
#include <TError.h>
#include <TFile.h>
#include <TH1.h>
#include <TH2.h>
#include <TKey.h>
#include <TLatex.h>
#include <TLegend.h>
#include <TROOT.h>
#include <TStyle.h>
#include <TSystem.h>

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace dqmroot {

// Colours that colour-blind people tell apart (M. Petroff, arXiv:2107.02270), as CMS uses them.
inline int blue() { return TColor::GetColor("#3f90da"); }
inline int orange() { return TColor::GetColor("#ffa90e"); }
inline int red() { return TColor::GetColor("#bd1f01"); }
inline int grey() { return TColor::GetColor("#94a4a2"); }
inline int pale() { return TColor::GetColor("#dfe3e2"); }

inline void style() {
  gROOT->SetStyle("Plain");
  gStyle->SetOptStat(0);
  gStyle->SetOptTitle(0);
  gStyle->SetPadTickX(1);
  gStyle->SetPadTickY(1);
  gStyle->SetPadTopMargin(0.08);
  gStyle->SetPadBottomMargin(0.13);
  gStyle->SetPadLeftMargin(0.12);
  gStyle->SetPadRightMargin(0.04);
  gStyle->SetLegendBorderSize(0);
  gStyle->SetLegendFillColor(0);
  gStyle->SetLegendFont(42);
  gStyle->SetHistLineWidth(2);
  gStyle->SetNumberContours(100);
  gStyle->SetPalette(kCividis);
  for (const char* axis : {"x", "y", "z"}) {
    gStyle->SetLabelFont(42, axis);
    gStyle->SetTitleFont(42, axis);
    gStyle->SetLabelSize(0.045, axis);
    gStyle->SetTitleSize(0.05, axis);
  }
  gStyle->SetTitleOffset(1.1, "x");
  gStyle->SetTitleOffset(1.15, "y");
  // What is read from a file takes this style too.
  gROOT->ForceStyle(true);
  TH1::AddDirectory(false);
}

// "CMS Private work" at the top left, what the pad shows at the top right.
inline void label(const std::string& what, double size = 0.05, bool cms = true) {
  TLatex text;
  text.SetNDC();
  text.SetTextFont(42);
  const double top = 1 - gPad->GetTopMargin() + 0.25 * size;
  text.SetTextSize(size);
  if (cms) text.DrawLatex(gPad->GetLeftMargin(), top, "#font[62]{CMS} #font[52]{Private work}");
  text.SetTextAlign(31);
  text.SetTextSize(0.8 * size);
  text.DrawLatex(1 - gPad->GetRightMargin(), top, what.c_str());
}

// One file, its run, and dqmroot's folder in it.
struct File {
  std::unique_ptr<TFile> file;
  int run = 0;
  TDirectory* top = nullptr;

  explicit File(const std::string& path) : file(TFile::Open(path.c_str())) {
    if (!file || file->IsZombie()) throw std::runtime_error(path + ": cannot be opened");
    auto* data = file->GetDirectory("DQMData");
    if (!data) throw std::runtime_error(path + ": not a DQM GUI file");
    for (TObject* key : *data->GetListOfKeys())
      if (sscanf(key->GetName(), "Run %d", &run) == 1) break;
    top = data->GetDirectory(TString::Format("Run %d/dqmroot/Run summary", run));
    if (!top) throw std::runtime_error(path + ": dqmroot wrote nothing into it");
  }

  // Paths of the monitoring elements, in the order of the file.
  std::vector<std::string> mes() const {
    std::vector<std::string> found;
    if (auto* folder = top->GetDirectory("MEs")) descend(folder, "", found);
    return found;
  }

  // The element to draw: the one asked for, or the first.
  std::string me(const std::string& asked) const {
    const auto known = mes();
    if (known.empty()) throw std::runtime_error(std::string(file->GetName()) + ": no monitoring element was judged");
    if (asked.empty()) return known.front();
    for (const auto& name : known)
      if (name == asked) return name;
    std::string message = asked + ": not in the file; there are";
    for (const auto& name : known) message += "\n  " + name;
    throw std::runtime_error(message);
  }

  // A histogram below dqmroot's folder, or a null pointer.
  template <class H = TH1>
  std::unique_ptr<H> get(const std::string& path) const {
    return std::unique_ptr<H>(top->Get<H>(path.c_str()));
  }

 private:
  static void descend(TDirectory* folder, const std::string& path, std::vector<std::string>& found) {
    if (folder->GetKey("score_vs_ls")) found.push_back(path);
    for (TObject* object : *folder->GetListOfKeys()) {
      auto* key = static_cast<TKey*>(object);
      if (!key->IsFolder() || std::string(key->GetClassName()).rfind("TDirectory", 0) != 0) continue;
      const std::string name = key->GetName();
      descend(folder->GetDirectory(name.c_str()), path.empty() ? name : path + "/" + name, found);
    }
  }
};

// Run a macro's body: a user's mistake is one line and the exit status 1, not a stack trace.
template <class Body>
int guarded(Body body) {
  gErrorIgnoreLevel = kWarning;
  try {
    style();
    body();
    return 0;
  } catch (const std::exception& error) {
    fprintf(stderr, "%s\n", error.what());
    if (gROOT->IsBatch()) gSystem->Exit(1);
    return 1;
  }
}

}  // namespace dqmroot

#endif
