// Lists the bad lumisections of a run, and the monitoring elements that say so.
//
//   root -l -b -q 'macros/list_bad_ls.C("DQM_V0001_R000297050__….root")'

#include "dqmroot.h"

int list_bad_ls(const char* path) {
  return dqmroot::guarded([&] {
    const dqmroot::File file(path);
    const auto verdict = file.get("verdict_vs_ls");
    const auto mes = file.mes();
    std::vector<std::unique_ptr<TH1>> flags, scores;
    for (const auto& me : mes) {
      flags.push_back(file.get("MEs/" + me + "/flag_vs_ls"));
      scores.push_back(file.get("MEs/" + me + "/score_vs_ls"));
    }
    int bad = 0;
    for (int bin = 1; bin <= verdict->GetNbinsX(); ++bin) {
      if (verdict->GetBinContent(bin) <= 0) continue;
      ++bad;
      printf("run %d LS %d", file.run, static_cast<int>(verdict->GetBinCenter(bin)));
      const char* comma = ": ";
      for (size_t i = 0; i < mes.size(); ++i) {
        if (flags[i]->GetBinContent(bin) <= 0) continue;
        printf("%s%s (score %.4g)", comma, mes[i].c_str(), scores[i]->GetBinContent(bin));
        comma = ", ";
      }
      printf("\n");
    }
    printf("%d bad lumisections in run %d\n", bad, file.run);
  });
}
