// Draws the certification of one run: who was good when, and how many monitoring elements were bad.
//
//   root -l 'macros/draw_certification.C("DQM_V0001_R000297050__….root")'
//   root -l -b -q 'macros/draw_certification.C("DQM_V0001_R000297050__….root", "certification.png")'

#include "dqmroot.h"

#include <cstring>

int draw_certification(const char* path, const char* picture = "") {
  return dqmroot::guarded([&] {
    const dqmroot::File file(path);
    auto* map = file.get<TH2>("EventInfo/reportSummaryMap").release();
    auto* bad = file.get("bad_mes_vs_ls").release();
    if (!map || !bad) throw std::runtime_error(std::string(path) + ": not a certification");

    // Sizes in pixels: the picture grows with the number of rows, its letters do not.
    const int rows = map->GetNbinsY(), width = 1200, below = 190;
    const int above = std::min(std::max(240, 70 + 26 * rows), 3000), height = above + below;
    size_t longest = 0;
    for (int row = 1; row <= rows; ++row) longest = std::max(longest, strlen(map->GetYaxis()->GetBinLabel(row)));
    auto* canvas = new TCanvas("certification", "certification", width, height);
    auto* upper = new TPad("upper", "", 0, double(below) / height, 1, 1);
    auto* lower = new TPad("lower", "", 0, 0, 1, double(below) / height);
    for (auto* pad : {upper, lower}) {
      pad->SetLeftMargin(std::min(0.5, (9. * longest + 30) / width));
      pad->SetRightMargin(0.03);
      pad->Draw();
    }
    upper->SetTopMargin(50. / above);
    upper->SetBottomMargin(8. / above);
    lower->SetTopMargin(8. / below);
    lower->SetBottomMargin(65. / below);
    for (auto* axis : {map->GetYaxis(), bad->GetXaxis(), bad->GetYaxis()}) {
      axis->SetLabelFont(43);
      axis->SetTitleFont(43);
      axis->SetLabelSize(18);
      axis->SetTitleSize(22);
    }

    // Not judged, bad, good: pale, red, blue. The text says it too, so that no one depends on the colour.
    upper->cd();
    int colours[] = {dqmroot::pale(), dqmroot::red(), dqmroot::blue()};
    gStyle->SetPalette(3, colours);
    const double levels[] = {-1.5, -0.5, 0.5};
    map->SetContour(3, levels);
    map->SetMinimum(-1.5);
    map->SetMaximum(1.5);
    map->GetXaxis()->SetLabelSize(0);
    map->GetXaxis()->SetTitleSize(0);
    map->GetYaxis()->SetTickLength(0);
    map->Draw("col");
    auto* legend = new TLegend(0.55, 1 - 44. / above, 0.85, 1 - 8. / above);
    legend->SetNColumns(3);
    legend->SetTextFont(43);
    legend->SetTextSize(20);
    legend->SetMargin(0.2);
    const char* words[] = {"not judged", "bad", "good"};
    for (int i : {2, 1, 0}) {
      auto* box = new TH1C(TString::Format("box%d", i), "", 1, 0, 1);
      box->SetFillColor(colours[i]);
      box->SetLineColor(colours[i]);
      legend->AddEntry(box, words[i], "f");
    }
    legend->Draw();
    dqmroot::label(TString::Format("Run %d", file.run).Data(), 28. / std::min(above, width));
    upper->RedrawAxis();

    lower->cd();
    bad->SetLineColor(dqmroot::red());
    bad->SetFillColor(dqmroot::red());
    // Of whole things there are no halves.
    const double most = std::max(1.0, bad->GetMaximum());
    bad->SetMinimum(0);
    bad->SetMaximum(most < 5 ? most : 1.15 * most);
    bad->GetYaxis()->SetNdivisions(most < 5 ? static_cast<int>(most) : 504);
    bad->GetYaxis()->SetTitleOffset(1.1);
    bad->GetXaxis()->SetTitleOffset(1.1);
    bad->GetXaxis()->SetTitle("Lumisection");
    bad->GetYaxis()->SetTitle("Bad MEs");
    bad->Draw("hist");
    lower->RedrawAxis();
    canvas->Update();
    if (*picture) canvas->SaveAs(picture);

    const auto* verdict = file.get("verdict_vs_ls").release();
    int count[3] = {0, 0, 0};
    for (int i = 1; i <= verdict->GetNbinsX(); ++i) ++count[static_cast<int>(verdict->GetBinContent(i)) + 1];
    printf("run %d: %d good, %d bad, %d not judged lumisections\n", file.run, count[1], count[2], count[0]);
  });
}
