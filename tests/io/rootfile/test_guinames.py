"""Nothing that a GUI would refuse can be named."""

from __future__ import annotations

import re
import string

import guireader
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dqmroot.errors import UsageError
from dqmroot.io.rootfile.guinames import EfficiencyFlag, QualityTest, Scalar, check_dataset, file_name, gui_path, plain

ALLOWED = string.ascii_letters + string.digits + "-+=_()# "
RESERVED = frozenset({"score_vs_ls", "mean_loss"})
NAMES = st.one_of(
    st.text(max_size=300),
    st.text("ab/=.E3 ", max_size=20),
    st.lists(
        st.sampled_from(["", "a", ".", "..", "=", "==", "score_vs_ls", "=73core_vs_ls", "<script>", "BadModuleList"]), max_size=5
    ).map("/".join),
    st.text("é/x", min_size=100, max_size=2000),
)  # fmt: skip


@pytest.mark.parametrize(
    ("dataset", "run"),
    [
        ("/ZeroBias/Run2024C-dqmroot-v1/DQMIO", 380000),
        ("/DQM/Run0-dqmroot-v1/DQMIO", 1),
        ("/RelValTTbar/CMSSW_14_0_0_pre1-PU-v1/DQMIO", 1),
        ("/ZeroBias/CMSSW_14_0_0-data-v1/DQMIO", 380000),
        ("/RelValTTbar/CMSSW_14_0_0-rundepMC-v1/DQMIO", 380000),
        ("/A_B/HIRun2018A-x_y-v1/DQMIO", 999_999_999),
    ],
)
def test_data_sets_that_both_guis_take(dataset: str, run: int) -> None:
    assert guireader.check_name(file_name(dataset, run)) == (run, dataset)


@pytest.mark.parametrize(
    ("dataset", "run", "why"),
    [
        ("ZeroBias/Run2024C/DQMIO", 2, "must be /Primary/Era/Tier"),
        ("/ZeroBias/Run2024C/DQMIO/x", 2, "must be /Primary/Era/Tier"),
        ("/Zero Bias/Run2024C/DQMIO", 2, "must be /Primary/Era/Tier"),
        ("/ZeroBias/Run2024C/DQMIO\n", 2, "must be /Primary/Era/Tier"),
        ("/ZeroBias/../DQMIO", 2, "must be /Primary/Era/Tier"),
        ("/ZeroBias/Run2024C__x/DQMIO", 2, "'__'"),
        ("/ZeroBias_/Run2024C/DQMIO", 2, "end with '_'"),
        ("/ZeroBias/Run2024C/_DQMIO", 2, "start nor end with '_'"),
        ("/ZeroBias/Test-Dataset/DQMIO", 2, "must start with letters and digits"),
        ("/CMSSW_x/Run2024C/DQMIO", 2, "only an era of release validation says CMSSW"),
        ("/ZeroBias/Run2024C-CMSSW_1/DQMIO", 2, "only an era of release validation says CMSSW"),
        ("/RelValTTbar/Run2024C/DQMIO", 1, "era of a RelVal data set"),
        ("/RelVal/CMSSW_14_0_0/DQMIO", 1, "name of a sample"),
        ("/ZeroBias/CMSSW_14/DQMIO", 380000, "only an era of release validation says CMSSW"),
        ("/TTbar/Run3-rundepMC-v1/DQMIO", 1, "run-dependent simulation"),
        ("/RelValTTbar/CMSSW_14_0_0-rundepMC/DQMIO", 1, "run-dependent simulation"),
        ("/RelValTTbar/CMSSW_14_0_0/DQMIO", 380000, "run 1 goes with RelVal"),
        ("/ZeroBias/CMSSW_14_0_0/DQMIO", 1, "run 1 goes with RelVal"),
        ("/ZeroBias/Run2024C/DQMIO", 0, "holds runs 1 to 999999999"),
        ("/ZeroBias/Run2024C/DQMIO", 1_000_000_000, "holds runs 1 to 999999999"),
        ("/ZeroBias/Run2024C" + "x" * 250 + "/DQMIO", 2, "too long"),
    ],
)
def test_data_sets_that_a_gui_refuses(dataset: str, run: int, why: str) -> None:
    with pytest.raises(UsageError, match=re.escape(why)):
        check_dataset(dataset, run)


@given(st.text(string.ascii_letters + string.digits + "-_/C", max_size=40), st.integers(0, 2 * 10**9))
def test_no_other_name_is_let_through(dataset: str, run: int) -> None:
    try:
        name = file_name(dataset, run)
    except UsageError:
        return
    assert guireader.check_name(name) == (run, dataset)


@given(NAMES)
def test_paths_hold_what_the_gui_allows(me: str) -> None:
    path = gui_path(me, RESERVED)
    assert set(path) <= {*ALLOWED, "/"}
    assert len(path) <= 400
    assert "BadModuleList" not in path
    for part in path.split("/"):
        assert part.strip() == part != ""
        assert part not in RESERVED | {".", ".."}
        assert len(part) <= 120


@given(NAMES, NAMES)
def test_two_elements_never_share_a_path(one: str, other: str) -> None:
    assume(one != other)
    assert gui_path(one, RESERVED) != gui_path(other, RESERVED)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a.b", "a=2Eb"), ("a/b", "a=2Fb"), ("a//b", "a/=/b"), ("a//b", "a/b"), (" a", "a"), ("x" * 300 + "a", "x" * 300 + "b"),
        ("score_vs_ls", "=73core_vs_ls"), ("BadModuleList", "=42adModuleList"), ("a/" * 400 + "b", "a/" * 400 + "c"),
        ("é", "=C3=A9"), ("\ud800", "?"), ("Run summary", "Run_summary"),
    ],
)  # fmt: skip
def test_neighbours_do_not_meet(one: str, other: str) -> None:
    assert gui_path(one, RESERVED) != gui_path(other, RESERVED)


@pytest.mark.parametrize(
    "me", ["Hcal/DigiTask/Occupancy/depth/depth1", "EcalBarrel/EBOccupancyTask/EBOT digi occupancy", "a/b#c(d)+e-1"]
)
def test_names_of_the_gui_stay_as_they_are(me: str) -> None:
    assert gui_path(me) == me


@given(st.text(max_size=400))
def test_plain_text_is_harmless(text: str) -> None:
    made = plain(text)
    assert made
    assert not set(made) & set("<>:\n\r\0")
    assert len(made) <= 200
    guireader.check_text(f"<x>s={made}</x>", set())


@given(st.text(max_size=50), st.one_of(st.text(max_size=100), st.integers(-(2**40), 2**40), st.floats()))
def test_scalars_keep_the_grammar(name: str, value: str | float) -> None:
    try:
        text = Scalar(name, value).text()
    except UsageError:
        assert not set(name) <= set(ALLOWED) or not name or abs(int(value)) >= 2**31
        return
    guireader.check_text(text, set())


def test_scalars() -> None:
    assert Scalar("iRun", 297050).text() == "<iRun>i=297050</iRun>"
    assert Scalar("x", 0.1).text() == "<x>f=0.10000000000000001</x>"
    assert Scalar("x", float("nan")).text() == "<x>f=-1</x>"
    assert Scalar("s", "a<b\n").text() == "<s>s=a(b</s>"
    assert EfficiencyFlag("h").text() == "<h>e=1</h>"


@given(st.floats(), st.text(max_size=300))
def test_quality_tests_keep_the_grammar(result: float, message: str) -> None:
    guireader.check_text(QualityTest("h", "q", 100, result, message).text(), {"h"})


def test_quality_test() -> None:
    text = QualityTest("score_vs_ls", "dqmroot", 300, 0.25, "3 of 4: bad").text()
    assert text == "<score_vs_ls.dqmroot>qr=st:300:0.25:dqmroot:3 of 4; bad</score_vs_ls.dqmroot>"
    with pytest.raises(UsageError, match="cannot name an object"):
        QualityTest("a.b", "q", 100, 1.0, "m").text()
