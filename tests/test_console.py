"""What every verb has: completion, a log, quiet and verbose, no colours in pipes."""

from __future__ import annotations

import argparse
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dqmroot.cli import build_parser, main
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


def examples() -> dict[str, str]:
    """The example of each verb, from its help."""
    (verbs,) = [one for one in build_parser()._actions if isinstance(one, argparse._SubParsersAction)]
    return {name: verb.epilog.split("example:")[1].strip() for name, verb in verbs.choices.items()}


@pytest.mark.slow
def test_the_examples_of_all_verbs_work_as_typed(tmp_path: Path) -> None:
    """In an empty folder, after the one command that the help of dqmroot names."""
    order = ["ls", "extract", "inject", "train", "score", "evaluate", "certify", "publish", "report", "export"]
    order += ["watch", "batch", "doctor", "completion"]
    known = examples()
    assert {*order, "demo"} == set(known), "a verb whose example is not typed here"
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    (tmp_path / ".local/share/bash-completion/completions").mkdir(parents=True)
    assert "dqmroot demo --data ." in build_parser().epilog
    for line in ["dqmroot demo --data .", *(known[verb] for verb in order)]:
        # One process for all would be quicker, and would not be what is typed; training is what takes long.
        quick = line.replace(" -o model", " --set epochs=20 -o model") if line.startswith("dqmroot train") else line
        done = subprocess.run(
            ["bash", "-c", quick], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr


def in_a_terminal(words: list[str], cwd: Path) -> str:
    """What a person sees who types this."""
    here, there = pty.openpty()
    environment = {**os.environ, "COLUMNS": "150"}
    with subprocess.Popen(words, cwd=cwd, stdin=there, stdout=there, stderr=there, env=environment) as process:
        os.close(there)
        parts = []
        while True:
            try:
                part = os.read(here, 4096)
            except OSError:
                break
            if not part:
                break
            parts.append(part)
        assert process.wait() == 0
    os.close(here)
    return b"".join(parts).decode()


def test_a_terminal_gets_tables_and_progress(tmp_path: Path) -> None:
    dqmroot = str(Path(sys.executable).with_name("dqmroot"))
    shown = in_a_terminal([dqmroot, "ls", DEMO], tmp_path)
    assert "\t" not in shown
    assert "CSC/FEDIntegrity/FEDTotalEventSize" in shown
    assert "\x1b[1m" in shown
    words = ["train", DEMO, "--me", "CSC/**", "--runs", "355100-355102", "--set", "epochs=9", "-o", "model"]
    shown = in_a_terminal([dqmroot, *words], tmp_path)
    assert "━" in shown
    assert "FEDTotalEventSize" in shown
    assert "━" not in in_a_terminal([dqmroot, *words, "--quiet"], tmp_path)
