"""Compares two runs in one monitoring element: scores along the run, how they are distributed, the cut.

Run: python macros/compare_runs.py DQM_V0001_R….root DQM_V0001_R….root --me Hcal/DigiTask/Occupancy/depth/depth1 -o picture.png
"""

from __future__ import annotations

import argparse
import sys

from load import load

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("first", help="a DQM GUI file that dqmroot wrote")
parser.add_argument("second", help="another")
parser.add_argument("--me", default="", help="the monitoring element; the first of the first file by default")
parser.add_argument("-o", "--output", default="compare_runs.png", help="the picture (.png, .pdf, .svg, …)")
options = parser.parse_args()
sys.exit(load("compare_runs", batch=True)(options.first, options.second, options.me, options.output))
