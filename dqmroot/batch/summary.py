"""A page over all runs of a campaign: verdicts, and for each monitoring element how score and flagged share go with the runs."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from typing import Any

__all__ = ["summary_page"]

_WIDTH, _HEIGHT = 300, 84

_STYLE = """
:root { color-scheme: light dark; --line: #1f6feb; --limit: #d1242f; --good: #2da44e; --none: #8c959f; --faint: #8884; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 76em; padding: 0 1em; }
table { border-collapse: collapse; width: 100%; } h2 { margin-top: 2em; }
th, td { padding: .25em .6em; text-align: right; border-bottom: 1px solid var(--faint); }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; } th.wide, td.wide { width: 32%; text-align: left; }
.bar { display: flex; height: .7em; } .bar i { background: var(--none); } .bar i.good { background: var(--good); }
.bar i.bad { background: var(--limit); } svg { background: #8881; width: 100%; display: block; }
polyline { fill: none; stroke: var(--line); stroke-width: 1.5; } circle { fill: var(--line); }
circle.outside { fill: Canvas; stroke: var(--line); } line { stroke: var(--limit); stroke-dasharray: 4 3; }
text { font-size: 9px; fill: currentColor; } small { opacity: .75; } .stale { color: var(--limit); font-weight: 600; }
"""

_KEY = (
    "Of each run the median score and the share of LS flagged; dashed are the cut and the share expected of good LS, open "
    "points are runs outside those that the model has learnt from. The last column compares the flags of the last ten runs "
    "with what is expected of good LS: where it is large and the runs were good, the model is stale."
)


def summary_page(runs: Sequence[Mapping[str, Any]], title: str, told: str = "", without: Collection[int] = ()) -> str:
    """Return the page.

    Args:
        runs: Figures of each run, as ``runs.json`` has them.
        title: Heading.
        told: What is below it.
        without: The runs that have no report.
    """
    text = html.escape(title)
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{text}</title><style>{_STYLE}</style>'
    first = f"<h1>{text}</h1><p>{html.escape(told)}</p>{_run_table(runs, without)}"
    return f"{head}{first}<h2>Monitoring elements against run</h2><p><small>{_KEY}</small></p>{_me_table(runs)}\n"


def _run_table(runs: Sequence[Mapping[str, Any]], without: Collection[int]) -> str:
    rows = []
    for run in runs:
        n = max(int(run["lumisections"]), 1)
        name = str(run["run"])
        link = name if run["run"] in without else f'<a href="runs/{name}/report/index.html">{name}</a>'
        cells = "".join(f"<td>{run[key]}</td>" for key in ("lumisections", "good", "bad", "not judged"))
        kinds = (("good", "good"), ("bad", "bad"), ("none", "not judged"))
        bar = "".join(f'<i class="{kind}" style="width:{100 * run[key] / n:.1f}%"></i>' for kind, key in kinds)
        rows.append(f'<tr><td>{link}</td>{cells}<td class="wide"><div class="bar">{bar}</div></td></tr>')
    names = "".join(f"<th>{name}</th>" for name in ("run", "LS", "good", "bad", "not judged"))
    return f'<table><tr>{names}<th class="wide"></th></tr>{"".join(rows)}</table>'


def _me_table(runs: Sequence[Mapping[str, Any]]) -> str:
    by_me: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for run in runs:
        for figures in run["mes"]:
            by_me.setdefault(figures["me"], []).append((int(run["run"]), figures))
    rows = [_me_row(me, series) for me, series in sorted(by_me.items())]
    wide = "".join(f'<th class="wide">{name}</th>' for name in ("median score", "share flagged"))
    return f"<table><tr><th>monitoring element</th>{wide}<th>flagged / expected</th></tr>{''.join(rows)}</table>"


def _me_row(me: str, series: Sequence[tuple[int, Mapping[str, Any]]]) -> str:
    judged = [(run, one) for run, one in series if one["judged"]]
    runs = [run for run, _ in judged]
    score = [float(one["median_score"]) for _, one in judged]
    share = [one["flagged"] / one["judged"] for _, one in judged]
    expected = next((one["expected_false_rate"] for _, one in judged if one["expected_false_rate"]), None)
    outside = [run for run, one in judged if one["outside_training"]]
    note = f"<br><small>outside its training: {len(outside)} of {len(judged)} runs</small>" if outside else ""
    cut = next((one["threshold"] for _, one in judged if one.get("threshold") is not None), None)
    drift = "-"
    if expected and judged:
        # The last runs are what a stale model goes wrong in.
        last = judged[-10:]
        ratio = sum(one["flagged"] for _, one in last) / sum(one["judged"] for _, one in last) / expected
        drift = f'<span class="{"stale" if ratio > 10 else ""}">{ratio:.1f} ×</span>'
    return (
        f'<tr><td>{html.escape(me).replace("/", "/<wbr/>")}{note}</td><td class="wide">{_trend(runs, score, cut, outside)}</td>'
        f'<td class="wide">{_trend(runs, share, expected, outside)}</td><td>{drift}</td></tr>'
    )


def _trend(runs: Sequence[int], values: Sequence[float], limit: float | None, outside: Sequence[int]) -> str:
    """Draw values against the place of their run."""
    if not values:
        return "-"
    top = max([*values, limit or 0.0]) or 1.0
    floor, step = _HEIGHT - 18, _WIDTH / max(len(values) - 1, 1)
    points = [(i * step, floor - (floor - 14) * value / top) for i, value in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    mark = {True: ' class="outside"', False: ""}
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"{mark[run in outside]}>'
        f"<title>run {run}: {value:.4g}</title></circle>"
        for (x, y), run, value in zip(points, runs, values, strict=True)
    )
    at = 0.0 if limit is None else floor - (floor - 14) * limit / top
    cut = "" if limit is None else f'<line x1="0" x2="{_WIDTH}" y1="{at:.1f}" y2="{at:.1f}"/>'
    last = f'<text x="{_WIDTH}" y="{_HEIGHT - 4}" text-anchor="end">{runs[-1]}</text>' if len(runs) > 1 else ""
    return (
        f'<svg viewBox="-6 0 {_WIDTH + 12} {_HEIGHT}" role="img"><text x="0" y="9">{top:.3g}</text>{cut}'
        f'<polyline points="{line}"/>{dots}<text x="0" y="{_HEIGHT - 4}">{runs[0]}</text>{last}</svg>'
    )
