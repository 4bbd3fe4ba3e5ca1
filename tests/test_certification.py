"""Verdicts: one per lumisection, none lost, none twice, with reasons."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from samples import PREPARE, FarFromMean, spectrum, trained

from dqmroot.certification import certify, load_certification
from dqmroot.detectors import detector
from dqmroot.errors import InputError, UnknownNameError, UsageError
from dqmroot.judgement import BAD, GOOD, NOT_JUDGED
from dqmroot.model import Model
from dqmroot.prepare import Preparation
from dqmroot.runs import RunMask
from dqmroot.series import concatenate


def test_each_lumisection_gets_one_verdict() -> None:
    bad = spectrum({7: 5}, mean=14, seed=8)
    good = spectrum({6: 20}, seed=9)
    empty = spectrum({8: 2})
    empty = empty.replace(contents=np.zeros_like(empty.contents), entries=np.zeros(2))
    model, me = trained(), concatenate([bad, empty, good])[np.random.default_rng(1).permutation(27)]
    cert = certify(me, model)
    assert len(cert) == 27
    assert list(zip(cert.run.tolist(), cert.lumi.tolist(), strict=True)) == sorted(
        {(7, i) for i in range(1, 6)} | {(6, i) for i in range(1, 21)} | {(8, 1), (8, 2)}
    )
    assert (cert.verdict[cert.run == 7] == BAD).all()
    assert (cert.verdict[cert.run == 6] == GOOD).mean() > 0.8
    assert (cert.verdict[cert.run == 8] == NOT_JUDGED).all()
    assert "Muon/Size: score" in cert.reasons[20][0]
    assert "above" in cert.reasons[20][0]
    assert cert.reasons[-1] == ("Muon/Size: not judged, empty or not a number",)
    result = cert.mes[0]
    assert set(result.mean_loss) == {6, 7}
    assert result.mean_loss[7].shape == (20,)
    assert result.mean_loss[7].sum() > 10 * result.mean_loss[6].sum()
    assert result.bad_fraction[7].max() == 1.0
    assert result.bad_bins is not None
    assert result.bad_bins.dtype == np.int32
    assert result.bad_bins[result.run == 7].sum() == pytest.approx(5 * result.bad_fraction[7].sum())
    assert (result.bad_bins[result.run == 8] == -1).all()
    assert model.bin_cut is not None
    above = (model.score_bins(me.sort()) > model.bin_cut).sum(axis=1)
    assert result.bad_bins[result.run < 8].tolist() == above[result.run < 8].tolist()
    assert 0 in above[result.run == 6]
    worst = result.worst[7]
    assert worst.score == np.nanmax(result.score[result.run == 7])


def test_with_the_detector_off_nothing_is_judged(tmp_path: Path) -> None:
    bad = spectrum({7: 6}, mean=14, seed=8, name="CSC/Size")
    model = trained(name="CSC/Size")
    assert (certify(bad, model).verdict == BAD).all()
    mask = RunMask.from_ranges({7: [[3, 4]]})
    (tmp_path / "dcs.json").write_text(mask.to_json())
    off = np.array([True, True, False, False, True, True])
    bits = {"cscp_ready": np.where(off, 0, 1).astype(np.int8), "cscm_ready": np.ones(6, np.int8)}
    for cert in (
        certify(bad, model, dcs=mask),
        certify(bad, model, dcs=tmp_path / "dcs.json"),
        certify(bad.replace(conditions=bits), model),
    ):
        assert cert.verdict.tolist() == np.where(off, NOT_JUDGED, BAD).tolist()
        assert cert.reasons[0] == ("CSC/Size: not judged, detector off",)
        (result,) = cert.mes
        assert np.array_equal(np.isnan(result.score), off)
        assert result.off is not None
        assert np.array_equal(result.off, off)
        assert result.worst[7].lumi in {3, 4}
        cert.save(tmp_path / "out")
        assert RunMask.from_json(tmp_path / "out" / "not_judged.json") == RunMask.from_ranges({7: [[1, 2], [5, 6]]})
        assert load_certification(tmp_path / "out").reasons == cert.reasons
    # What stands in the pictures is of judged LS only.
    alone = certify(bad[2:4], model).mes[0]
    assert np.allclose(result.mean_loss[7], alone.mean_loss[7])
    other = {"dtp_ready": np.zeros(6, np.int8)}
    assert (certify(bad.replace(conditions=other), model).verdict == BAD).all(), "a bit of another detector"


def test_an_element_that_lacks_a_lumisection_does_not_lose_it() -> None:
    size, mass = spectrum({7: 5}), spectrum({7: 8}, name="Muon/Mass", mean=14)
    models = [trained(), trained(name="Muon/Mass")]
    cert = certify([size, mass], models)
    assert len(cert) == 8
    assert (cert.verdict == BAD).all()
    assert cert.reasons[6][0] == "Muon/Size: not judged, no histogram in this LS"
    assert (certify([size, mass], models, rule="at_least_2").verdict == GOOD).all()
    with pytest.raises(UsageError, match="only 2 monitoring elements"):
        certify([size, mass], models, rule="at_least_3")
    with pytest.raises(UsageError, match="expected any, all, at_least_N or trained"):
        certify([size, mass], models, rule="some")


def test_files_are_plain_and_complete(tmp_path: Path) -> None:
    cert = certify(concatenate([spectrum({7: 5}, mean=14), spectrum({6: 20}, seed=9)]), trained())
    written = cert.save(tmp_path)
    names = {"certification.json", "golden.json", "bad.json", "not_judged.json", "dials.json", "pictures.npz"}
    assert {path.name for path in written} == names
    assert RunMask.from_json(tmp_path / "golden.json") == cert.mask(GOOD)
    assert json.loads((tmp_path / "bad.json").read_text())["7"] == [[1, 5]]
    assert json.loads((tmp_path / "not_judged.json").read_text()) == {}
    told = json.loads((tmp_path / "certification.json").read_text())
    assert told["schema_version"] == 1
    assert sum(told["counts"].values()) == len(told["lumisections"]) == 25
    assert told["models"]["Muon/Size"]["detector"] == "far_from_mean"


def test_what_cannot_be_certified_is_told() -> None:
    me = spectrum({7: 5})
    with pytest.raises(UnknownNameError, match="Muon/Size"):
        certify(me.replace(name="Muon/Sizes"), trained())
    with pytest.raises(UsageError, match="stands in the series twice"):
        certify(concatenate([me, me]), trained())
    model = trained()
    model.working_point = None
    with pytest.raises(UsageError, match="certify takes models, not PCA"):
        certify(me, detector("pca"))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no working point"):
        certify(me, model)


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    models = [trained(), trained(name="Muon/Mass")]
    bad = concatenate([spectrum({7: 5}, mean=14), spectrum({6: 20}, seed=9)])
    cert = certify([bad, spectrum({7: 8}, name="Muon/Mass", mean=14)], models, inputs=[{"path": "a.root"}])
    cert.save(tmp_path)
    back = load_certification(tmp_path)
    assert back.to_dict() == cert.to_dict()
    for one, other in zip(cert.mes, back.mes, strict=True):
        assert one.axes == other.axes
        for name in ("mean_loss", "bad_fraction", "reference"):
            first, second = getattr(one, name), getattr(other, name)
            assert list(first) == list(second)
            assert all(np.array_equal(first[run], second[run]) for run in first)
        assert {run: (w.lumi, w.score) for run, w in one.worst.items()} == {
            run: (w.lumi, w.score) for run, w in other.worst.items()
        }
        assert all(np.array_equal(one.worst[run].loss, other.worst[run].loss) for run in one.worst)
        assert np.array_equal(one.examples.original, other.examples.original)
        assert np.array_equal(one.examples.lumi, other.examples.lumi)
    (tmp_path / "pictures.npz").unlink()
    bare = load_certification(tmp_path / "certification.json")
    assert bare.to_dict() == cert.to_dict()
    assert bare.mes[0].examples is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "No such file"),
        ("{", "does not hold a certification"),
        ("[]", "does not hold a certification"),
        ('{"schema_version": 99}', "later dqmroot"),
    ],
)
def test_what_is_no_certification_is_told(text: str | None, told: str, tmp_path: Path) -> None:
    path = tmp_path / "certification.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=told):
        load_certification(path)


@pytest.mark.parametrize("damage", ["cut", "pickle", "foreign", "empty"])
def test_damaged_pictures_are_told(damage: str, tmp_path: Path) -> None:
    certify(spectrum({7: 5}, mean=14), trained()).save(tmp_path)
    pictures = tmp_path / "pictures.npz"
    if damage == "cut":
        pictures.write_bytes(pictures.read_bytes()[:-100])
    elif damage == "pickle":
        np.savez(pictures, **{"0/reference": np.array([{}], object)})
    elif damage == "empty":
        pictures.write_bytes(b"")
    else:
        np.savez(pictures, **{"9/reference": np.zeros(3)})
    with pytest.raises(InputError, match=r"pictures\.npz: does not hold the pictures"):
        load_certification(tmp_path)


def test_dials_gets_its_own_shape(tmp_path: Path) -> None:
    cert = certify(
        [spectrum({7: 12}, mean=14), spectrum({7: 12}, name="Muon/Mass")], [trained(), trained(name="Muon/Mass")]
    )
    told = json.loads(json.dumps(cert.to_dials()))
    assert list(told) == ["7"]
    assert [int(lumi) for lumi in told["7"]] == cert.lumi[cert.verdict == BAD].tolist()
    assert told["7"]["3"][0] == {
        "model_id": 0, "me_id": 0, "filename": "", "me": "Muon/Size", "mse": cert.mes[0].score[2],
    }  # fmt: skip


def test_pictures_of_another_certification_are_refused(tmp_path: Path) -> None:
    certify(spectrum({7: 5}, mean=14), trained()).save(tmp_path / "one")
    certify(spectrum({7: 6}, mean=14), trained()).save(tmp_path / "two")
    (tmp_path / "two" / "pictures.npz").replace(tmp_path / "one" / "pictures.npz")
    with pytest.raises(InputError, match="of another certification"):
        load_certification(tmp_path / "one")


def test_what_spans_lumisections_is_explained_with_its_history() -> None:
    class Waits(FarFromMean):
        """Judges an LS by itself and the one before it, which must be there."""

        sequential = True

        def _score_bins(self, x, sample):  # type: ignore[no-untyped-def]
            loss = super()._score_bins(x, sample)
            return loss + np.concatenate([np.zeros_like(loss[:1]), loss[:-1]])

        def _reconstruct(self, x, sample):  # type: ignore[no-untyped-def]
            return np.concatenate([x[:1], x[:-1]])

    model = Model(prepare=Preparation.parse(PREPARE), detector=Waits()).train(spectrum({1: 40, 2: 40}))
    me = concatenate([spectrum({6: 9}, seed=9), spectrum({7: 9}, mean=14)])
    cert = certify(me, model)
    result = cert.mes[0]
    whole = model.score_bins(me[me.run == 7])
    worst = result.worst[7]
    np.testing.assert_allclose(worst.loss, whole[worst.lumi - 1])
    np.testing.assert_allclose(result.mean_loss[7], whole.mean(axis=0))
    assert result.examples is not None
    for run, lumi, loss in zip(result.examples.run, result.examples.lumi, result.examples.loss, strict=True):  # type: ignore[arg-type]
        if lumi > 1:  # this detector knows no borders of runs
            np.testing.assert_allclose(loss, model.score_bins(me[me.run == run])[lumi - 1], rtol=1e-6)
