"""An exported model says what the model said, whatever its steps and its detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dqmroot as dq
from dqmroot.deployment import ExportedModel, export, load_exported
from dqmroot.deployment.graph import Graph
from dqmroot.deployment.networks import EXPORTED, add_detector
from dqmroot.detectors import detector_class, detector_names
from dqmroot.detectors.dense import _ACTIVATIONS
from dqmroot.detectors.network import Network
from dqmroot.errors import UsageError

QUICK: dict[str, dict[str, Any]] = {
    "dense_autoencoder": {"epochs": 3},
    "pca": {"components": 3},
    "nmf": {"components": 3, "iterations": 50},
}
NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("conv_autoencoder", {"filters": (4, 3, 2)}),
    ("conv_autoencoder", {"filters": (4, 2), "distance": "squared", "k": 3}),
    ("cnn_classifier", {"layout": "strided"}),
    ("cnn_classifier", {"layout": "pooled", "classes": 2}),
    ("cnn_classifier", {"layout": "normalised"}),
    ("significance_network", {"hidden": 4}),
    ("significance_network", {"hidden": 4, "windows": ((1, 1), (2, 3)), "classes": 2}),
]


def spoilt(me: dq.MonitorElement) -> dq.MonitorElement:
    """The series with an empty LS, one that holds a NaN, and one that is half dead."""
    contents = me.contents.copy()
    contents[3] = 0
    contents[(5, *(n // 2 for n in contents.shape[1:]))] = np.nan
    contents[7].flat[: contents[7].size // 2] = 0
    bin_entries = None if me.bin_entries is None else np.where(contents == 0, 0, me.bin_entries)
    return me.replace(contents=contents, bin_entries=bin_entries)


def same(model: dq.Model, me: dq.MonitorElement, path: Path, *, rtol: float = 1e-5) -> ExportedModel:
    """Export, read back, and compare everything that the model says."""
    exported = load_exported(export(model, path / "model.onnx"))
    np.testing.assert_allclose(exported.score(me), model.score(me), rtol=rtol, atol=1e-9)
    if model.detector.localises:
        loss = model.score_bins(me)
        np.testing.assert_allclose(exported.score_bins(me), loss, rtol=1e-3, atol=1e-5 * np.nanmax(loss))
    if model.detector.reconstructs:
        shown = model.reconstruct(me)
        np.testing.assert_allclose(exported.reconstruct(me), shown, rtol=1e-5, atol=1e-5 * np.nanmax(np.abs(shown)))
    assert exported.me == model.me
    assert exported.axes == model.axes
    return exported


@pytest.mark.parametrize("name", sorted(QUICK))
@pytest.mark.parametrize("what", ["spectrum", "occupancy", "profile"])
def test_equals_the_model(name: str, what: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    me = request.getfixturevalue(what)
    model = dq.Model(prepare=[dq.normalise("integral")], detector=dq.detector(name, **QUICK[name]))
    model.train(me, "mean_sigma", 3)
    same(model, spoilt(me), tmp_path)


@pytest.mark.parametrize("act", sorted(_ACTIVATIONS))
def test_every_activation(act: str, spectrum: dq.MonitorElement, tmp_path: Path) -> None:
    made = dq.detector("dense_autoencoder", arch=[8, 4], act=["tanh", act], epochs=2, seed=1)
    same(dq.Model(prepare="normalise(maximum)", detector=made).fit(spectrum), spoilt(spectrum), tmp_path, rtol=1e-4)


@pytest.mark.parametrize(("name", "parameters"), NETWORKS, ids=lambda v: v if isinstance(v, str) else "")
def test_networks(name: str, parameters: dict[str, Any], occupancy: dq.MonitorElement, tmp_path: Path) -> None:
    made = dq.detector(name, **{"batch_size": 32, "seed": 1, **parameters, "epochs": 2})
    model = dq.Model(detector=made).fit(occupancy).set_working_point("mean_sigma", 1, occupancy)
    same(model, spoilt(occupancy), tmp_path)


@pytest.mark.parametrize("conditions", [("rate", "pileup"), ()])
def test_poisson(conditions: tuple[str, ...], spectrum: dq.MonitorElement, tmp_path: Path) -> None:
    made = dq.detector("poisson_autoencoder", conditions=conditions, epochs=2, seed=1)
    same(dq.Model(detector=made).fit(spectrum), spoilt(spectrum), tmp_path)


def test_every_network_can_be_exported() -> None:
    networks = {name for name in detector_names() if issubclass(detector_class(name), Network)}
    assert networks - set(EXPORTED) <= set()


STEPS = [
    "crop(x=(2, 18))",
    "include_flow rebin(2)",
    "rebin(3)",
    "rebin_edges(x=(2.0, 3.0, 6.0, 12.0))",
    "merge_occupancy(200.0)",
    "smooth(3)",
    "smooth(((1, 2, 1),)) crop(x=(1, 20))",
    "normalise(maximum)",
    "normalise(entries)",
    "normalise(pileup)",
    "follow(pileup)",
    "relative",
    "normalise standardise",
    "drop_empty",
    "",
]


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("what", ["spectrum", "profile"])
def test_steps(steps: str, what: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    me = request.getfixturevalue(what)
    model = dq.Model(prepare=dq.Preparation(steps), detector=dq.detector("pca", components=2))
    same(model.fit(me).set_working_point("quantile", 0.9, me), spoilt(me), tmp_path)


@pytest.mark.parametrize("steps", [f"stabilise({form})" for form in ("sqrt", "anscombe", "freeman_tukey", "log")])
def test_transforms(steps: str, spectrum: dq.MonitorElement, tmp_path: Path) -> None:
    model = dq.Model(prepare=dq.Preparation(steps), detector=dq.detector("pca", components=2))
    same(model.fit(spectrum), spoilt(spectrum), tmp_path)


@pytest.mark.parametrize(
    "steps",
    [
        "include_flow rebin(2, 3) normalise",
        "crop(x=(4, 20), y=(2, 10)) rebin(4, 2) relative",
        "rebin_edges(y=(2.0, 4.0, 16.0)) normalise(maximum)",
        "smooth(3, 5) normalise",
        "drop_empty normalise",
    ],
)
def test_steps_on_maps(steps: str, occupancy: dq.MonitorElement, tmp_path: Path) -> None:
    model = dq.Model(prepare=dq.Preparation(steps), detector=dq.detector("pca", components=2))
    same(model.fit(occupancy), spoilt(occupancy), tmp_path)


@pytest.mark.parametrize("fill", [0.0, 3.0])
def test_mask(fill: float, occupancy: dq.MonitorElement, tmp_path: Path) -> None:
    mask = np.zeros(occupancy.bins, bool)
    mask[3:5, 7] = True
    model = dq.Model(prepare=[dq.mask_bins(mask, fill), dq.normalise()], detector=dq.detector("pca", components=2))
    same(model.fit(occupancy), spoilt(occupancy), tmp_path)


def test_too_few_entries_are_not_judged(spectrum: dq.MonitorElement, tmp_path: Path) -> None:
    least = float(np.median(spectrum.entries)) / 24
    model = dq.Model(detector=dq.detector("pca"), min_entries_per_bin=least).fit(spectrum)
    exported = same(model.set_working_point("quantile", 0.9, spectrum), spectrum, tmp_path)
    assert np.isnan(exported.score(spectrum)).sum() == 30


def test_what_looks_at_neighbours_is_refused(spectrum: dq.MonitorElement, tmp_path: Path) -> None:
    model = dq.Model(prepare=[dq.running(3, partial=True)], detector=dq.detector("pca"))
    model.fit(spectrum)
    with pytest.raises(UsageError, match="cannot be exported, it needs more than the histogram"):
        export(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_detector_without_onnx_form_is_refused(spectrum: dq.MonitorElement, tmp_path: Path) -> None:
    model = dq.Model(detector=dq.detector("z_score")).fit(spectrum)
    with pytest.raises(UsageError, match=r"z_score: cannot be exported to ONNX, it is no network .*; these can: .*pca"):
        export(model, tmp_path / "model.onnx")


@pytest.mark.parametrize("name", sorted(set(detector_names()) - set(EXPORTED)))
def test_what_cannot_be_exported_says_why(name: str) -> None:
    assert not issubclass(detector_class(name), Network), "every Keras detector can be exported"
    why = {
        **dict.fromkeys(
            ("drifting_reference", "forecaster", "summed", "time_product"), "needs the lumisections before"
        ),
        "spatial": "export pca itself",
    }.get(name, "it is no network and scores in NumPy")
    made = dq.detector(name, **({"detector": "pca"} if name == "spatial" else {}))
    with pytest.raises(UsageError, match=why):
        add_detector(Graph(), made, "x")


def test_real_pixel_charge(real_data: Path, tmp_path: Path) -> None:
    files = [str(real_data / f"nanodqmio/nanoDQMIO_ZeroBias_2017B_R000{run}.root") for run in (297050, 297056, 297178)]
    me = dq.read(files, "PixelPhase1/Tracks/PXBarrel/chargeInner_PXLayer_1", min_entries_per_bin=1)
    model = dq.Model(prepare="include_flow normalise", detector=dq.detector("dense_autoencoder", epochs=10, seed=1))
    model.train(me, "mean_sigma", 3)
    exported = same(model, me, tmp_path)
    np.testing.assert_array_equal(
        model.working_point.flag(exported.score(me)), model.working_point.flag(model.score(me))
    )


REAL = {
    "cnn_classifier": {"epochs": 1},
    "conv_autoencoder": {"filters": (8, 4), "epochs": 3},
    "dense_autoencoder": {"epochs": 1, "arch": (16,)},
    "nmf": {"components": 2},
    "pca": {"components": 2},
    "poisson_autoencoder": {"epochs": 1},
    "significance_network": {"epochs": 1},
}


@pytest.mark.parametrize("name", sorted(EXPORTED))
def test_real_hcal_maps(name: str, real_data: Path, tmp_path: Path) -> None:
    file = str(real_data / "nanodqmio/nanoDQMIO_HCAL_2017_R000306138.root")
    me = dq.read(file, "Hcal/DigiTask/Occupancy/depth/depth1")
    made = dq.detector(name, seed=1, **REAL[name])
    steps = "" if made.input == "counts" else "rebin(2, 2) normalise(integral)"
    model = dq.Model(prepare=steps, detector=made).fit(me).set_working_point("mean_sigma", 1, me)
    exported = same(model, me, tmp_path)
    point = model.working_point
    assert point is not None
    np.testing.assert_array_equal(point.flag(exported.score(me)), point.flag(model.score(me)))
