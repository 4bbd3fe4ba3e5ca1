"""Campaign files: every key is a field, a wrong one is named with the nearest right one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dqmroot.config import Alarm, Resources, Watch, parse_ranges, read_campaign, read_watch
from dqmroot.errors import InputError, UnknownNameError, UsageError

WHOLE = """
[inputs]
files = ["data/*.root", "root://host//x.root"]
runs = "1-3"
[output]
folder = "out"
[training]
mes = "Hcal/**"
min_entries_per_bin = 2
parameters = {seed = 1}
[resources]
workers = 2
[slurm]
extra = ["--qos=short"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "campaign.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_campaign_is_read_and_paths_are_of_its_folder(tmp_path: Path) -> None:
    made = read_campaign(write(tmp_path, WHOLE))
    assert made.inputs.files == (str(tmp_path / "data/*.root"), "root://host//x.root")
    assert made.output.folder == str(tmp_path / "out")
    assert made.training is not None
    assert made.training.mes == ("Hcal/**",)
    assert made.training.min_entries_per_bin == 2.0
    assert made.training.parameters == {"seed": 1}
    assert made.resources.workers == 2
    assert made.resources.retries == 2
    assert made.slurm.extra == ("--qos=short",)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("workers", "wokers"), r"unknown key 'wokers' in \[resources\] of .*; nearest: workers"),
        (("[training]", "[trainig]"), "unknown key 'trainig' in .*; nearest: training"),
        (("folder =", "foldr ="), r"unknown key 'foldr' in \[output\] of .*; nearest: folder"),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    with pytest.raises(UnknownNameError, match=told):
        read_campaign(write(tmp_path, WHOLE.replace(*change)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("workers = 2", 'workers = "two"'), "resources.workers = 'two' is not what is expected"),
        (("workers = 2", "workers = true"), "resources.workers = True is not"),
        (("min_entries_per_bin = 2", 'min_entries_per_bin = "2"'), "training.min_entries_per_bin"),
        (('folder = "out"', ""), r"\[output\] of .*: folder is missing"),
        (("{seed = 1}", "3"), "training.parameters = 3"),
    ],
)
def test_a_wrong_value_is_told_with_its_key(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read_campaign(write(tmp_path, WHOLE.replace(*change)))


def test_what_is_no_toml_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a TOML file"):
        read_campaign(write(tmp_path, "[inputs"))
    with pytest.raises(InputError, match="No such file"):
        read_campaign(tmp_path / "absent.toml")


def test_watch_settings_have_alarms(tmp_path: Path) -> None:
    text = 'folders = "in"\nmodel = "m"\noutput = "out"\n[[alarm]]\nname = "bad"\nn = 2\nof = 4\ncommand = ["mail", "me"]\n'
    made = read_watch(write(tmp_path, text))
    assert made.folders == (str(tmp_path / "in"),)
    assert made.alarm == (Alarm("bad", 2, 4, command=("mail", "me")),)
    with pytest.raises(UnknownNameError, match=r"unknown key 'sevrity' in \[alarm\]"):
        read_watch(write(tmp_path, text + 'sevrity = "x"\n'))
    with pytest.raises(UsageError, match="n must be between 1 and of"):
        read_watch(write(tmp_path, text.replace("n = 2", "n = 5")))


def test_ranges() -> None:
    assert parse_ranges("3-5, 9", "runs") == [(3, 5), (9, 9)]
    for wrong in ("5-3", "x", ""):
        with pytest.raises(UsageError, match="runs"):
            parse_ranges(wrong, "runs")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("workers = 0", "resources.workers = 0: must be at least 1"),
        ("lumis_per_piece = 0", "resources.lumis_per_piece = 0: must be at least 1"),
        ("mib_per_piece = 0", "resources.mib_per_piece = 0.0: must be above 0"),
        ("retries = -1", "resources.retries = -1: must be at least 0"),
        ("retry_delay = -0.5", "resources.retry_delay = -0.5: must be at least 0"),
        ("retry_delay = nan", "resources.retry_delay = nan: must be at least 0"),
        ('memory = "lots"', "resources.memory = 'lots': expected a size, such as 4GiB or 1500MB"),
    ],
)
def test_a_number_that_cannot_be_is_told(line: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "campaign.toml"
    path.write_text(f'[inputs]\nfiles = "*.root"\n[output]\nfolder = "out"\n[resources]\n{line}\n', encoding="utf-8")
    with pytest.raises(UsageError, match=re.escape(told)):
        read_campaign(path)


@pytest.mark.parametrize("memory", ["4GiB", "1500MB", "1500 MB", "1.5G", "800000000", "auto"])
def test_sizes_of_memory_are_those_that_dask_knows(memory: str) -> None:
    from dask.utils import parse_bytes

    assert Resources(memory=memory).memory == memory
    assert memory == "auto" or parse_bytes(memory) > 0


def test_settings_of_watch_that_cannot_be_are_told() -> None:
    with pytest.raises(UsageError, match=r"^settle = -1: must be at least 0"):
        Watch(("in",), "model", "out", settle=-1)
    with pytest.raises(UsageError, match=r"^parts = 0: must be at least 1"):
        Watch(("in",), "model", "out", parts=0)
