"""Size and smoothness of the report of one run of 3,000 LS x 300 monitoring elements, in headless Chromium.

Prints what each kind of movement costs per frame (script time; 16.7 ms keeps 60 frames a second), and how long the page
takes to open. Needs Chromium and Playwright.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from certifications import make_large

from dqmroot.reports import report

MOVES = {
    "move the cursor": "dqmroot.point(1 + (i * 37) % 3000, (i * 7) % 300)",
    "scroll": "document.getElementById('map').scrollTop = (i * 61) % 4500",
    "zoom": "dqmroot.zoom(i % 2 ? 2 : 0.5)",
    "all rows at once": "(dqmroot.view.rows = 'all', dqmroot.view.colour = i % 2 ? 'score' : 'verdict', dqmroot.draw())",
    "cursor in all rows": "dqmroot.point(1 + (i * 37) % 3000, (i * 7) % 300)",
}

FRAMES = """
async (move) => {
  const act = new Function("i", move);
  const out = [];
  for (let i = 0; i < 40; i += 1) {
    await new Promise(requestAnimationFrame);
    const start = performance.now();
    act(i);
    await new Promise(requestAnimationFrame);
    await new Promise((done) => setTimeout(done, 0));
    out.push(performance.now() - start);
  }
  return out;
}
"""


def main() -> None:
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as player:
        start = time.perf_counter()
        cert = make_large(3000, 300)
        made = time.perf_counter()
        page_file = report(cert, Path(folder, "report"))
        written = time.perf_counter()
        size = sum(file.stat().st_size for file in page_file.parent.rglob("*") if file.is_file())
        print(
            f"certification made in {made - start:.1f} s, report written in {written - made:.1f} s, {size / 1e6:.2f} MB"
        )
        browser = player.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1360, "height": 900})
        start = time.perf_counter()
        page.goto(page_file.as_uri())
        page.wait_for_selector("html[data-ready=yes]")
        print(f"opened and drawn in {time.perf_counter() - start:.2f} s")
        start = time.perf_counter()
        page.evaluate("() => { location.hash = 'run=355555&ls=110&me=4'; }")
        page.wait_for_selector("#why[data-shown]")
        print(f"a click is answered in {time.perf_counter() - start:.2f} s")
        print(f"{'':20} {'median':>8} {'worst':>8}  ms per frame")
        for name, move in MOVES.items():
            frames = page.evaluate(FRAMES, move)
            print(f"{name:20} {statistics.median(frames):8.1f} {max(frames):8.1f}")
        browser.close()


if __name__ == "__main__":
    main()
