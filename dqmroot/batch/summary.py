"""A page over all runs of a campaign: verdicts, and for each monitoring element how score and flagged share go with the runs."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["summary_page"]

_WIDTH, _HEIGHT = 300, 70

_STYLE = """
:root { color-scheme: light dark; --line: #1f6feb; --limit: #d1242f; --faint: #8884; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .25em .6em; text-align: right; border-bottom: 1px solid var(--faint); }
th:first-child, td:first-child { text-align: left; } td.bar { width: 12em; } h2 { margin-top: 2em; }
.bar div { background: var(--limit); height: .7em; } svg { background: #8881; }
polyline { fill: none; stroke: var(--line); stroke-width: 1.5; }
circle { fill: var(--line); } line { stroke: var(--limit); stroke-dasharray: 4 3; } text { font-size: 9px; fill: currentColor; }
.stale { color: var(--limit); font-weight: 600; }
"""


def summary_page(runs: Sequence[Mapping[str, Any]], title: str) -> str:
    """Return the page.

    Args:
        runs: Figures of each run, as ``runs.json`` has them.
        title: Heading.
    """
    text = html.escape(title)
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{text}</title><style>{_STYLE}</style>'
    return f"{head}<h1>{text}</h1>{_run_table(runs)}<h2>Monitoring elements against run</h2>{_me_table(runs)}\n"


def _run_table(runs: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for run in runs:
        n = max(int(run["lumisections"]), 1)
        link = f'<a href="runs/{run["run"]}/report/index.html">{run["run"]}</a>'
        width = 100 * run["bad"] / n
        cells = "".join(f"<td>{run[key]}</td>" for key in ("lumisections", "good", "bad", "not judged"))
        rows.append(f'<tr><td>{link}</td>{cells}<td class="bar"><div style="width:{width:.1f}%"></div></td></tr>')
    names = ("run", "LS", "good", "bad", "not judged", "share bad")
    return f"<table><tr>{''.join(f'<th>{name}</th>' for name in names)}</tr>{''.join(rows)}</table>"


def _me_table(runs: Sequence[Mapping[str, Any]]) -> str:
    by_me: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for run in runs:
        for figures in run["mes"]:
            by_me.setdefault(figures["me"], []).append((int(run["run"]), figures))
    rows = [_me_row(me, series) for me, series in sorted(by_me.items())]
    names = ("monitoring element", "median score", "flagged share", "flagged over expected")
    return f"<table><tr>{''.join(f'<th>{name}</th>' for name in names)}</tr>{''.join(rows)}</table>"


def _me_row(me: str, series: Sequence[tuple[int, Mapping[str, Any]]]) -> str:
    judged = [(run, one) for run, one in series if one["judged"]]
    runs = [run for run, _ in judged]
    score = [float(one["median_score"]) for _, one in judged]
    share = [one["flagged"] / one["judged"] for _, one in judged]
    expected = next((one["expected_false_rate"] for _, one in judged if one["expected_false_rate"]), None)
    outside = [run for run, one in judged if one["outside_training"]]
    note = f"<br>outside its training: {len(outside)} of {len(judged)} runs" if outside else ""
    drift = "-"
    if expected and judged:
        # The last runs are what a stale model goes wrong in.
        last = judged[-10:]
        ratio = sum(one["flagged"] for _, one in last) / sum(one["judged"] for _, one in last) / expected
        drift = f'<span class="{"stale" if ratio > 10 else ""}">{ratio:.1f} ×</span>'
    return (
        f"<tr><td>{html.escape(me)}{note}</td><td>{_trend(runs, score, None)}</td>"
        f"<td>{_trend(runs, share, expected)}</td><td>{drift}</td></tr>"
    )


def _trend(runs: Sequence[int], values: Sequence[float], limit: float | None) -> str:
    """Draw values against the place of their run."""
    if not values:
        return "-"
    top = max([*values, limit or 0.0]) or 1.0
    step = _WIDTH / max(len(values) - 1, 1)
    points = [(i * step, _HEIGHT - 6 - (_HEIGHT - 18) * value / top) for i, value in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2"><title>run {run}: {value:.4g}</title></circle>'
        for (x, y), run, value in zip(points, runs, values, strict=True)
    )
    at = 0.0 if limit is None else _HEIGHT - 6 - (_HEIGHT - 18) * limit / top
    cut = "" if limit is None else f'<line x1="0" x2="{_WIDTH}" y1="{at:.1f}" y2="{at:.1f}"/>'
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="-4 0 {_WIDTH + 8} {_HEIGHT}" role="img">'
        f'<text x="0" y="9">{top:.3g}</text>{cut}<polyline points="{line}"/>{dots}</svg>'
    )
