"""What a campaign tells: a log for machines while it runs, and at its end the manifest, the figures and the page over all runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot._version import __version__
from dqmroot.batch.index import FileIndex
from dqmroot.batch.plan import Plan
from dqmroot.batch.summary import summary_page
from dqmroot.errors import IncompleteError, InputError
from dqmroot.files import write_text
from dqmroot.runs import RunMask

__all__ = ["Log", "Told", "lumi_ranges", "write_ending"]

SCHEMA_VERSION = 1


@dataclass
class Told:
    """What happened, for the manifest.

    Args:
        errors: Path → error of each input that could not be read.
        failures: Work that could not be done: what, which LS, why.
        refused: ``(me, error)`` where a model does not fit.
        copies: Inputs that are copies of others.
        older: DQM GUI files of which there is a later version.
        runs: Figures of each run.
        summary: Figures of the whole.
    """

    errors: dict[str, str] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    refused: set[tuple[str, str]] = field(default_factory=set)
    copies: list[tuple[str, str]] = field(default_factory=list)
    older: list[tuple[str, str]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """Exit status: 0 where all is done, 4 where anything is missing, 3 where no input could be read."""
        if self.errors and not self.runs:
            return InputError.exit_code
        return (
            IncompleteError.exit_code
            if self.errors or self.failures or self.refused or self.summary.get("missing")
            else 0
        )


class Log:
    """A log for machines: one JSON object a line, appended to what is there."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def __call__(self, event: str, **more: Any) -> None:
        """Write one line."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._file.write(json.dumps({"time": now, "event": event, **more}) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def write_ending(out: Path, told: Told, paths: Sequence[str], indices: Sequence[FileIndex], plan: Plan) -> None:
    """Write what is of all runs together, and tell what is missing.

    Args:
        out: Output folder.
        told: What happened; its summary is set.
        paths: Inputs as asked for.
        indices: Those that could be read.
        plan: What was to be done.
    """
    judged = RunMask.from_ranges({})
    for name in ("golden.json", "bad.json", "not_judged.json"):
        masks = [out / "runs" / str(row["run"]) / name for row in told.runs if row["lumisections"]]
        whole = RunMask.from_ranges({})
        for path in masks:
            whole = whole | RunMask.from_json(path)
        judged = judged | whole
        write_text(out / name, whole.to_json())
    lost = plan.keys[~judged.contains(plan.keys >> np.uint64(32), plan.keys & np.uint64(0xFFFFFFFF))]
    figures = {key: sum(row[key] for row in told.runs) for key in ("lumisections", "good", "bad", "not judged")}
    told.summary = {
        "files": len(paths),
        "files_read": len(indices) - len(set(told.errors) & {index.path for index in indices}),
        "runs": len(told.runs),
        "pieces": len(plan.pieces),
        **figures,
        "missing": len(lost),
    }
    trends = {"schema_version": SCHEMA_VERSION, "runs": told.runs}
    write_text(out / "runs.json", json.dumps(trends, indent=1, allow_nan=False) + "\n")
    if told.runs:
        line = "{files_read} of {files} files, {runs} runs, {lumisections} LS: {good} good, {bad} bad, {not judged} not judged"
        line = line.format(**told.summary) + ("; what is missing stands in manifest.json" if told.status else "")
        runs = [int(row["run"]) for row in told.runs]
        without = {run for run in runs if not (out / "runs" / str(run) / "report").is_dir()}
        write_text(out / "summary.html", summary_page(told.runs, f"Campaign {out.name}", line, without))
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "dqmroot_version": __version__,
        "step": "batch",
        "inputs": [index.describe() for index in indices if index.path not in told.errors],
        "errors": [{"path": path, "error": error} for path, error in sorted(told.errors.items())],
        "copies": [{"path": path, "same_as": other} for path, other in told.copies],
        "older_versions": [{"path": path, "later": other} for path, other in told.older],
        "failures": sorted(told.failures, key=lambda row: (row["step"], row["what"])),
        "missing": lumi_ranges(lost),
        "refused": [{"me": me, "error": error} for me, error in sorted(told.refused)],
        "summary": told.summary,
    }
    write_text(out / "manifest.json", json.dumps(manifest, indent=1) + "\n")


def lumi_ranges(keys: NDArray[np.uint64]) -> dict[str, list[list[int]]]:
    """Return LS ``run << 32 | lumi`` as ranges by run, ready for JSON."""
    mask = RunMask.from_lumis(keys >> np.uint64(32), keys & np.uint64(0xFFFFFFFF))
    return {str(run): pairs for run, pairs in mask.to_ranges().items()}
