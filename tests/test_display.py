"""What a notebook shows: well-formed, small, and true."""

from __future__ import annotations

import base64
import io
import re
from xml.etree import ElementTree as ET

import matplotlib.image as mpimg
import numpy as np
import pytest
from samples import spectrum, trained

import dqmroot as dq
from dqmroot.display import card, map_picture, spectrum_picture, strip_picture
from dqmroot.errors import UsageError
from dqmroot.series import Axis, MonitorElement


def series(ndim: int, n: int = 4) -> MonitorElement:
    shape = (n, *range(8, 8 - 2 * ndim, -2))
    contents = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    axes = tuple(Axis(size - 2, 0, 1) for size in reversed(shape[1:]))
    return MonitorElement("A/<b>", f"TH{ndim}F", axes, np.full(n, 7), np.arange(n), np.ones(n), contents)


@pytest.mark.parametrize("ndim", [0, 1, 2, 3])
def test_a_series_shows_itself(ndim: int) -> None:
    text = series(ndim)._repr_html_()
    tree = ET.fromstring(text)
    assert "A/<b>" in "".join(tree.itertext())
    assert ("<svg" in text) == (ndim == 1)
    assert ("<img" in text) == (ndim == 2)
    assert len(text) < 4000


def test_an_empty_series_shows_itself() -> None:
    ET.fromstring(series(2)[:0]._repr_html_())


def test_the_map_is_the_map() -> None:
    values = np.array([[0, 1, 4], [4, 4, 0]])
    found = re.search("base64,([^']*)", map_picture(values))
    assert found is not None
    picture = mpimg.imread(io.BytesIO(base64.b64decode(found[1])))
    grey = np.round(picture * 255).astype(int)
    np.testing.assert_array_equal(grey, [[0, 0, 255], [255, 127, 0]])  # y upwards


def test_the_spectrum_is_the_spectrum() -> None:
    text = spectrum_picture([0, 2, 1], width=30, height=12)
    assert re.search("points='([^']*)'", text)[1].split() == [
        *("0.0,10.0", "10.0,10.0", "10.0,2.0", "20.0,2.0", "20.0,6.0", "30.0,6.0")
    ]


def test_the_strip_has_a_bar_per_stretch() -> None:
    text = strip_picture([0, 0, 1, 1, -1], width=50)
    assert re.findall("x='([0-9.]*)' width='([0-9.]*)'", text) == [
        ("0.00", "20.00"),
        ("20.00", "20.00"),
        ("40.00", "10.00"),
    ]
    assert strip_picture([]) == ""


def test_certification_model_and_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    model = trained()
    cert = dq.certify(spectrum({9: 30}, seed=6, mean=12), model)
    text = "".join(ET.fromstring(cert._repr_html_()).itertext())
    assert "Certification of 30 LS, rule any" in text
    assert f"flagged by {model.me}30" in text
    assert "mean_sigma=3" in model._repr_html_()
    assert "not fitted" in dq.Model(detector=dq.detector("pca"))._repr_html_()
    assert "components" in dq.detector("pca")._repr_html_()


def test_text_is_escaped() -> None:
    assert "<script>" not in card("<script>", {"<script>": "<script>"})


def test_draw() -> None:
    assert dq.draw(series(1)).axes
    assert dq.draw(series(2), -1).axes
    with pytest.raises(UsageError, match="no lumisection 4 among 4"):
        dq.draw(series(2), 4)
    with pytest.raises(UsageError, match="one or two axes"):
        dq.draw(series(3))


def test_a_notebook_shows_figures_without_more_ado() -> None:
    figure = dq.draw(series(1), 0)
    picture = mpimg.imread(io.BytesIO(figure._repr_png_()))
    assert picture.shape[:2] == (504, 720)
    assert picture.std() > 0.01, "an empty picture"
