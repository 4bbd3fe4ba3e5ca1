"""Every block of code in README and docs runs, in order and in one folder, and prints what is shown below it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.joinpath("docs").glob("*.md")])
BLOCK = re.compile(r"^(<!-- not run: .+? -->\n)?```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

# Blocks that no test of one machine can run, by page and how they begin, with the reason.
NOT_RUN = {
    ("README.md", "make demo"): "make demo and make test are run by whoever runs this",
    ("README.md", "dqmroot ls FILES"): "shows the verbs; each one runs in the tour",
    ("README.md", "pip install"): "installs; see test_imports.py",
    ("cluster.md", "apt-get install -y slurm"): "sets up Slurm; tests/batch runs on it where it is",
    ("cluster.md", "apt-get install -y htcondor"): "sets up HTCondor",
    ("cluster.md", "dask scheduler"): "starts servers; tests/batch starts its own",
}

# What a page takes for granted.
BEFORE = {
    "gui-files.md": """
import dqmroot as dq
from dqmroot.demo import DATA

file, me = str(DATA / "demo.root"), "CSC/FEDIntegrity/FEDTotalEventSize"
model = dq.Model(detector=dq.detector("pca")).train(dq.read(file, me, runs=[355100, 355102]))
cert = dq.certify(dq.read(file, me, runs=355105), model)
"""
}


def blocks(page: Path) -> list[tuple[str, str]]:
    """The blocks of a page as (language, text); those that are not to be run have the language ``text``."""
    found = []
    for skip, language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        known = any(page.name == name and text.startswith(begin) for name, begin in NOT_RUN)
        found.append(("skipped" if skip or known else language, text))
    return found


def script(page: Path) -> str:
    """A shell script that runs the page; the Python blocks of a page are one program, cut where shell comes between."""
    lines, program, mark = ["set -e"], BEFORE.get(page.name, ""), 0
    for i, (language, text) in enumerate(blocks(page)):
        if language == "python":
            program += f"\n{text}"
            following = [other for other, _ in blocks(page)[i + 1 :] if other in {"python", "sh", "bash"}]
            shown = blocks(page)[i + 1][0] == "text" if i + 1 < len(blocks(page)) else False
            if not following or following[0] != "python" or shown:
                lines += [f"cat > block{mark}.py <<'PYTHON'", program, "PYTHON", f"python block{mark}.py"]
                program, mark = BEFORE.get(page.name, ""), mark + 1
        elif language in {"sh", "bash"}:
            lines.append(text)
        lines.append(f"echo '=== {i}'; echo '=== {i}' >&2" if language in {"sh", "bash", "python"} else "true")
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if {"sh", "bash", "python"} & {b[0] for b in blocks(page)}], ids=str
)
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    if page.name == "gui-files.md":
        pytest.importorskip("ROOT")
    (tmp_path / "dqmroot").symlink_to(ROOT / "dqmroot")
    place = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", script(page)],
        cwd=tmp_path,
        env={**os.environ, "PATH": place, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, f"{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
    said = {line.strip() for line in (done.stdout + done.stderr).splitlines()}
    if page.name != "tour.md":
        return
    for language, text in blocks(page):
        if language == "text":
            missing = [line for line in text.splitlines() if line.strip() not in said]
            assert not missing, (
                f"shown, but not printed: {missing}; printed: {done.stdout[-1500:]}{done.stderr[-1500:]}"
            )


def test_what_is_not_run_is_there() -> None:
    for name, begin in NOT_RUN:
        (page,) = [page for page in PAGES if page.name == name]
        assert any(text.startswith(begin) for _, text in blocks(page)), f"{name}: {begin}"


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("[A-Z]*.md"), ROOT / "macros" / "README.md"], ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)):
        if not re.match(r"[a-z]+:", target):
            path, _, _anchor = target.partition("#")
            assert not path or (page.parent / unquote(path)).exists(), f"{page.name}: {target}"


@pytest.mark.slow
def test_the_site_builds_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "DQMROOT_DOCS_EXECUTE": "false", "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "api" / "index.html").read_text(encoding="utf-8")
    import dqmroot

    for name in dqmroot._HOME_OF:
        assert f">{name}<" in page, f"{name} is not in the reference"
