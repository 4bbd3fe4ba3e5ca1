// Reads the tree of scores with RDataFrame: needs no dqmroot.
//
//   root -l 'macros/rdataframe.C("scores.root")'

#include "dqmroot.h"

#include <ROOT/RDataFrame.hxx>
#include <THStack.h>

int rdataframe(const char* path, const char* picture = "") {
  return dqmroot::guarded([&] {
    if (gSystem->AccessPathName(path)) throw std::runtime_error(std::string(path) + ": no such file");
    ROOT::RDataFrame scores("scores", path);
    auto judged = scores.Filter("flag >= 0", "judged")
                      .Define("ratio", "threshold > 0 ? score / threshold : score");
    auto all = judged.Count(), bad = judged.Filter("flag == 1").Count();
    auto high = judged.Max("ratio");
    printf("%llu judged scores, %llu above the threshold\n", *all, *bad);
    if (*all == 0) return;
    const int bins = 60;
    const ROOT::RDF::TH1DModel model("good", ";Score / threshold;Monitoring elements #times LS", bins, 0, 1.05 * *high);
    auto good_h = judged.Filter("flag == 0").Histo1D(model, "ratio");
    auto bad_h = judged.Filter("flag == 1").Histo1D(model, "ratio");
    auto per_me = judged.Histo2D({"per_me", "", 1 + static_cast<int>(*judged.Max("me")), -0.5, *judged.Max("me") + 0.5, 2, -0.5, 1.5}, "me", "flag");
    for (int me = 1; me <= per_me->GetNbinsX(); ++me) {
      const double n = per_me->GetBinContent(me, 1) + per_me->GetBinContent(me, 2);
      if (n == 0) continue;
      auto name = scores.Filter(TString::Format("me == %d", me - 1).Data()).Range(1).Take<ROOT::RVec<char>>("name");
      printf("%6.2f %% of %5.0f bad  %s\n", 100 * per_me->GetBinContent(me, 2) / n, n, std::string(name->front().data()).c_str());
    }

    auto* canvas = new TCanvas("scores", "scores", 900, 700);
    canvas->SetLogy();
    auto* stack = new THStack;
    auto* shown_good = static_cast<TH1*>(good_h->Clone());
    auto* shown_bad = static_cast<TH1*>(bad_h->Clone());
    shown_good->SetFillColor(dqmroot::blue());
    shown_bad->SetFillColor(dqmroot::red());
    for (auto* h : {shown_good, shown_bad}) {
      h->SetLineColor(h->GetFillColor());
      stack->Add(h);
    }
    stack->SetTitle(";Score / threshold;Monitoring elements #times LS");
    stack->SetMinimum(0.5);
    stack->Draw("hist");
    stack->SetMaximum(20 * stack->GetMaximum());
    auto* legend = new TLegend(0.6, 0.76, 0.92, 0.9);
    legend->SetTextSize(0.045);
    legend->AddEntry(shown_good, "Good", "f");
    legend->AddEntry(shown_bad, "Bad", "f");
    legend->Draw();
    dqmroot::label("");
    canvas->RedrawAxis();
    canvas->Update();
    if (*picture) canvas->SaveAs(picture);
  });
}
