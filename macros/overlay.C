// Draws the worst lumisection of a run as it was and as the model expected it.
//
//   root -l 'macros/overlay.C("DQM_V0001_R000297050__….root", "Hcal/DigiTask/Occupancy/depth/depth1")'
//
// Without a monitoring element it takes the first one of the file.

#include "dqmroot.h"

namespace {

void draw_shapes(TH1* original, TH1* reconstruction, TH1* loss) {
  auto* canvas = new TCanvas("overlay", "overlay", 900, 800);
  auto* upper = new TPad("upper", "", 0, loss ? 0.3 : 0, 1, 1);
  upper->SetBottomMargin(loss ? 0.02 : 0.13);
  upper->Draw();
  upper->cd();
  // The reconstruction is of the prepared, normalised shape: both are drawn as shapes.
  for (auto* h : {original, reconstruction})
    if (h && h->Integral() > 0) h->Scale(1 / h->Integral());
  original->SetFillColor(dqmroot::pale());
  original->SetLineColor(dqmroot::grey());
  original->SetMaximum(1.35 * std::max(original->GetMaximum(), reconstruction ? reconstruction->GetMaximum() : 0.0));
  original->SetMinimum(0);
  original->GetYaxis()->SetTitle("Share of entries");
  if (loss) original->GetXaxis()->SetLabelSize(0);
  original->Draw("hist");
  auto* legend = new TLegend(0.58, 0.74, 0.94, 0.9);
  legend->SetTextSize(0.045);
  legend->AddEntry(original, "Original", "f");
  if (reconstruction) {
    reconstruction->SetLineColor(dqmroot::blue());
    reconstruction->SetLineWidth(3);
    reconstruction->Draw("hist same");
    legend->AddEntry(reconstruction, "Reconstruction", "l");
  }
  legend->Draw();
  upper->RedrawAxis();
  if (!loss) return;
  canvas->cd();
  auto* lower = new TPad("lower", "", 0, 0, 1, 0.3);
  lower->SetTopMargin(0.1);
  lower->SetBottomMargin(0.35);
  lower->Draw();
  lower->cd();
  loss->SetFillColor(dqmroot::red());
  loss->SetLineColor(dqmroot::red());
  loss->GetYaxis()->SetTitle("Loss");
  for (auto* axis : {loss->GetXaxis(), loss->GetYaxis()}) {
    axis->SetLabelSize(0.1);
    axis->SetTitleSize(0.12);
  }
  loss->GetYaxis()->SetNdivisions(504);
  loss->GetYaxis()->SetTitleOffset(0.48);
  loss->Draw("hist");
  lower->RedrawAxis();
  upper->cd();
}

void draw_maps(TH1* original, TH1* reconstruction, TH1* loss, const std::string& what) {
  std::vector<std::pair<TH1*, const char*>> maps;
  for (auto pair : {std::make_pair(original, "Original"), {reconstruction, "Reconstruction"}, {loss, "Loss"}})
    if (pair.first) maps.push_back(pair);
  auto* canvas = new TCanvas("overlay", "overlay", 700 * maps.size(), 620);
  canvas->Divide(maps.size(), 1, 0.001, 0.001);
  for (size_t i = 0; i < maps.size(); ++i) {
    canvas->cd(i + 1);
    gPad->SetRightMargin(0.16);
    gPad->SetTopMargin(0.09);
    auto* map = maps[i].first;
    map->GetZaxis()->SetLabelSize(0.04);
    // Labels of 84 towers do not fit; every so many is enough.
    for (auto* axis : {map->GetXaxis(), map->GetYaxis()}) {
      if (!axis->IsAlphanumeric()) axis->SetNdivisions(508);
      const int every = axis->GetNbins() / 14 + 1;
      if (axis->GetLabels() && every > 1)
        for (int bin = 1; bin <= axis->GetNbins(); ++bin)
          if ((bin - 1) % every) axis->SetBinLabel(bin, "");
    }
    if (map->GetXaxis()->GetLabels()) map->LabelsOption("h", "x");
    map->Draw("colz");
    // The first says whose it is, each says what it is, the last says when it was.
    dqmroot::label(std::string(maps[i].second) + (i + 1 == maps.size() ? " in " + what : ""), 0.048, i == 0);
  }
}

}  // namespace

int overlay(const char* path, const char* element = "", const char* picture = "") {
  return dqmroot::guarded([&] {
    const dqmroot::File file(path);
    const auto me = file.me(element);
    const auto here = "MEs/" + me + "/worst_ls_";
    auto* original = file.get(here + "original").release();
    auto* reconstruction = file.get(here + "reconstruction").release();
    auto* loss = file.get(here + "loss").release();
    if (!original) throw std::runtime_error(me + ": no lumisection of this run was judged");
    printf("%s\n", original->GetTitle());
    const std::string title = original->GetTitle();
    const auto at = title.find(" of LS ");
    const std::string when = at == std::string::npos ? "" : title.substr(at + 4, title.find(',', at) - at - 4);
    const std::string what = TString::Format("run %d, %s", file.run, when.c_str()).Data();
    if (original->GetDimension() == 1) {
      draw_shapes(original, reconstruction, loss);
      dqmroot::label(what);
    } else {
      draw_maps(original, reconstruction, loss, what);
    }
    gPad->GetCanvas()->Update();
    if (*picture) gPad->GetCanvas()->SaveAs(picture);
  });
}
