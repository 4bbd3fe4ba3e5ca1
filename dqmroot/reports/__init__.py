"""The report: a folder that a browser opens from disk and that asks nothing of any server."""

from __future__ import annotations

from dqmroot.reports.folder import gui_files, report

__all__ = ["gui_files", "report"]
