"""The report: a folder that a browser opens from disk and that asks nothing of any server."""

from __future__ import annotations

from dqmroot.reports.folder import gui_files, report
from dqmroot.reports.static import draw_certification, draw_evaluation

__all__ = ["draw_certification", "draw_evaluation", "gui_files", "report"]
