"""Reads and runs the blocks of a page: ``python pages.py PAGE OUT`` runs them in order, here, and writes what each one printed.

Shell blocks share the folder, Python blocks one session. What a block prints is compared with the ``text`` block that stands right
below it, by `differs`.

Comments above a block say how it is to be taken; readers do not see them:

- ``<!-- not run: reason -->``: it needs what no test has (a cluster, an installation); tests/test_docs.py counts these;
- ``<!-- file: name -->``: what is shown is the file of that name;
- ``<!-- printed by: command -->``: a ``text`` block that is what ``command`` prints.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RUN = ("sh", "python")
_FENCE = re.compile(
    r"^(?:<!-- (?P<mark>[a-z ]+): (?P<value>.+?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_NUMBER = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?|-?\d+e[+-]?\d+")
_PORT = re.compile(r"(?<=tcp://127\.0\.0\.1):\d+")


@dataclass
class Block:
    """One block of a page.

    Args:
        language: After the fence; empty where none is told.
        text: What it holds.
        mark: ``"not run"``, ``"file"``, ``"printed by"`` or nothing.
        value: What the mark says.
        shown: The ``text`` block that follows at once; ``None`` where there is none.
        printed: What it printed when it was run; ``None`` where it was not.
    """

    language: str
    text: str
    mark: str = ""
    value: str = ""
    shown: str | None = None
    printed: str | None = None

    @property
    def runs(self) -> bool:
        return self.mark != "not run" and (self.language in RUN or self.mark == "printed by")


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page; a ``text`` block right below one that runs is what that one shows."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    end = 0
    for match in _FENCE.finditer(text):
        one = Block(match["language"], match["text"], match["mark"] or "", match["value"] or "")
        if (
            one.language == "text"
            and not one.mark
            and found
            and found[-1].language in RUN
            and not text[end : match.start()].strip()
        ):
            found[-1].shown = one.text
        else:
            found.append(one)
        end = match.end()
    return found


def differs(shown: str, printed: str) -> str:
    """Return what differs between a page and what was printed; empty where nothing does.

    Line for line, word for word. Two things depend on the machine: a number with a fraction may differ by a fifth (networks
    trained on another processor), and the port of a local scheduler is any. Spaces at the end do not count. A line ``…`` stands
    for any number of lines.
    """
    wanted, lines = (
        [_PORT.sub(":PORT", line.rstrip()) for line in text.strip().splitlines()] for text in (shown, printed)
    )
    if _matches(wanted, lines):
        return ""
    return "shown:\n" + "\n".join(wanted) + "\nprinted:\n" + "\n".join(lines)


def _matches(wanted: list[str], lines: list[str]) -> bool:
    if not wanted:
        return not lines
    if wanted[0] == "…":
        return any(_matches(wanted[1:], lines[i:]) for i in range(len(lines) + 1))
    return bool(lines) and _same(wanted[0], lines[0]) and _matches(wanted[1:], lines[1:])


def _same(wanted: str, line: str) -> bool:
    if _NUMBER.sub("#", wanted) != _NUMBER.sub("#", line):
        return False
    pairs = zip(_NUMBER.findall(wanted), _NUMBER.findall(line), strict=True)
    return all(abs(float(a) - float(b)) <= 0.2 * max(abs(float(a)), abs(float(b))) for a, b in pairs)


def run(page: Path) -> list[Block]:
    """Run the blocks of a page in this folder; stops at the first that fails.

    Raises:
        RuntimeError: One failed; says which, and what it printed.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    found = blocks(page)
    for one in found:
        if one.mark == "file":
            Path(one.value).parent.mkdir(parents=True, exist_ok=True)
            Path(one.value).write_text(one.text, encoding="utf-8")
        if not one.runs:
            continue
        if one.language == "python":
            failed, one.printed = _python(one.text, names)
        else:
            failed, one.printed = _shell(one.value if one.mark == "printed by" else one.text)
        one.printed = one.printed.replace(f"{Path.cwd()}/", "")  # paths are shown from the folder where the page runs
        if failed:
            raise RuntimeError(f"{page.name}:\n{one.text}\nfailed:\n{one.printed}")
    return found


def _shell(text: str) -> tuple[bool, str]:
    words = ["bash", "-e", "-c", text]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode != 0, done.stdout


def _python(text: str, names: dict[str, Any]) -> tuple[bool, str]:
    with tempfile.TemporaryFile() as file:
        failed = False
        with _into(file.fileno()):
            try:
                exec(compile(text, "block", "exec"), names)
            except Exception:  # noqa: BLE001 - whatever it is, the page is wrong, and the test shows it
                traceback.print_exc()
                failed = True
        file.seek(0)
        return failed, file.read().decode()


@contextlib.contextmanager
def _into(handle: int) -> Iterator[None]:
    """Send what is printed, by Python or by what it calls, to an open file."""
    kept = [os.dup(1), os.dup(2)]
    try:
        for stream in (1, 2):
            os.dup2(handle, stream)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)


if __name__ == "__main__":
    try:
        told = run(Path(sys.argv[1]))
    except RuntimeError as error:
        sys.exit(str(error))
    Path(sys.argv[2]).write_text(json.dumps([asdict(one) for one in told]), encoding="utf-8")
