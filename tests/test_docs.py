"""Every block of code in README and docs runs, in order and in one folder, and prints what is shown below it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

import pytest
from pages import RUN, Block, blocks, differs

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.joinpath("docs").glob("*.md")])

# How many blocks of a page are not run, each with its reason in the page; one more is a decision, not an accident.
NOT_RUN = {"README.md": 2, "cluster.md": 4, "index.md": 2}
LANGUAGES = {*RUN, "json", "text", "toml"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(one.runs for one in blocks(page))], ids=lambda p: p.name
)
def test_the_blocks_of_a_page_run_and_print_what_is_shown(page: Path, tmp_path: Path) -> None:
    if "import ROOT" in page.read_text(encoding="utf-8"):
        pytest.importorskip("ROOT")
    place = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    (tmp_path / "work").mkdir()
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("pages.py")), str(page), str(tmp_path / "printed.json")],
        cwd=tmp_path / "work",
        env={
            **os.environ,
            "PATH": place,
            "MPLBACKEND": "Agg",
            "COLUMNS": "80",
            "PYTHONWARNINGS": "ignore::UserWarning:ROOT",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    for told in json.loads((tmp_path / "printed.json").read_text(encoding="utf-8")):
        one = Block(**told)
        shown = one.text if one.mark == "printed by" else one.shown
        if shown is not None:
            assert not differs(shown, one.printed or ""), (
                f"{page.name}:\n{one.text}\n{differs(shown, one.printed or '')}"
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_block_says_what_it_is(page: Path) -> None:
    found = blocks(page)
    assert len(re.findall(r"^```\w*$", page.read_text(encoding="utf-8"), re.MULTILINE)) == 2 * len(found) + 2 * sum(
        one.shown is not None for one in found
    ), "a block that is not read"
    for one in found:
        assert one.language in LANGUAGES, f"{page.name}: a block without a language, or of an unknown one:\n{one.text}"
        assert one.mark in {"", "not run", "file", "printed by"}, f"{page.name}: {one.mark}"
        if one.language == "text" and not one.mark:
            assert not re.match(r"(dqmroot|python|pip|make) ", one.text), (
                f"{page.name}: a command that is not run:\n{one.text}"
            )
    skipped = [one for one in found if one.mark == "not run" and one.language in {*RUN, "text"}]
    assert len(skipped) == NOT_RUN.get(page.name, 0), [one.text for one in skipped]


def test_what_differs_is_seen() -> None:
    assert not differs("a 1.50 tcp://127.0.0.1:1\n", "a 1.51 tcp://127.0.0.1:23  \n")
    assert not differs("first\n…\nlast", "first\n1\n2\nlast")
    for shown, printed in [("a 1", "a 2"), ("a 1.5", "a 2.5"), ("a", "a\nb"), ("a\nb", "a"), ("a\n…\nc", "a\nb")]:
        assert differs(shown, printed)


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("[A-Z]*.md"), ROOT / "macros" / "README.md"], ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        place = page.parent / unquote(path) if path else page
        assert place.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(place), f"{page.name}: {target}"


def links(page: Path) -> list[str]:
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """The anchors that a page has, as GitHub and MkDocs make them of headings."""
    heads = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


WEB = sorted(
    {
        link.rstrip(".,")
        for page in [*PAGES, *ROOT.glob("[A-Z]*.*"), *ROOT.joinpath("docs", "tutorials").glob("*.ipynb")]
        for link in re.findall(r"https?://[^\s)>\"'`\\\\]+", page.read_text(encoding="utf-8"))
        if "example.org" not in link
    }
)


@pytest.mark.parametrize("link", WEB)
def test_web_links_are_well_formed(link: str) -> None:
    parts = urlsplit(link)
    assert parts.scheme == "https"
    assert re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", parts.netloc)


@pytest.mark.slow
@pytest.mark.parametrize("link", WEB)
def test_web_links_answer(link: str) -> None:
    try:
        with urlopen(Request(link, method="HEAD", headers={"User-Agent": "Mozilla/5.0"}), timeout=20) as answer:
            assert answer.status < 400
    except HTTPError as error:
        told = pytest.fail if error.code in {404, 410} else pytest.skip
        told(f"{link}: {error}")
    except OSError as error:
        pytest.skip(f"{link}: not reached from here: {error}")


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
