"""The report in Chromium: it opens from disk and from a server, shows the numbers of the JSON, and explains a bad LS."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from certifications import MAP, PROFILE, SHAPE, make_certification
from samples import spectrum, trained

from dqmroot.certification import Certification, certify
from dqmroot.conditions import Conditions
from dqmroot.io.rootfile.guinames import file_name
from dqmroot.publication import publish
from dqmroot.reports import gui_files, report
from dqmroot.runs import RunMask
from dqmroot.series import concatenate

HOSTILE = [
    "<script>window.hit=1</script>",
    "</script><script>window.hit=2</script>",
    "\"><img src=x onerror=window.hit=3>",
    "'+(window.hit=4)+'",
    "../../../../tmp/escape",
    "/etc/passwd",
    "a\nb\r\n\tc\0d",
    "x" * 10_000,
    "Größe/Δφ/日本語/🎉",
    "\u202egnp.exe",
    "\u2028\u2029${window.hit=5}`",
    "\ud800 lone",
    "javascript:window.hit=6",
    "__proto__",
    "constructor",
]  # fmt: skip


def until(page: Any, script: str, arg: Any = None) -> None:
    """Wait until a script gives true; asked again from here, as the page forbids what Playwright's own way evaluates in it."""
    end = time.monotonic() + 30
    while not page.evaluate(script, arg):
        assert time.monotonic() < end, script
        page.wait_for_timeout(20)


@pytest.fixture(scope="module")
def cert() -> Certification:
    return make_certification()


@pytest.fixture(scope="module")
def folder(cert: Certification, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("report")
    cert.save(place)
    lumi = cert.lumi[cert.run == 297050]
    conditions = Conditions(
        np.full(len(lumi), 297050, np.uint32),
        lumi,
        {"pileup": np.linspace(60, 20, len(lumi)), "ho_ready": (lumi % 7 > 0).astype(np.int8), "hlt": lumi.astype(str)},
    )
    dcs = RunMask.from_ranges({297050: [[5, 30]]})
    return report(cert, place / "report", conditions=conditions, dcs=dcs).parent


def pixels(page: Any, selector: str) -> list[int]:
    """Number of different colours of each canvas."""
    return page.eval_on_selector_all(
        selector,
        """all => all.map((canvas) => {
          const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          return new Set(new Uint32Array(data.buffer)).size;
        })""",
    )


def click_cell(page: Any, me: int, lumi: int, move: str = "click") -> None:
    """Click (or hover) the middle of a cell of the map."""
    place = page.evaluate(
        """([me, lumi]) => {
          const box = document.getElementById("map-canvas").getBoundingClientRect();
          const { from, to, order } = dqmroot.view;
          const gutter = Math.min(300, Math.round(box.width * 0.24));
          return [box.left + gutter + ((lumi + 0.5 - from) / (to - from)) * (box.width - gutter),
                  box.top + (order.indexOf(me) + 0.5) * 17];
        }""",
        [me, lumi],
    )
    page.mouse.move(*place)
    if move == "click":
        page.mouse.click(*place)


def number(text: str) -> float:
    return float(text.replace("−", "-"))


@pytest.mark.parametrize("way", ["disk", "server"])
def test_a_click_on_a_bad_lumisection_shows_why(way: str, folder: Path, open_report: Any, serve: Any) -> None:
    opened = open_report(folder, serve(folder) if way == "server" else "")
    page = opened.ready()
    assert page.title() == "Certification of runs 297050 to 297056"
    assert page.locator("#counts .bad dd").inner_text() == "10"
    assert page.locator("#why").is_hidden()
    assert min(pixels(page, "#lanes, #map-canvas")) > 3
    click_cell(page, 0, 12)
    why = opened.explained()
    assert "Run 297050, LS 12" in why.locator("h2").inner_text()
    assert why.locator("h2 .badge").inner_text() == "bad"
    assert why.locator("h3").inner_text() == MAP
    captions = why.locator(".detail > .pictures figcaption").all_inner_texts()
    assert captions[:3] == ["Original", "Reconstruction", "Loss per bin"]
    assert min(pixels(page, "#why .detail > .pictures canvas")) > 10
    assert why.locator(".reasons .reason").count() == 3
    assert "0.1 %" in why.locator(".facts").inner_text()
    # Another element of the same LS: a spectrum. And the next bad LS by its button.
    why.locator(".reason", has_text=SHAPE).click()
    until(page, "name => document.querySelector('#why h3')?.textContent === name", arg=SHAPE)
    why.get_by_role("button", name="next bad").click()
    until(page, "() => document.querySelector('#why h2')?.textContent.includes('LS 13')")


def test_the_map_has_the_numbers_of_the_json(cert: Certification, folder: Path, open_report: Any) -> None:
    told = json.loads((folder.parent / "certification.json").read_text())
    page = open_report(folder).ready()
    for run in (297050, 297056):
        page.locator("#runs").get_by_role("button", name=str(run)).click()
        until(page, "run => dqmroot.view.run && dqmroot.view.run.run === run", arg=run)
        for i, one in enumerate(told["mes"]):
            rows = [k for k, of in enumerate(one["run"]) if of == run]
            lumis = [one["lumi"][k] for k in rows]
            shown = page.evaluate(
                """([me, lumis]) => lumis.map((lumi) => {
                  const { state, score } = dqmroot.cell(dqmroot.view.run, me, lumi);
                  return [state, dqmroot.show(score)];
                })""",
                [i, lumis],
            )
            for k, (state, text) in zip(rows, shown, strict=True):
                flag, score = one["flag"][k], one["score"][k]
                assert state == (2 if flag == -1 else flag)
                assert text == "–" if score is None else number(text) == float(f"{score:.5g}")
        verdicts = {row["lumi"]: row["verdict"] for row in told["lumisections"] if row["run"] == run}
        shown = page.evaluate("() => [...dqmroot.view.run.lumi].map((lumi, i) => [lumi, dqmroot.view.run.verdict[i]])")
        words = {0: "good", 1: "bad", -1: "not judged"}
        assert {lumi: words[verdict] for lumi, verdict in shown} == verdicts


def test_what_is_seen_and_said_of_a_cell_is_its_number(cert: Certification, folder: Path, open_report: Any) -> None:
    page = open_report(folder).ready()
    colours = page.evaluate(
        "() => { const { good, bad, none } = dqmroot.theme(); return [good, bad, none].map(dqmroot.rgb); }"
    )
    for me, lumi in [(0, 12), (0, 20), (1, 5), (2, 14)]:
        result = cert.mes[me]
        at = np.flatnonzero((result.run == 297050) & (result.lumi == lumi))[0]
        click_cell(page, me, lumi, "hover")
        tip = page.locator("#tip").inner_text()
        assert tip.startswith(f"LS {lumi}, {result.me}: ")
        match = re.search(r"score (\S+) \(cut 3\)", tip)
        assert (match is None) == np.isnan(result.score[at])
        assert match is None or number(match[1]) == float(f"{result.score[at]:.5g}")
        seen = page.evaluate(
            """([me, lumi]) => {
              const canvas = document.getElementById("map-canvas");
              const { from, to, order } = dqmroot.view;
              const scale = canvas.width / canvas.getBoundingClientRect().width;
              const width = canvas.width / scale, gutter = Math.min(300, Math.round(width * 0.24));
              const x = gutter + ((lumi + 0.5 - from) / (to - from)) * (width - gutter);
              return [...canvas.getContext("2d").getImageData(x * scale, (order.indexOf(me) + 0.5) * 17 * scale, 1, 1).data];
            }""",
            [me, lumi],
        )
        assert seen[:3] == colours[int(result.flag[at])]


def test_the_keyboard_is_enough(folder: Path, open_report: Any) -> None:
    opened = open_report(folder)
    page = opened.ready()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.id") == "map":
            break
    assert page.evaluate("() => document.activeElement.id") == "map"
    page.keyboard.press("ArrowRight")
    assert page.locator("#live").text_content().startswith("LS 3, ")
    page.keyboard.press("n")
    assert "LS 10, " in page.locator("#live").text_content()
    assert "bad, score" in page.locator("#live").text_content()
    page.keyboard.press("+")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert "LS 10" in opened.explained().locator("h2").inner_text()
    assert page.evaluate("() => document.activeElement.id") == "why"
    # There is no earlier bad one, so the first button is "next bad".
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#why[data-shown^='297050/11/']")


def test_a_screen_reader_has_words_for_everything(folder: Path, open_report: Any) -> None:
    opened = open_report(folder)
    page = opened.ready()
    click_cell(page, 0, 12)
    opened.explained()
    unnamed = page.evaluate(
        """() => [
          ...[...document.querySelectorAll("canvas:not([aria-hidden=true])")].filter((e) => e.role !== "img" || !e.ariaLabel),
          ...[...document.querySelectorAll("button, a")].filter((e) => !(e.ariaLabel || e.textContent.trim())),
          ...[...document.querySelectorAll("input, select")].filter((e) => !e.labels.length),
          ...[...document.querySelectorAll("[aria-labelledby]")].filter((e) => !e.ariaLabelledByElements.length),
        ].map((e) => e.outerHTML.slice(0, 200))"""
    )
    assert unnamed == []
    assert page.evaluate("() => document.documentElement.lang") == "en"
    headings = page.eval_on_selector_all("h1, h2, h3, h4", "all => all.map((e) => Number(e.tagName[1]))")
    assert headings[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))
    label = page.locator("#why .picture canvas").first.get_attribute("aria-label")
    assert re.match(r"Original\. Map of 24 by 18 bins, smallest \S+, largest \S+, sum \S+", label)


def test_an_address_names_what_is_shown(folder: Path, open_report: Any) -> None:
    address = f"{(folder / 'index.html').as_uri()}#run=297056&ls=14&me=2"
    opened = open_report(folder, address)
    why = opened.explained()
    assert "Run 297056, LS 14" in why.locator("h2").inner_text()
    assert why.locator("h3").inner_text() == PROFILE
    opened.ready().evaluate("() => { location.hash = 'run=1&ls=99999&me=nonsense'; }")
    assert "Run 297056, LS 14" in why.locator("h2").inner_text() or why.is_hidden()


def test_a_lumisection_without_pictures_says_so(folder: Path, open_report: Any) -> None:
    opened = open_report(folder)
    page = opened.ready()
    click_cell(page, 0, 25)
    why = opened.explained()
    assert why.locator("h2 .badge").inner_text() == "good"
    assert "not of this one" in why.inner_text()
    why.get_by_role("button", name="the nearest kept").click()
    until(page, "() => document.querySelectorAll('#why .pictures canvas').length >= 3")


def test_real_judgements_bring_neighbours_and_a_reference(tmp_path: Path, open_report: Any) -> None:
    series = concatenate([spectrum({7: 12}, seed=3), spectrum({8: 4}, mean=14)])
    series = series.replace(run=np.full(16, 7), lumi=np.arange(1, 17))
    opened = open_report(report(certify(series, trained()), tmp_path / "report").parent)
    opened.ready().locator("#bad-list button.link").first.click()
    why = opened.explained()
    assert why.locator(".thumb").count() >= 2
    assert "reference, same sum" in why.locator(".picture canvas").first.get_attribute("aria-label")
    facts = why.locator(".facts").inner_text()
    assert "80 LS of runs 1, 2" in facts
    assert "far_from_mean" in facts
    why.locator("summary", has_text="largest loss").click()
    assert why.locator(".numbers tbody tr").count() == 8


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("light", {}),
        ("dark", {"color_scheme": "dark"}),
        ("narrow", {"viewport": {"width": 380, "height": 800}}),
        ("sharp", {"device_scale_factor": 2}),
    ],
)
def test_it_fits_every_screen(name: str, options: dict[str, Any], folder: Path, open_report: Any) -> None:
    opened = open_report(folder, **options)
    page = opened.ready()
    page.locator("#bad-list button.link").first.click()
    opened.explained()
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    paper = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", paper)[:3])) / 3
    assert brightness < 60 if name == "dark" else brightness > 200
    worst = page.evaluate(
        """() => {
          const light = (text) => {
            const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map((v) => linear(v / 255));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const paper = light(getComputedStyle(document.querySelector("section")).backgroundColor);
          const texts = [...document.querySelectorAll("p, dt, dd, th, td, h2, summary, figcaption, .link, .badge")];
          return Math.min(...texts.map((e) => {
            const ink = light(getComputedStyle(e).color);
            return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
          }));
        }"""
    )
    assert worst >= 4.5, "contrast of text, WCAG AA"


def test_it_prints(folder: Path, open_report: Any) -> None:
    opened = open_report(folder, color_scheme="dark")
    page = opened.ready()
    page.locator("#bad-list button.link").first.click()
    opened.explained()
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert len(printed) > 20_000
    page.emulate_media(media="print")
    page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("() => dqmroot.theme().paper") == "#ffffff"
    assert page.locator("#find").is_hidden()


def test_hostile_names_run_nothing_and_leave_nothing(tmp_path: Path, open_report: Any) -> None:
    place = tmp_path / "inner" / "report"
    before = set(tmp_path.rglob("*"))
    cert = make_certification([(name, "TH2F" if i % 2 else "TH1F") for i, name in enumerate(HOSTILE)], runs=(297050,))
    told = tuple((*reasons, HOSTILE[0], HOSTILE[2]) for reasons in cert.reasons)
    hostile = {"detector": HOSTILE[0], "preparation": HOSTILE[2], "parameters": {HOSTILE[3]: HOSTILE[1]}}
    cert = dataclasses.replace(
        cert,
        reasons=told,
        rule=HOSTILE[1],
        models=dict.fromkeys(HOSTILE, hostile),
        inputs=({"path": HOSTILE[2]},),
        mes=tuple(dataclasses.replace(result, note=HOSTILE[2], storage=result.storage) for result in cert.mes),
    )
    axis = dataclasses.replace(cert.mes[0].axes[0], title=HOSTILE[0], labels=tuple(HOSTILE[:5]) + ("",) * 45)
    cert = dataclasses.replace(cert, mes=(dataclasses.replace(cert.mes[0], axes=(axis,)), *cert.mes[1:]))
    report(cert, place, title=HOSTILE[2])
    made = {path.relative_to(tmp_path).as_posix() for path in set(tmp_path.rglob("*")) - before}
    assert all(path.startswith("inner/report") or path == "inner" for path in made)
    assert all(re.fullmatch(r"[a-z0-9.-]+", Path(path).name) for path in made)
    opened = open_report(place)
    page = opened.ready()
    assert page.locator("h1").inner_text() == HOSTILE[2]
    for me in range(len(HOSTILE)):
        page.evaluate("me => { location.hash = `run=297050&ls=12&me=${me}`; }", me)
        page.wait_for_selector(f"#why[data-shown='297050/12/{me}']")
    page.locator("summary").evaluate_all("all => all.forEach((e) => e.click())")
    page.locator("#colour").select_option("score")
    page.locator("#find").fill("<script>")
    click_cell(page, 0, 12, "hover")
    assert page.evaluate("() => window.hit") is None
    assert page.locator("img").count() == 0
    assert page.evaluate("() => document.scripts.length") == page.evaluate(
        "() => [...document.scripts].filter((s) => s.src).length"
    )
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")


def test_what_is_missing_is_told(cert: Certification, tmp_path: Path, chromium: Any) -> None:
    place = report(cert, tmp_path / "report").parent
    (place / "data" / "run-297050.js").unlink()
    page = chromium.new_page()
    page.goto((place / "index.html").as_uri())
    page.wait_for_selector("#failure:not([hidden])")
    assert page.locator("#failure").inner_text() == "This report is incomplete: data/run-297050.js cannot be read"
    page.close()


def test_root_objects_are_linked_and_drawn(
    cert: Certification, tmp_path: Path, open_report: Any, pytestconfig: Any
) -> None:
    library = next(
        Path(pytestconfig.cache.mkdir("x")).parent.glob("jsroot-*/node_modules/jsroot/build/jsroot.min.js"), None
    )
    dataset = "/ZeroBias/Run2024C-dqmroot-v1/DQMIO"
    publish(cert, tmp_path, dataset)
    files = gui_files(tmp_path)
    assert files == {run: tmp_path / file_name(dataset, run) for run in (297050, 297056)}
    place = report(cert, tmp_path / "report", root_files=files, jsroot=library).parent
    opened = open_report(place)
    page = opened.ready()
    click_cell(page, 0, 12)
    why = opened.explained()
    why.locator(".root summary").click()
    href = why.locator(".root a").get_attribute("href")
    assert (place / href).resolve() == files[297050]
    assert f"DQMData/Run 297050/dqmroot/Run summary/MEs/{MAP}" in why.locator(".root code").inner_text()
    if library is None:
        pytest.skip("no JSROOT here: only the link was looked at")
    why.get_by_role("button", name="Draw with JSROOT").click()
    until(page, "() => document.querySelectorAll('.root-picture:has(svg)').length === 6")
