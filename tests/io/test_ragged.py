"""Many monitoring elements of different bins, changed one by one."""

from __future__ import annotations

import numpy as np
import pytest
from series import counts, profile

import dqmroot as dq
from dqmroot.errors import UsageError
from dqmroot.io.ragged import from_series


def test_steps_work_on_arrays_of_many_elements() -> None:
    elements = [
        counts(5, 1).replace(name="one"),
        counts(3, 2).replace(name="two"),
        counts(4, 1, seed=3).replace(name="weighted", sumw2=2.0 * counts(4, 1, seed=3).contents),
        counts(4, 3).replace(name="three"),
        profile(6).replace(name="mean"),
        counts(0, 2).replace(name="none"),
    ]
    arrays = from_series(elements)
    assert arrays.names == ("one", "two", "weighted", "three", "mean", "none")
    for me in elements:
        back = arrays.series(me.name)
        np.testing.assert_array_equal(back.contents, me.contents)
        np.testing.assert_array_equal(back.variances(), me.variances())
        assert back.axes == me.axes
    after = dq.map_series(dq.normalise().apply, arrays)
    for me in elements:
        np.testing.assert_array_equal(after.series(me.name).values(), dq.normalise().apply(me).values())
    rows = after["TH1F"]
    assert rows["contents"].type.content.content.primitive == "float32"
    np.testing.assert_allclose(
        dq.Preparation([dq.normalise()]).array(arrays.series("two")).sum(axis=(1, 2)), 1, rtol=1e-5
    )
    with pytest.raises(UsageError, match="one: given twice"):
        from_series([elements[0], elements[0]])
