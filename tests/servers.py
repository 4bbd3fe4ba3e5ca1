"""Servers on the loopback interface, for tests of what is read from afar."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

__all__ = ["free_port", "open_to_all", "start_xrootd"]


def open_to_all(folder: Path) -> None:
    """Let a server that runs as somebody else look into a folder of ours."""
    for parent in [folder, *folder.parents]:
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o055)


def free_port() -> int:
    """Return a port that nobody listens to."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def start_xrootd(folder: Path, work: Path, port: int | None = None) -> tuple[subprocess.Popen[bytes], str]:
    """Serve a folder on the loopback interface; returns the process and the address of the folder."""
    port = port or free_port()
    config = work / "xrootd.cfg"
    config.write_text(
        f"xrd.port {port}\nxrootd.export {folder}\noss.localroot /\nxrd.network nodnr\n"
        f"all.adminpath {work}\nall.pidpath {work}\n"
    )
    command = [shutil.which("xrootd"), "-c", str(config), "-l", str(work / "log"), "-I", "v4"]
    if os.geteuid() == 0:
        # The server does not run as the superuser.
        for each in (work, config):
            shutil.chown(each, "xrootd")
        command += ["-R", "xrootd"]
    # In a session of its own: what it signals its process group does not reach the tests.
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return process, f"root://127.0.0.1:{port}/{folder}"
        time.sleep(0.05)
    process.kill()
    process.wait()
    log = "\n".join(path.read_text(errors="replace")[-500:] for path in work.glob("**/log*") if path.is_file())
    message = f"xrootd does not start: {log}"
    raise RuntimeError(message)
