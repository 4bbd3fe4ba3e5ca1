"""The results of `detection.py` as Markdown tables, the way docs/detection.md has them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from contestants import GOOD_ONLY, supervised
from simulation import CASES

from dqmroot.evaluate import false_discovery_rate

__all__ = ["fill", "needed", "sections", "table", "tables"]

Row = dict[str, Any]

FIGURES = {
    "accuracy3": "Accuracy over three classes",
    "accuracy2": "Accuracy good/bad, half of the weight each, with the cut that was best on the validation run",
    "auc": "Area under the ROC curve, a good against a bad LS",
    "auc_dead": "The same, dead (degraded) LS only",
    "false_rate_99": "Share of good LS flagged where 99 % of the bad ones are",
    "iou_dead": "Overlap (intersection over union) of the cells said to be dead and those that are",
    "ls_to_detect": "LS until a lasting fault is flagged, of those flagged within 8",
    "never": "Share of lasting faults not flagged within 8 LS",
    "calibration": "Mean difference between probability and truth, probabilities made from scores on the validation run",
}
_CASES = ("5x5 fixed", "5x5", "1x1", "strip", "random 1-16", "readout box", "degraded")


def _ordered(rows: list[Row]) -> list[str]:
    """Return the detectors, the oracle first, then those that learn faults."""
    known = ["oracle", "likelihood_scan, its case", *supervised(CASES["1x1"]), *GOOD_ONLY]
    found = dict.fromkeys(row["detector"] for row in rows)
    return [*(label for label in known if label in found), *(label for label in found if label not in known)]


def cell(values: list[float]) -> str:
    """Return mean ± spread; one number where there is no spread."""
    spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
    mean = f"{np.mean(values):.4f}".rstrip("0").rstrip(".")
    return f"{mean} ± {spread:.4f}" if spread >= 5e-5 else mean


def table(rows: list[Row], figure: str, cases: list[str] | None = None, prefix: str = "") -> str:
    """Return a Markdown table of mean ± spread over seeds, detectors below each other, cases side by side."""
    cases = cases or [case for case in _CASES if any(row["case"] == case for row in rows)]
    heads = [case.removeprefix(prefix) for case in cases]
    lines = ["| detector | " + " | ".join(heads) + " |", "|---" * (len(cases) + 1) + "|"]
    for label in _ordered(rows):
        mine = [row for row in rows if row["detector"] == label and row.get(figure) is not None]
        cells = [
            cell(found) if (found := [row[figure] for row in mine if row["case"] == case]) else "" for case in cases
        ]
        if any(cells):
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _counts_needed(rows: list[Row], kind: str, label: str, seed: int, detection: float) -> float:
    points = sorted(
        (float(row["case"].split()[1]), row["detected"])
        for row in rows
        if row["detector"] == label and row["seed"] == seed and row["case"].startswith(kind + " ")
    )
    for (low, before), (high, after) in pairwise(points):
        if before < detection <= after:
            share = (detection - before) / (after - before)
            return float(np.exp(np.log(low) + share * (np.log(high) - np.log(low))))
    return float("nan")


def needed(rows: list[Row], kind: str, detection: float = 0.99) -> str:
    """Return the mean counts per cell at which each detector sees the fault in 99 % of maps, and their ratio to the oracle's."""
    seeds = sorted({row["seed"] for row in rows})
    lines = ["| detector | counts per cell | ÷ oracle |", "|---|---|---|"]
    for label in dict.fromkeys(row["detector"] for row in rows if row["case"].startswith(kind + " ")):
        at = np.array([_counts_needed(rows, kind, label, seed, detection) for seed in seeds])
        ratio = at / np.array([_counts_needed(rows, kind, "oracle", seed, detection) for seed in seeds])
        if np.isfinite(at).all():
            lines.append(
                f"| {label} | {at.mean():.1f} ± {at.std(ddof=1) if len(at) > 1 else 0:.1f} | {cell(list(ratio))} |"
            )
    return "\n".join(lines)


def _rare(rows: list[Row]) -> str:
    lines = ["| what | good maps | false | share of false alarms |", "|---|---|---|---|"]
    for case in dict.fromkeys(row["case"] for row in rows):
        seen = sum(row["good"] for row in rows if row["case"] == case)
        false = sum(row["false"] for row in rows if row["case"] == case)
        # 95 % upper limit of a Poisson mean where none is seen is 3.0.
        rate = (3.0 if false == 0 else false) / seen
        share = false_discovery_rate(rate, 0.99, 0.01)
        lines.append(f"| {case.removeprefix('rare ')} | {seen:,} | {false} | {'< ' if false == 0 else ''}{share:.1e} |")
    return "\n".join(lines)


def fewer(rows: list[Row], n_seeds: int = 3) -> str:
    """Return which detectors have not been run with all seeds, case by case."""
    found: dict[str, list[str]] = {}
    for label in _ordered(rows):
        for case in _CASES:
            n = len({row["seed"] for row in rows if row["detector"] == label and row["case"] == case})
            if n < n_seeds:
                found.setdefault(label, []).append(f"{case} ({n})")
    return "; ".join(f"{label}: {', '.join(cases)}" for label, cases in found.items())


def sections(rows: list[Row]) -> dict[str, str]:
    """Return the tables of what is done: of the cases, the curves, and the rare faults."""
    out = {}
    plain = [row for row in rows if row["case"] in _CASES]
    if plain:
        seeds = ", ".join(map(str, sorted({row["seed"] for row in plain})))
        left = fewer(plain)
        few = (
            f"Run with fewer seeds (how many): {left}."
            if left
            else "Every detector was run on every case with every seed."
        )
        head = f"Mean ± spread of seeds {seeds}; no spread where it is below 0.00005 or there is one seed. {few}"
        out["cases"] = "\n\n".join([head, *(f"{text}:\n\n{table(plain, figure)}" for figure, text in FIGURES.items())])
    parts = []
    for kind, text in {
        "counts": "One dead cell, detected at 1 % false rate, against the mean counts per cell",
        "efficiency": "The same at the real statistics against the efficiency that the cell has left",
        "half": "A cell that lost half of its counts, against the mean counts per cell",
    }.items():
        lines = [row for row in rows if row["case"].startswith(kind + " ")]
        if lines:
            cases = sorted({row["case"] for row in lines}, key=lambda case: float(case.split()[1]))
            parts.append(f"{text}:\n\n{table(lines, 'detected', cases, kind + ' ')}")
            if kind != "efficiency":
                parts.append(f"Counts per cell at which 99 % are seen, by interpolation:\n\n{needed(lines, kind)}")
    if parts:
        out["curves"] = "\n\n".join(parts)
    rare = [row for row in rows if row["case"].startswith("rare ")]
    if rare:
        out["rare"] = f"A single dead cell, 99 % detected, one faulty map in a hundred; 95 % limits:\n\n{_rare(rare)}"
    return out


def tables(rows: list[Row]) -> str:
    """Return all tables of what is done."""
    return "\n\n".join(sections(rows).values())


def fill(page: Path, rows: list[Row]) -> None:
    """Put the tables into a page, each between ``<!-- name -->`` and ``<!-- end of name -->``."""
    text = page.read_text(encoding="utf-8")
    for name, made in sections(rows).items():
        begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise SystemExit(f"{page}: no place for {name}: it needs {begin.strip()} and {end.strip()}")
        text = f"{before}{begin}\n{made}\n{end}{after}"
    page.write_text(text, encoding="utf-8")
