// Compares two runs in one monitoring element: scores along the run, how they are distributed, the cut.
//
//   root -l 'macros/compare_runs.C("DQM_V0001_R000297050__….root", "DQM_V0001_R000297056__….root", "Hcal/…/depth1")'
//
// Without a monitoring element it takes the first one of the first file.

#include "dqmroot.h"

#include <TGraph.h>
#include <TLine.h>

int compare_runs(const char* first, const char* second, const char* element = "", const char* picture = "") {
  return dqmroot::guarded([&] {
    const dqmroot::File files[] = {dqmroot::File(first), dqmroot::File(second)};
    const auto me = files[0].me(element);
    files[1].me(me);
    const int colours[] = {dqmroot::blue(), dqmroot::orange()}, markers[] = {20, 24};

    auto* canvas = new TCanvas("compare", "compare", 1400, 600);
    auto* left = new TPad("left", "", 0, 0, 0.68, 1);
    auto* right = new TPad("right", "", 0.68, 0, 1, 1);
    right->SetLeftMargin(0.02);
    right->SetRightMargin(0.05);
    left->SetRightMargin(0.02);
    left->Draw();
    right->Draw();

    double high = 0, last = 0;
    std::unique_ptr<TH1> score[2], flag[2];
    for (int i : {0, 1}) {
      score[i] = files[i].get("MEs/" + me + "/score_vs_ls");
      flag[i] = files[i].get("MEs/" + me + "/flag_vs_ls");
      last = std::max(last, score[i]->GetXaxis()->GetXmax());
      for (int bin = 1; bin <= score[i]->GetNbinsX(); ++bin)
        if (flag[i]->GetBinContent(bin) >= 0) high = std::max(high, score[i]->GetBinContent(bin));
    }
    const auto cut = files[0].get("MEs/" + me + "/threshold_vs_ls");
    if (cut) high = std::max(high, cut->GetBinContent(1));
    high = high > 0 ? 1.4 * high : 1;

    left->cd();
    auto* frame = left->DrawFrame(0, 0, last, high);
    frame->SetTitle(";Lumisection;Score");
    frame->GetYaxis()->SetMaxDigits(3);
    auto* legend = new TLegend(0.14, 0.76, 0.6, 0.905);
    legend->SetTextSize(0.042);
    TH1D* spread[2];
    for (int i : {0, 1}) {
      auto* graph = new TGraph;
      spread[i] = new TH1D(TString::Format("spread%d", i), "", 40, 0, high);
      int bad = 0;
      for (int bin = 1; bin <= score[i]->GetNbinsX(); ++bin) {
        if (flag[i]->GetBinContent(bin) < 0) continue;
        graph->AddPoint(score[i]->GetBinCenter(bin), score[i]->GetBinContent(bin));
        spread[i]->Fill(score[i]->GetBinContent(bin));
        bad += flag[i]->GetBinContent(bin) > 0;
      }
      graph->SetMarkerStyle(markers[i]);
      graph->SetMarkerColor(colours[i]);
      graph->SetMarkerSize(0.9);
      const int n = graph->GetN();
      if (n) graph->Draw("p same");
      legend->AddEntry(graph, TString::Format("Run %d (%d of %d bad)", files[i].run, bad, n), "p");
      printf("run %d: %d of %d judged lumisections bad\n", files[i].run, bad, n);
    }
    if (cut) {
      auto* line = new TLine(0, cut->GetBinContent(1), last, cut->GetBinContent(1));
      line->SetLineStyle(2);
      line->SetLineWidth(2);
      line->Draw();
      legend->AddEntry(line, "Threshold", "l");
    }
    legend->Draw();
    dqmroot::label("");

    right->cd();
    double most = 0;
    for (auto* h : spread) {
      if (h->Integral() > 0) h->Scale(1 / h->Integral());
      most = std::max(most, h->GetMaximum());
    }
    // Drawn on its side, so that both pads share the axis of the score.
    auto* side = right->DrawFrame(0, 0, 1.15 * (most > 0 ? most : 1), high);
    side->SetTitle(";Share of LS;");
    side->GetYaxis()->SetLabelSize(0);
    side->GetXaxis()->SetNdivisions(505);
    for (int i : {0, 1}) {
      spread[i]->SetFillColorAlpha(colours[i], 0.6);
      spread[i]->SetLineColor(colours[i]);
      spread[i]->SetBarWidth(1);
      spread[i]->Draw("hbar same");
    }
    TLatex text;
    text.SetNDC();
    text.SetTextFont(42);
    text.SetTextAlign(31);
    text.SetTextSize(std::min(0.05, 2.6 / me.size()));
    text.DrawLatex(0.95, 0.935, me.c_str());
    canvas->Update();
    if (*picture) canvas->SaveAs(picture);
  });
}
