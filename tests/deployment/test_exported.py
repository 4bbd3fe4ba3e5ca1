"""Exported files run without dqmroot, are read back without Keras, and are refused where they are not what was written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import dqmroot as dq
from dqmroot.cli import main
from dqmroot.demo import DATA
from dqmroot.deployment import export, export_models, exported, load_exported, read_models
from dqmroot.errors import InputError, MissingExtraError, ModelMismatchError, UnknownNameError, UsageError

DOCS = Path(__file__).parents[2] / "docs"
DEMO = str(DATA / "demo.root")

FORBID = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"dqmroot", "tensorflow", "keras", "onnx"}:
            raise ImportError(name)

sys.meta_path.insert(0, Nothing())
"""


@pytest.fixture(scope="module")
def model(spectrum: dq.MonitorElement) -> dq.Model:
    return dq.Model(prepare="normalise", detector=dq.detector("pca", components=2)).train(spectrum)


@pytest.fixture(scope="module")
def file(model: dq.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(model, tmp_path_factory.mktemp("onnx") / "model.onnx")


def test_the_example_of_the_docs_needs_neither_dqmroot_nor_tensorflow(file: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (DOCS / "deployment.md").read_text(encoding="utf-8"), re.DOTALL)
    code = FORBID + example + "\nassert not {'dqmroot', 'tensorflow', 'keras'} & set(sys.modules)\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=file.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Sim/spectrum [24] learnt from runs 7-8"
    assert [line.rsplit(" ", 1)[1] for line in lines[1:6]] == ["bad"] * 5
    assert lines[6] == "loss per bin: (5, 24) reconstruction: (5, 24)"


def test_scoring_loads_neither_keras_nor_tensorflow(tmp_path: Path) -> None:
    me = dq.read(DEMO, "CSC/FEDIntegrity/FEDTotalEventSize", runs=[355100, 355102])
    made = dq.Model(prepare="include_flow normalise", detector=dq.detector("dense_autoencoder", epochs=2)).train(me)
    export(made, tmp_path / "model.onnx")
    code = (
        "import sys\nfrom dqmroot.cli import main\n"
        f"assert main(['score', {DEMO!r}, '--model', 'model.onnx', '-o', 'scores.csv', '--quiet']) == 0\n"
        "print([name for name in ('keras', 'tensorflow', 'onnx', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 171


def test_certify_with_an_exported_model(model: dq.Model, file: Path, spectrum: dq.MonitorElement) -> None:
    told, known = (dq.certify(spectrum, one) for one in (load_exported(file), model))
    np.testing.assert_array_equal(told.verdict, known.verdict)
    np.testing.assert_allclose(told.mes[0].mean_loss[7], known.mes[0].mean_loss[7], rtol=1e-3)
    assert told.models["Sim/spectrum"]["detector"] == "pca"


def test_a_model_without_working_point_flags_nothing(spectrum: dq.MonitorElement, tmp_path: Path) -> None:
    path = export(dq.Model(detector=dq.detector("pca")).fit(spectrum), tmp_path / "model.onnx")
    exported = load_exported(path)
    assert exported.working_point is None
    assert set(exported._session.run(["flag"], {"contents": spectrum.contents})[0].tolist()) == {-1}


def test_metadata(file: Path, model: dq.Model) -> None:
    told = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert told["me"] == "Sim/spectrum"
    assert told["runs"] == "7-8"
    assert told["dqmroot_version"] == dq.__version__
    assert re.fullmatch("[0-9a-f]{64}", told["sha256"])
    assert load_exported(file).describe() == model.describe()


def test_a_tampered_file_is_refused(file: Path, tmp_path: Path) -> None:
    changed = onnx.load(file)
    largest = max(changed.graph.initializer, key=lambda one: len(one.raw_data))
    largest.raw_data = bytes(len(largest.raw_data))
    onnx.save(changed, tmp_path / "model.onnx")
    with pytest.raises(InputError, match="checksum differs"):
        load_exported(tmp_path / "model.onnx")


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(InputError, match="No such file"):
        load_exported(path)
    path.write_bytes(b"not ONNX at all")
    with pytest.raises(InputError, match="not an ONNX file that onnxruntime can run"):
        load_exported(path)
    helper = onnx.helper
    info = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", info[:1], info[1:])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    with pytest.raises(InputError, match="not a model that dqmroot exported"):
        load_exported(path)


def test_other_data_are_refused(
    file: Path, spectrum: dq.MonitorElement, profile: dq.MonitorElement, tmp_path: Path
) -> None:
    exported = load_exported(file)
    with pytest.raises(ModelMismatchError, match="the model is of Sim/spectrum"):
        exported.score(profile)
    with pytest.raises(ModelMismatchError, match="the data are TProfile, the model is of TH1F"):
        exported.score(profile.replace(name="Sim/spectrum"))
    with pytest.raises(UsageError, match="learnt for good"):
        exported.fit(spectrum)
    follow = dq.Model(prepare="follow(pileup)", detector=dq.detector("pca")).fit(spectrum)
    exported = load_exported(export(follow, tmp_path / "follow.onnx"))
    with pytest.raises(UnknownNameError, match="unknown condition 'pileup'"):
        exported.score(spectrum.replace(conditions={}))


def test_series_of_any_length(file: Path, model: dq.Model, spectrum: dq.MonitorElement) -> None:
    exported = load_exported(file)
    assert exported.score(spectrum[:0]).shape == (0,)
    assert exported.score_bins(spectrum[:0]).shape == (0, 24)
    rows = np.resize(np.arange(60), 5000)
    np.testing.assert_allclose(exported.score(spectrum[rows]), model.score(spectrum)[rows], rtol=1e-5)


def test_folders_of_files(model: dq.Model, occupancy: dq.MonitorElement, tmp_path: Path) -> None:
    other = dq.Model(detector=dq.detector("pca")).fit(occupancy)
    with pytest.raises(UsageError, match="one file holds one model, there are 2"):
        export_models([model, other], tmp_path / "model.onnx")
    paths = export_models([model, other], tmp_path / "onnx")
    assert [path.relative_to(tmp_path / "onnx").as_posix() for path in paths] == ["Sim/spectrum.onnx", "Sim/map.onnx"]
    assert {one.me for one in read_models(tmp_path / "onnx")} == {"Sim/spectrum", "Sim/map"}
    assert [one.me for one in read_models(tmp_path / "onnx", ["Sim/map"])] == ["Sim/map"]
    with pytest.raises(UnknownNameError, match="nearest: Sim/map"):
        read_models(tmp_path / "onnx", ["Sim/maps"])
    with pytest.raises(InputError):
        read_models(tmp_path / "nothing")
    paths[0].rename(tmp_path / "copy.onnx")
    read_models(tmp_path / "copy.onnx")[0].save(tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "copy.onnx").read_bytes()


@pytest.mark.parametrize(("package", "function"), [("onnxruntime", load_exported), ("onnx", None)])
def test_a_missing_extra_is_told(
    package: str, function: object, file: Path, model: dq.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package} is not installed; .*pip install 'dqmroot\[onnx\]'"):
        load_exported(file) if function else export(model, tmp_path / "model.onnx")


def test_the_verb(model: dq.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model.save(tmp_path / "model")
    assert main(["export", str(tmp_path / "model"), "-o", str(tmp_path / "model.onnx"), "--json"]) == 0
    told = capsys.readouterr()
    assert '"me": "Sim/spectrum"' in told.out
    assert f"Sim/spectrum: {tmp_path / 'model.onnx'}" in told.err
    assert load_exported(tmp_path / "model.onnx").me == "Sim/spectrum"
    assert main(["export", str(tmp_path / "model"), "-o", str(tmp_path / "x"), "--me", "Sim/spectra"]) == 2
    assert "nearest: Sim/spectrum" in capsys.readouterr().err


def test_the_faster_engine_is_taken(
    model: dq.Model,
    occupancy: dq.MonitorElement,
    spectrum: dq.MonitorElement,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    network = dq.Model(detector=dq.detector("poisson_autoencoder", epochs=1)).fit(occupancy)
    network.set_working_point("quantile", 0.9, occupancy)
    dq.save_models([model, network], tmp_path / "model")
    monkeypatch.setattr(exported.ctypes, "CDLL", _no_driver)
    small, large = read_models(tmp_path / "model")
    assert type(small) is dq.Model
    assert type(large) is dq.ExportedModel
    np.testing.assert_allclose(large.score(occupancy), network.score(occupancy), rtol=1e-5)
    monkeypatch.setattr(exported.ctypes, "CDLL", lambda name: None)
    monkeypatch.setattr(exported, "gpus", list)
    assert type(read_models(tmp_path / "model")[1]) is dq.ExportedModel, "a driver alone is no GPU that Keras sees"
    monkeypatch.setattr(exported, "gpus", lambda: ["GPU:0"])
    assert type(read_models(tmp_path / "model")[1]) is dq.Model
    running = dq.Model(
        prepare=[dq.running(2, partial=True)], detector=dq.detector("poisson_autoencoder", epochs=1)
    ).fit(spectrum)
    monkeypatch.setattr(exported.ctypes, "CDLL", _no_driver)
    assert exported.faster(running) is running


def test_it_keeps_to_the_threads_that_it_is_given(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert load_exported(file)._session.get_session_options().intra_op_num_threads == 1


def _no_driver(name: str) -> None:
    raise OSError(name)
