"""Draws the worst lumisection of a run as it was and as the model expected it.

Run: python macros/overlay.py DQM_V0001_R….root --me Hcal/DigiTask/Occupancy/depth/depth1 -o picture.png
"""

from __future__ import annotations

import argparse
import sys

from load import load

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("file", help="a DQM GUI file that dqmroot wrote")
parser.add_argument("--me", default="", help="the monitoring element; the first of the file by default")
parser.add_argument("-o", "--output", default="overlay.png", help="the picture (.png, .pdf, .svg, …)")
options = parser.parse_args()
sys.exit(load("overlay", batch=True)(options.file, options.me, options.output))
