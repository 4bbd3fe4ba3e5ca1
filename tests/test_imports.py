"""What an import costs, and who can live with whom in one process."""

from __future__ import annotations

import itertools
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = (
    "keras",
    "tensorflow",
    "numba",
    "matplotlib",
    "sklearn",
    "uproot",
    "awkward",
    "hist",
    "h5py",
    "pyarrow",
    "ROOT",
    "rich",
)


def python(code: str, *, cwd: Path | None = None, executable: str = sys.executable) -> str:
    done = subprocess.run([executable, "-c", code], capture_output=True, text=True, cwd=cwd, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "code", ["import dqmroot", "from dqmroot.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"]
)
def test_light_things_stay_light(code: str) -> None:
    loaded = python(f"{code}\nimport sys\nprint('\\n' + ' '.join(m for m in {HEAVY} if m in sys.modules))")
    assert loaded.splitlines()[-1:] in ([], [""]) or not set(loaded.splitlines()[-1].split()) & set(HEAVY)


@pytest.mark.parametrize("order", list(itertools.permutations(("ROOT", "tensorflow", "numba"))), ids="-".join)
def test_root_tensorflow_and_numba_share_a_process(order: tuple[str, ...]) -> None:
    code = "\n".join(f"import {name}" for name in order)
    code += """
import numpy as np
assert numba.njit(lambda x: x + 1)(1) == 2
assert float(tensorflow.reduce_sum(tensorflow.constant(np.ones(3)))) == 3
h = ROOT.TH1F("h", "", 2, 0, 1); h.Fill(0.1); assert h.GetBinContent(1) == 1
from dqmroot.distance import mean_of_largest
assert mean_of_largest(np.ones((2, 12)), np.zeros((2, 12))).tolist() == [1, 1]
"""
    python(code)


KERNELS = "import numpy as np, dqmroot.kernels.jit as jit, dqmroot; print(jit.__file__); print(dqmroot.__file__)"


def test_kernels_import_from_the_clone_and_from_elsewhere(tmp_path: Path) -> None:
    for cwd in (ROOT, tmp_path):
        kernels, package = python(KERNELS, cwd=cwd).splitlines()
        assert Path(kernels).resolve() == ROOT / "kernels" / "jit.py"
        assert Path(package).resolve() == ROOT / "dqmroot" / "__init__.py"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "plain", "editable", "sdist"])
def test_kernels_import_however_installed(tmp_path: Path, kind: str) -> None:
    home = tmp_path / "env"
    venv.create(home, with_pip=True, system_site_packages=False)
    executable = str(home / "bin" / "python")
    source: list[str] = [str(ROOT)]
    if kind in {"wheel", "sdist"}:
        built = tmp_path / "dist"
        command = [sys.executable, "-m", "build", f"--{kind}", "--outdir", str(built), str(ROOT)]
        subprocess.run(command, check=True, capture_output=True)
        source = [str(next(built.iterdir()))]
    elif kind == "editable":
        source = ["--editable", str(ROOT)]
    subprocess.run([executable, "-m", "pip", "install", "--quiet", "--no-deps", *source], check=True)
    # The libraries come from here: what is tested is where dqmroot's own files went.
    libraries = next(Path(p) for p in sys.path if p.endswith("site-packages"))
    site = next((home / "lib").glob("python*/site-packages"))
    (site / "libraries.pth").write_text(str(libraries))
    for cwd in (tmp_path, ROOT):
        kernels, _ = python(KERNELS, cwd=cwd, executable=executable).splitlines()
        inside = Path(kernels).resolve().is_relative_to(home.resolve())
        assert inside == (kind != "editable" and cwd != ROOT)
    python(
        "from dqmroot.demo import DATA; assert (DATA / 'demo.root').stat().st_size > 1e6",
        cwd=tmp_path,
        executable=executable,
    )
