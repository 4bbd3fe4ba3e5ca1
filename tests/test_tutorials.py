"""Each tutorial runs from top to bottom."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).parents[1] / "docs" / "tutorials"


def code_of(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hcal", "muon", "certify", "root", "detector"])
def test_a_tutorial_runs(name: str, tmp_path: Path) -> None:
    if name == "root":
        pytest.importorskip("ROOT")
        pytest.importorskip("IPython")
    done = subprocess.run(
        [sys.executable, "-c", code_of(TUTORIALS / f"{name}.ipynb")],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def test_every_tutorial_is_tested_and_kept_without_output() -> None:
    found = sorted(TUTORIALS.glob("*.ipynb"))
    assert [path.stem for path in found] == ["certify", "detector", "hcal", "muon", "root"]
    for path in found:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert not any(cell.get("outputs") for cell in cells), path
