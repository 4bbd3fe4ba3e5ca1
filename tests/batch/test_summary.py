"""The page over all runs: every run, every monitoring element, and what is stale stands out."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

from dqmroot.batch.summary import summary_page


def figures(
    me: str, flagged: int, rate: float | None = 0.01, judged: int = 100, outside: bool = False
) -> dict[str, Any]:
    score = 0.5 if judged else None
    return {"me": me, "judged": judged, "flagged": flagged, "median_score": score, "expected_false_rate": rate,
            "threshold": 1.0, "outside_training": outside}  # fmt: skip


def row(run: int, *mes: dict[str, Any]) -> dict[str, Any]:
    return {"run": run, "lumisections": 100, "good": 90, "bad": 7, "not judged": 3, "mes": list(mes)}


def test_every_run_and_element_is_there_and_well_formed() -> None:
    runs = [row(r, figures("A/<b>", 1), figures("C", 0, None), figures("D", 0, judged=0)) for r in (1, 2, 3)]
    text = summary_page(runs, "Era <C>")
    body = text[text.index("<h1>") :]
    tree = ET.fromstring(f"<page>{body}</page>")
    links = [one.get("href") for one in tree.iter("a")]
    assert links == [f"runs/{r}/report/index.html" for r in (1, 2, 3)]
    cells = ["".join(one.itertext()) for one in tree.iter("td")]
    assert {"A/<b>", "C", "D"} <= set(cells)
    assert "1.0 ×" in cells
    assert len(list(tree.iter("svg"))) == 4
    assert 'class="stale"' not in body


def test_a_model_that_flags_too_much_stands_out() -> None:
    text = summary_page([row(1, figures("A", 0)), row(2, figures("A", 40, outside=True))], "Era", "2 of 2 files & more")
    assert "<p>2 of 2 files &amp; more</p>" in text
    assert text.count('class="outside"') == 2
    assert 'class="stale">20.0 ×' in text
    assert "outside its training: 1 of 2 runs" in text
