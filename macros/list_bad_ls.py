"""Lists the bad lumisections of a run, and the monitoring elements that say so. Needs uproot only.

Run: python macros/list_bad_ls.py DQM_V0001_R….root
"""

from __future__ import annotations

import argparse
import re

import uproot

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("file", help="a DQM GUI file that dqmroot wrote")
path = parser.parse_args().file

with uproot.open(path) as file:
    names = file.keys(recursive=True, cycle=False, filter_name="*_vs_ls")
    run = next(int(found[1]) for name in names if (found := re.match(r"DQMData/Run (\d+)/dqmroot/Run summary/", name)))
    top = f"DQMData/Run {run}/dqmroot/Run summary/"
    mes = [name[len(top + "MEs/") : -len("/flag_vs_ls")] for name in names if name.endswith("/flag_vs_ls")]
    verdict = file[top + "verdict_vs_ls"]
    flags = {me: file[f"{top}MEs/{me}/flag_vs_ls"].values() for me in mes}
    scores = {me: file[f"{top}MEs/{me}/score_vs_ls"].values() for me in mes}
    bad = (verdict.values() > 0).nonzero()[0]
    for at in bad:
        why = ", ".join(f"{me} (score {scores[me][at]:.4g})" for me in mes if flags[me][at] > 0)
        print(f"run {run} LS {verdict.axis().centers()[at]:.0f}: {why}")
    print(f"{len(bad)} bad lumisections in run {run}")
