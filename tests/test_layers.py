"""Imports run downward only, have no cycles, and each third-party library has its listed homes."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ROWS = [
    {"errors", "_version", "kernels", "display", "scientific"},
    {"series", "runs", "config", "files", "labels", "scores"},
    {"conditions", "selection"},
    {"io", "prepare", "injection", "distance", "plot"},
    {"detectors", "outliers", "resampling"},
    {"threshold", "combine", "evaluate", "folds", "modelcard"},
    {"model"},
    {"learning"},
    {"examples", "deployment"},
    {"judgement"},
    {"certification"},
    {"publication"},
    {"reports"},
    {"comparison", "pipeline"},
    {"batch", "demo"},
    {"watch"},
    {"doctor"},
    {"cli"},
]
ROW_OF = {module: row for row, modules in enumerate(ROWS) for module in modules}

IO_ROWS = [
    {"arrays", "collector", "duplicates", "names", "storage"},
    {"convert", "nanodqmio", "ragged"},
    {"rootfile"},
    {"tables"},
    {"joined"},
    {"formats"},
    {"extract"},
]
IO_ROW_OF = {module: row for row, modules in enumerate(IO_ROWS) for module in modules}

HOMES = {
    "numpy": set(ROW_OF),
    "numba": {"kernels"},
    "llvmlite": {"kernels"},
    "awkward": {"series", "io"},
    "hist": {"series"},
    "pandas": {"series", "io"},
    "uproot": {"io"},
    "h5py": {"io"},
    "pyarrow": {"io", "conditions"},
    "deflate": {"io", "reports", "examples"},
    "cramjam": {"io"},
    "xxhash": {"io"},
    "fsspec": {"io"},
    "XRootD": {"io"},
    "ROOT": {"io"},
    "matplotlib": {"plot"},
    "PIL": {"plot"},
    "mplhep": {"plot"},
    "keras": {"detectors"},
    "scipy": {"scientific", "detectors", "evaluate"},
    "sklearn": {"detectors", "combine", "evaluate"},
    "threadpoolctl": {"resampling"},
    "onnx": {"deployment"},
    "onnxruntime": {"deployment"},
    "jinja2": {"reports"},
    "dask": {"batch"},
    "distributed": {"batch"},
    "dask_jobqueue": {"batch"},
    "rich": {"cli"},
    "shtab": {"cli"},
}


def modules() -> list[tuple[str, Path]]:
    """Every module of the package as (dotted name below dqmroot, path)."""
    found = []
    for path in sorted(ROOT.joinpath("dqmroot").glob("**/*.py")) + sorted(ROOT.joinpath("kernels").glob("**/*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[1:] if parts[0] == "dqmroot" else parts
        found.append((".".join(p for p in parts if p != "__init__"), path))
    return [(name, path) for name, path in found if name and not path.is_symlink()]


def imports(path: Path) -> set[str]:
    """Dotted names that a module imports at run time; `if TYPE_CHECKING:` does not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skip = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skip:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize(("name", "path"), modules(), ids=str)
def test_imports_run_downward(name: str, path: Path) -> None:
    head = name.split(".", maxsplit=1)[0]
    assert head in ROW_OF, f"{head} has no row in the picture of the layers"
    for imported in imports(path):
        parts = imported.split(".")
        if parts[0] == "dqmroot" and len(parts) > 1:
            target = parts[1]
            if target in {"__version__", head}:
                continue
            assert target in ROW_OF, f"{name} imports {imported}, which has no row"
            assert ROW_OF[target] < ROW_OF[head], f"{name} imports {imported}, which is not below it"
        elif parts[0] not in sys.stdlib_module_names and parts[0] != "dqmroot":
            assert parts[0] in HOMES, f"{name} imports {parts[0]}, which has no home"
            assert head in HOMES[parts[0]], f"{parts[0]} is not at home in {name}"


def test_keras_comes_through_one_door() -> None:
    """Whoever imports it elsewhere lets TensorFlow's greeting out."""
    at_home = {name for name, path in modules() if any(one.split(".")[0] == "keras" for one in imports(path))}
    assert at_home == {"detectors.backend"}


@pytest.mark.parametrize(("name", "path"), [(n, p) for n, p in modules() if n.startswith("io.")], ids=str)
def test_imports_within_io_run_downward(name: str, path: Path) -> None:
    own = name.split(".")[1]
    for imported in imports(path):
        if imported.startswith("dqmroot.io."):
            target = imported.split(".")[2]
            if target != own:
                assert IO_ROW_OF[target] < IO_ROW_OF[own], f"{name} imports {imported}, which is not below it"


def test_no_module_bears_a_public_name() -> None:
    # Importing dqmroot.x sets the attribute x of the package: it would hide a function of that name.
    import dqmroot

    assert not {name for name, _ in modules()} & (set(dqmroot.__all__) - {"__version__"})


def test_no_cycles() -> None:
    known = dict(modules())
    graph = {
        name: {
            other
            for imported in imports(path)
            if imported.startswith("dqmroot.")
            for other in known
            if imported.removeprefix("dqmroot.") == other
            or imported.removeprefix("dqmroot.").rpartition(".")[0] == other
        }
        - {name}
        for name, path in known.items()
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " → ".join([*path, name])
        if name not in done:
            for other in graph[name]:
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_packages_are_listed() -> None:
    import tomllib

    listed = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    on_disk = {"dqmroot"} | {
        "dqmroot." + path.parent.relative_to(ROOT / "dqmroot").as_posix().replace("/", ".")
        for path in ROOT.joinpath("dqmroot").glob("*/**/__init__.py")
    }
    assert set(listed) == on_disk | {"dqmroot.kernels"}


def test_modules_are_small() -> None:
    sizes = sorted(len(path.read_text(encoding="utf-8").splitlines()) for _, path in modules())
    assert sizes[-1] <= 500
    assert sizes[len(sizes) // 2] < 200
