"""The public API: its names are frozen, each is typed, and each has an example in its docstring that runs."""

from __future__ import annotations

import ast
import doctest
import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dqmroot as dq
from dqmroot.demo import DATA
from dqmroot.detectors import detector_class, detector_names

ROOT = Path(__file__).parents[1]
ME = "CSC/FEDIntegrity/FEDTotalEventSize"

# A name that is added here is a promise; one that is taken away breaks someone's script: say so in CHANGELOG.md.
NAMES = [
    "Arrays",
    "AsHistograms",
    "Axis",
    "Certification",
    "Conditions",
    "Detector",
    "ExportedModel",
    "Extracted",
    "GuiFile",
    "Injected",
    "MEInfo",
    "Model",
    "MonitorElement",
    "Preparation",
    "QualityReport",
    "RunMask",
    "Selection",
    "WorkingPoint",
    "__version__",
    "add_lumisections",
    "append_series",
    "arrays",
    "certify",
    "concatenate",
    "crop",
    "detector",
    "detector_names",
    "detector_on",
    "draw",
    "drop_empty",
    "evaluate_scores",
    "export",
    "extract",
    "follow",
    "from_dataframe",
    "from_hist",
    "from_root",
    "include_flow",
    "inject",
    "iterate",
    "ks_distance",
    "list_mes",
    "load_certification",
    "load_exported",
    "load_models",
    "loss_map",
    "map_series",
    "mask_bins",
    "mean_of_largest",
    "merge_occupancy",
    "moments",
    "normalise",
    "open_gui",
    "publish",
    "pulls",
    "read",
    "read_conditions",
    "read_cubes",
    "read_models",
    "read_reference_runs",
    "read_series",
    "rebin",
    "rebin_edges",
    "relative",
    "remove_outliers",
    "report",
    "resample",
    "running",
    "save_models",
    "select",
    "shape_chi2",
    "smooth",
    "stabilise",
    "standardise",
    "time_product",
    "write_series",
]


def test_the_names_are_frozen() -> None:
    assert sorted(dq.__all__) == NAMES
    assert dir(dq) == NAMES


def test_every_name_is_the_one_that_type_checkers_see() -> None:
    tree = ast.parse(Path(dq.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == dq._HOME_OF


@pytest.mark.parametrize("name", [name for name in NAMES if name != "__version__"])
def test_every_parameter_is_typed_and_told(name: str) -> None:
    thing = getattr(dq, name)
    for key, parameter in inspect.signature(thing).parameters.items():
        assert parameter.annotation is not inspect.Parameter.empty, f"{name}({key})"
    assert len((inspect.getdoc(thing) or "").splitlines()[0]) > 10


def documented() -> list[str]:
    files = [*ROOT.joinpath("dqmroot").rglob("*.py"), *ROOT.joinpath("kernels").rglob("*.py")]
    return sorted(str(path.relative_to(ROOT)) for path in files if "dqmroot/kernels" not in str(path))


@pytest.mark.parametrize("path", documented())
def test_everything_public_is_documented(path: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), path

    def visit(node: ast.AST, where: str) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef) and not child.name.startswith("_"):
                overload = any("overload" in ast.dump(one) for one in child.decorator_list)
                if not ast.get_docstring(child) and not overload:
                    yield f"{where}.{child.name}"
                if isinstance(child, ast.ClassDef):
                    yield from visit(child, f"{where}.{child.name}")

    assert not list(visit(tree, path))


@pytest.mark.parametrize("name", detector_names())
def test_every_parameter_of_a_detector_is_told(name: str) -> None:
    made = detector_class(name)
    text = inspect.getdoc(made) or ""
    for key in inspect.signature(made).parameters:
        assert f"\n    {key}: " in text, f"{name}: {key}"


@pytest.fixture(scope="session")
def things(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the examples start from, as docs/api.md tells it."""
    file = str(DATA / "demo.root")
    good, new = dq.read(file, ME, runs=[355100, 355102]), dq.read(file, ME, runs=355105)
    model = dq.Model(prepare="include_flow normalise(integral)", detector=dq.detector("pca")).train(good)
    cert = dq.certify(new, model)
    gui = dq.publish(cert, tmp_path_factory.mktemp("gui"), "/Demo/Run2024A-v1/DQMIO")[0]
    occupancy = dq.read(file, "Hcal/DigiTask/Occupancy/depth/depth1", runs=355100)
    return {
        "dq": dq,
        "np": np,
        "file": file,
        "good": good,
        "new": new,
        "occupancy": occupancy,
        "model": model,
        "cert": cert,
        "gui_file": gui,
    }


@pytest.mark.parametrize("name", [name for name in NAMES if name != "__version__"])
def test_every_name_has_an_example_that_runs(
    name: str, things: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "from_root":
        pytest.importorskip("ROOT")
    thing = getattr(dq, name)
    found = doctest.DocTestParser().get_doctest(inspect.getdoc(thing) or "", dict(things), name, None, None)
    assert found.examples, f"{name} has no example"
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    failed = doctest.DocTestRunner(verbose=False).run(found, out=told.append, clear_globs=False).failed
    assert not failed, "".join(told)
    assert os.fspath(tmp_path)
