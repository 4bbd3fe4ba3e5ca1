"""What every verb has: completion, a log, quiet and verbose, no colours in pipes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dqmroot.cli import main
from dqmroot.demo import DATA

DEMO = str(DATA / "demo.root")


def test_without_a_verb_it_says_how_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "dqmroot demo " in told.err
    assert len(told.err.splitlines()) < 12


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "certify" in script
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


def test_bash_completes_verbs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "bash"])
    (tmp_path / "script").write_text(capsys.readouterr().out)
    ask = (
        f"source {tmp_path / 'script'}; COMP_WORDS=(dqmroot cer); COMP_CWORD=1; _shtab_dqmroot dqmroot cer dqmroot; "
        "echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["certify"]


def test_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "new" / "log.txt"
    broken = tmp_path / "broken.root"
    broken.write_bytes(b"no ROOT file")
    assert main(["ls", DEMO, str(broken), "--quiet", "--log", str(log)]) == 4
    assert "3 monitoring elements" not in capsys.readouterr().err
    assert main(["ls", str(tmp_path / "nothing.root"), "--log", str(log)]) == 3
    lines = log.read_text().splitlines()
    assert [line.split(" ", 3)[2] for line in lines] == ["INFO", "INFO", "WARNING", "INFO", "INFO", "ERROR", "INFO"]
    assert "ls " in lines[0]
    assert "left out" in lines[2]
    assert "nothing.root" in lines[5]
    assert main(["ls", DEMO, "--log", str(broken / "log")]) == 5


def test_verbose_shows_the_traceback_of_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", str(tmp_path / "nothing.root"), "--verbose"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_no_colours_in_pipes() -> None:
    words = [sys.executable, "-m", "dqmroot.cli", "ls", DEMO]
    code = "import sys; from dqmroot.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", code, *words[3:]], capture_output=True, check=True)
    assert b"\x1b" not in done.stdout + done.stderr
