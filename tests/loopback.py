"""A Slurm of one node on the loopback interface, with its own key, ports and folders; needs slurm-wlm and munge, and root."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers import free_port

__all__ = ["slurm_missing", "slurm_of_one_node"]


def slurm_missing() -> str:
    """Return why no Slurm can be started here; empty where one can."""
    for name in ("munged", "slurmctld", "slurmd", "sbatch", "sinfo"):
        if shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
            return f"{name} is not installed (docs/cluster.md)"
    return "" if os.geteuid() == 0 else "only root can start a Slurm"


def _configuration(work: Path, host: str) -> str:
    lines = {
        "ClusterName": "loopback",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmctldPort": free_port(),
        "SlurmdPort": free_port(),
        "SlurmUser": "root",
        "SlurmdUser": "root",
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={work}/munge.sock",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core",
        "StateSaveLocation": f"{work}/state",
        "SlurmdSpoolDir": f"{work}/spool",
        "SlurmctldLogFile": f"{work}/slurmctld.log",
        "SlurmdLogFile": f"{work}/slurmd.log",
        "SlurmctldPidFile": f"{work}/slurmctld.pid",
        "SlurmdPidFile": f"{work}/slurmd.pid",
        "ReturnToService": 2,
        "MpiDefault": "none",
        "JobCompType": "jobcomp/none",
    }
    node = f"NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} RealMemory=4096 State=UNKNOWN"
    partition = f"PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4"
    return "\n".join([*(f"{key}={value}" for key, value in lines.items()), node, partition]) + "\n"


@contextmanager
def slurm_of_one_node(work: Path) -> Iterator[Path]:
    """Start one in a folder, give its configuration (for ``SLURM_CONF``), and stop all of it."""
    for name in ("state", "spool"):
        (work / name).mkdir(parents=True)
    work.chmod(0o755)
    host = socket.gethostname().split(".")[0]
    conf = work / "slurm.conf"
    conf.write_text(_configuration(work, host))
    key = work / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    munged = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={work}/munge.sock"]
    munged += [f"--pid-file={work}/munged.pid", f"--log-file={work}/munged.log", f"--seed-file={work}/munged.seed"]
    environment = {**os.environ, "SLURM_CONF": str(conf), "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin"}
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for command in (munged, ["slurmctld", "-D"], ["slurmd", "-D"]):
            log = (work / f"{command[0]}.out").open("wb")
            processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True))
            log.close()
            time.sleep(0.5)
        deadline = time.monotonic() + 60
        state = ""
        while "idle" not in state:
            if time.monotonic() > deadline:
                logs = "\n".join(path.read_text(errors="replace")[-600:] for path in sorted(work.glob("*.out")))
                message = f"Slurm does not start: {state}\n{logs}"
                raise RuntimeError(message)
            answer = subprocess.run(
                ["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True, check=False
            )
            state = answer.stdout + answer.stderr
            time.sleep(0.3)
        yield conf
    finally:
        subprocess.run(["scancel", "--state=RUNNING", "-u", "root"], env=environment, check=False, capture_output=True)
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
