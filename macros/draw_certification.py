"""Draws the certification of one run.

Run: python macros/draw_certification.py DQM_V0001_R….root -o picture.png
"""

from __future__ import annotations

import argparse
import sys

from load import load

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("file", help="a DQM GUI file that dqmroot wrote")
parser.add_argument("-o", "--output", default="draw_certification.png", help="the picture (.png, .pdf, .svg, …)")
options = parser.parse_args()
sys.exit(load("draw_certification", batch=True)(options.file, options.output))
