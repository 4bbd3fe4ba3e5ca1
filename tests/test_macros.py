"""Every macro and script runs in batch on files that dqmroot just wrote, says the right figures, and draws something."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from certifications import MAP, PROFILE, SHAPE, make_certification

from dqmroot.publication import publish

MACROS = Path(__file__).parents[1] / "macros"
ROOT = Path(sys.executable).with_name("root")
DATASET = "/ZeroBias/Run2017B-dqmroot-v1/DQMIO"
DRAWING = {
    "draw_certification": ([], "run 297050: 24 good, 5 bad, 3 not judged lumisections"),
    "overlay": ([SHAPE], f"{SHAPE}: original of LS"),
    "compare_runs": ([MAP], "run 297056: 5 of 29 judged lumisections bad"),
}
PRINTING = {
    "list_bad_ls": [
        "run 297050 LS 10: Hcal/DigiTask/Occupancy/depth/depth1 (score ",
        "5 bad lumisections in run 297050",
    ],
    "rdataframe": ["174 judged scores, 30 above the threshold", f" 17.24 % of    58 bad  {SHAPE}"],
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [str(path) for path in publish(make_certification(), tmp_path_factory.mktemp("macros"), DATASET)]


def arguments(name: str, files: list[str]) -> list[str]:
    return files[2:] if name == "rdataframe" else files[:2] if name == "compare_runs" else files[:1]


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, env=environment, timeout=120
    )


def run_macro(name: str, values: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    quoted = ", ".join('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values)
    return run([str(ROOT), "-l", "-b", "-q", f"{MACROS / name}.C({quoted})"], folder)


def is_drawn(picture: Path) -> bool:
    """Tell whether a picture has more than a frame on it."""
    from matplotlib.image import imread

    pixels = imread(picture)
    inked = (pixels[..., :3] < 0.9).any(axis=2).mean()
    return bool(0.02 < inked < 0.98) and len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 10


@pytest.mark.parametrize("name", DRAWING)
def test_macros_draw(name: str, files: list[str], tmp_path: Path) -> None:
    extra, said = DRAWING[name]
    done = run_macro(name, [*arguments(name, files), *extra, "picture.png"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert "error" not in done.stderr.lower()
    assert is_drawn(tmp_path / "picture.png")


@pytest.mark.parametrize("name", DRAWING)
def test_scripts_draw(name: str, files: list[str], tmp_path: Path) -> None:
    extra, said = DRAWING[name]
    options = ["--me", *extra] if extra else []
    done = run([sys.executable, str(MACROS / f"{name}.py"), *arguments(name, files), *options, "-o", "p.png"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert is_drawn(tmp_path / "p.png")


@pytest.mark.parametrize("name", PRINTING)
def test_macros_and_scripts_say_the_same(name: str, files: list[str], tmp_path: Path) -> None:
    script = run([sys.executable, str(MACROS / f"{name}.py"), *arguments(name, files)], tmp_path)
    picture = ["picture.pdf"] if name == "rdataframe" else []
    macro = run_macro(name, [*arguments(name, files), *picture], tmp_path)
    assert all((tmp_path / made).read_bytes().startswith(b"%PDF") for made in picture)
    assert (script.returncode, macro.returncode) == (0, 0), script.stderr + macro.stderr
    for said in PRINTING[name]:
        assert said in script.stdout
    # ROOT prints what it processes before, and the value of the macro behind.
    assert script.stdout.strip() == "\n".join(macro.stdout.strip().splitlines()[1:-1])


@pytest.mark.parametrize("me", [MAP, *(pytest.param(me, marks=pytest.mark.slow) for me in (PROFILE, ""))])
def test_overlay_of_other_elements(me: str, files: list[str], tmp_path: Path) -> None:
    done = run_macro("overlay", [files[0], me, "picture.png"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{me or MAP}: original of LS" in done.stdout
    assert is_drawn(tmp_path / "picture.png")


def test_mistakes_are_one_line(files: list[str], tmp_path: Path) -> None:
    (tmp_path / "text.root").write_text("no ROOT file")
    for name, values, why in (
        ("overlay", [files[0], "Hcal/nothing"], "Hcal/nothing: not in the file; there are"),
        ("overlay", ["absent.root"], "absent.root: cannot be opened"),
        ("draw_certification", [files[2]], "not a DQM GUI file"),
    ):
        done = run_macro(name, values, tmp_path)
        assert done.returncode == 1
        assert why in done.stderr


def test_what_was_not_judged_and_has_no_maps(tmp_path: Path) -> None:
    cert = make_certification(((SHAPE, "TH1F"),), runs=(297050,))
    nothing = np.full(len(cert), -1, np.int8)
    bare = dataclasses.replace(cert.mes[0], score=np.full(len(cert), np.nan), flag=nothing, threshold=float("nan"),
                               worst={}, mean_loss={}, bad_fraction={})  # fmt: skip
    files = [str(path) for path in publish(dataclasses.replace(cert, verdict=nothing, mes=(bare,)), tmp_path, DATASET)]
    done = run_macro("draw_certification", [files[0], "picture.png"], tmp_path)
    assert "0 good, 0 bad, 32 not judged" in done.stdout
    assert (done.returncode, (tmp_path / "picture.png").exists()) == (0, True)
    done = run_macro("overlay", [files[0]], tmp_path)
    assert (done.returncode, "no lumisection of this run was judged" in done.stderr) == (1, True)
    done = run_macro("compare_runs", [files[0], files[0], "", "two.png"], tmp_path)
    assert (done.returncode, (tmp_path / "two.png").exists()) == (0, True), done.stderr
