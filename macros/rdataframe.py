"""Reads the tree of scores with RDataFrame into NumPy: needs no dqmroot.

Run: python macros/rdataframe.py scores.root
"""

from __future__ import annotations

import argparse

import numpy as np
import ROOT

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("file", help="scores.root, as dqmroot publishes it")
frame = ROOT.RDataFrame("scores", parser.parse_args().file)
columns = frame.Define("text", "std::string(name.data())").AsNumpy(["me", "text", "score", "threshold", "flag"])
judged = columns["flag"] >= 0
print(f"{judged.sum()} judged scores, {(columns['flag'] == 1).sum()} above the threshold")
for number in np.unique(columns["me"]):
    rows = judged & (columns["me"] == number)
    if rows.any():
        share, name = (columns["flag"][rows] == 1).mean(), columns["text"][columns["me"] == number][0]
        print(f"{100 * share:6.2f} % of {rows.sum():5} bad  {name}")
