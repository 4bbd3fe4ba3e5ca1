"""A campaign as one TOML file: what to read, what to learn, where to run, where to write, and when to raise an alarm.

Each table of the file is a frozen dataclass here and each key one of its fields; docs/campaign.md tells them one by one.
A key that does not exist is an error that names the nearest one.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from dqmroot.errors import InputError, UnknownNameError, UsageError

__all__ = [
    "Alarm",
    "Campaign",
    "Inputs",
    "Output",
    "Resources",
    "Site",
    "Training",
    "Watch",
    "parse_ranges",
    "read_campaign",
    "read_watch",
]

Made = TypeVar("Made")

_MEMORY = re.compile(r"auto|\d+(\.\d+)?\s*([kmgtp]i?)?b?", re.IGNORECASE)


@dataclass(frozen=True)
class Inputs:
    """``[inputs]``: what is certified.

    Args:
        files: Paths, globs, ``root://`` addresses, and ``.txt`` or ``.list`` files that list them.
        golden: Golden JSON: keep only LS in it.
        dcs: DCS-only JSON: keep only LS in it.
        runs: Runs, as numbers and ranges, ``"355100-355105,355200"``.
        lumis: LS, as numbers and ranges; they hold in every run.
    """

    files: tuple[str, ...]
    golden: str | None = None
    dcs: str | None = None
    runs: str | None = None
    lumis: str | None = None


@dataclass(frozen=True)
class Training:
    """``[training]``: how models are made where there are none yet.

    Args:
        mes: Names or patterns of the monitoring elements.
        files: What to learn from; by default ``inputs.files``.
        golden: As in ``[inputs]``.
        dcs: As in ``[inputs]``.
        runs: As in ``[inputs]``.
        lumis: As in ``[inputs]``.
        since: Learn from this run on.
        last_runs: Learn from this many runs, the last ones of those selected.
        labels: A csv file with run, lumi and a column of 1 good / 0 bad; LS that are not good are left out.
        label_column: That column.
        min_entries_per_bin: LS with fewer entries per bin are neither learnt from nor judged.
        prepare: Steps, such as ``"rebin(2,2) normalise(integral)"``; by default chosen by the number of bins.
        detector: Which detector.
        parameters: Its parameters; ``seed`` among them.
        working_point: Such as ``"false_rate=1e-3"``.
    """

    mes: tuple[str, ...]
    files: tuple[str, ...] | None = None
    golden: str | None = None
    dcs: str | None = None
    runs: str | None = None
    lumis: str | None = None
    since: int | None = None
    last_runs: int | None = None
    labels: str | None = None
    label_column: str = "good"
    min_entries_per_bin: float = 0.0
    prepare: str | None = None
    detector: str = "dense_autoencoder"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    working_point: str = "mean_sigma=3"

    def __post_init__(self) -> None:
        _at_least("training", self, 1, "last_runs")


@dataclass(frozen=True)
class Output:
    """``[output]``: what is written, and where.

    Args:
        folder: The output folder; all workers must see it.
        model: Model folder: used where it is, made by ``[training]`` where it is not; by default ``models`` in the output folder.
        dataset: ``/PD/Era/Tier`` in the names of the DQM GUI files.
        rule: How monitoring elements combine: ``any``, ``at_least_N``, ``all``.
        publish: Whether each run gets its DQM GUI file and its tree of scores.
        report: Whether each run gets its HTML report.
    """

    folder: str
    model: str | None = None
    dataset: str = "/DQM/Run0-dqmroot-v1/DQMIO"
    rule: str = "any"
    publish: bool = True
    report: bool = True


@dataclass(frozen=True)
class Site:
    """``[slurm]`` and ``[htcondor]``: what a site wants to know of a job.

    Args:
        jobs: How many jobs, each one worker.
        memory: Memory of a job.
        disk: Disk of a job (HTCondor).
        walltime: Longest time of a job, ``"08:00:00"``.
        queue: Partition (Slurm).
        account: Account (Slurm).
        extra: Lines for the job's own directives: ``["--qos=short"]``, for HTCondor
            ``['+JobFlavour = "longlunch"']``.
        prologue: Shell lines before the worker starts, such as the activation of an environment.
        python: The interpreter on the nodes; by default this one.
        interface: Network interface that the nodes reach this machine by.
        scheduler_port: Port of the scheduler here; 0 is any.
        worker_ports: Ports of the workers, ``"10000:10100"``.
        log_folder: Where jobs write what they say; by default ``logs`` in the output folder.
    """

    jobs: int = 1
    memory: str = "4GiB"
    disk: str = "2GiB"
    walltime: str = "08:00:00"
    queue: str | None = None
    account: str | None = None
    extra: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()
    python: str | None = None
    interface: str | None = None
    scheduler_port: int = 0
    worker_ports: str | None = None
    log_folder: str | None = None

    def __post_init__(self) -> None:
        _at_least("slurm or htcondor", self, 1, "jobs")
        _at_least("slurm or htcondor", self, 0, "scheduler_port")


@dataclass(frozen=True)
class Resources:
    """``[resources]``: how it runs.

    Args:
        workers: Processes of the embedded cluster; by default one per core.
        memory: Memory of each; a worker that passes it is stopped and its task done once more.
        scheduler: Address of a running Dask scheduler, ``"tcp://host:8786"``, instead of the embedded cluster.
        lumis_per_piece: A piece of work holds at most so many LS, unless they lie in one file each.
        mib_per_piece: And at most about so many MiB of inflated histograms.
        retries: How often a piece or file that fails is tried again.
        retry_delay: Seconds before that.
        threads: Threads that inflate baskets in a worker.
    """

    workers: int | None = None
    memory: str = "4GiB"
    scheduler: str | None = None
    lumis_per_piece: int = 500
    mib_per_piece: float = 128.0
    retries: int = 2
    retry_delay: float = 1.0
    threads: int = 1

    def __post_init__(self) -> None:
        _at_least("resources", self, 1, "workers", "lumis_per_piece", "threads")
        _at_least("resources", self, 0, "retries", "retry_delay")
        if not self.mib_per_piece > 0:
            raise UsageError(f"resources.mib_per_piece = {self.mib_per_piece}: must be above 0")
        if not _MEMORY.fullmatch(self.memory.strip()):
            raise UsageError(f"resources.memory = {self.memory!r}: expected a size, such as 4GiB or 1500MB")


@dataclass(frozen=True)
class Campaign:
    """The whole file.

    Args:
        inputs: ``[inputs]``
        output: ``[output]``
        training: ``[training]``; not needed where the models are made.
        resources: ``[resources]``
        slurm: ``[slurm]``
        htcondor: ``[htcondor]``
    """

    inputs: Inputs
    output: Output
    training: Training | None = None
    resources: Resources = field(default_factory=Resources)
    slurm: Site = field(default_factory=Site)
    htcondor: Site = field(default_factory=Site)


@dataclass(frozen=True)
class Alarm:
    """``[[alarm]]``: when to tell someone.

    Args:
        name: What it is called.
        n: It is raised when so many …
        of: … of the last so many judged LS of the run are bad, and cleared when fewer are.
        me: Monitoring elements whose flags count, a name or pattern; by default the verdict of the LS counts.
        severity: Any word, handed on: ``"warning"``, ``"error"``.
        command: Program and arguments, run on each change of state with the alarm as JSON on its standard input.
        url: Where the same JSON is posted.
    """

    name: str
    n: int = 3
    of: int = 5
    me: str | None = None
    severity: str = "error"
    command: tuple[str, ...] = ()
    url: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.n <= self.of:
            raise UsageError(f"alarm {self.name}: n must be between 1 and of; got n = {self.n}, of = {self.of}")


@dataclass(frozen=True)
class Watch:
    """What `dqmroot watch` does.

    Args:
        folders: Folders that are watched, with all below them.
        model: Model folder.
        output: Output folder.
        pattern: Which files, by name.
        settle: A file counts as closed when its size and time have not changed for so many seconds.
        parts: An LS counts as complete when so many files have it …
        wait: … or so many seconds after the first of them.
        interval: Seconds between two looks at the folders.
        refresh: Seconds between two updates of a run's ROOT file.
        idle: A run has ended when nothing came for so many seconds (``refresh`` where a later one began); then it is certified.
        dataset: ``/PD/Era/Tier`` in the names of the DQM GUI files.
        rule: How monitoring elements combine.
        keep_runs: So many ended runs are remembered with their scores; older ones keep their files and verdicts.
        alarm: ``[[alarm]]`` tables.
    """

    folders: tuple[str, ...]
    model: str
    output: str
    pattern: str = "*.root"
    settle: float = 0.5
    parts: int = 1
    wait: float = 60.0
    interval: float = 0.2
    refresh: float = 20.0
    idle: float = 300.0
    dataset: str = "/DQM/Run0-dqmroot-v1/DQMIO"
    rule: str = "any"
    keep_runs: int = 50
    alarm: tuple[Alarm, ...] = ()

    def __post_init__(self) -> None:
        _at_least("", self, 0, "settle", "wait", "interval", "refresh", "idle")
        _at_least("", self, 1, "parts", "keep_runs")


def read_campaign(path: str | Path) -> Campaign:
    """Read a campaign; relative paths in it are taken from the folder of the file.

    Raises:
        InputError: The file cannot be read, or is not TOML.
        UnknownNameError: A table or key that does not exist.
        UsageError: A key is missing, or a value is of another kind.
    """
    made = _build(Campaign, _load(path), str(path), "")
    here = Path(path).resolve().parent
    inputs = _located(made.inputs, here, ("files", "golden", "dcs"))
    training = made.training and _located(made.training, here, ("files", "golden", "dcs", "labels"))
    output = _located(made.output, here, ("folder", "model"))
    return dataclasses.replace(made, inputs=inputs, training=training, output=output)


def read_watch(path: str | Path) -> Watch:
    """Read the settings of `dqmroot watch`; relative paths in it are taken from the folder of the file.

    Raises:
        InputError: The file cannot be read, or is not TOML.
        UnknownNameError: A key that does not exist.
        UsageError: A key is missing, or a value is of another kind.
    """
    made = _build(Watch, _load(path), str(path), "")
    return _located(made, Path(path).resolve().parent, ("folders", "model", "output"))


def parse_ranges(text: str, option: str) -> list[tuple[int, int]]:
    """Read numbers and ranges, ``"355100-355105,355200"``, as inclusive pairs.

    Raises:
        UsageError: It is not of that form; ``option`` is named.
    """
    out = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        try:
            pair = (int(low), int(high if dash else low))
        except ValueError:
            raise UsageError(f"{option} {text!r}: expected numbers and ranges, such as 355100-355105,355200") from None
        if pair[0] > pair[1]:
            raise UsageError(f"{option} {text!r}: {part.strip()} runs backwards")
        out.append(pair)
    return out


def _at_least(table: str, settings: Any, least: int, *names: str) -> None:
    """Check numbers; those that are not given are right."""
    for name in names:
        value = getattr(settings, name)
        if value is not None and not value >= least:
            raise UsageError(f"{table}{'.' if table else ''}{name} = {value}: must be at least {least}")


def _load(path: str | Path) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(path, f"not a TOML file: {error}") from error


def _build(kind: type[Made], data: Mapping[str, Any], path: str, table: str) -> Made:
    """Make a dataclass of a table of the file."""
    hints = typing.get_type_hints(kind)
    fields = {one.name: one for one in dataclasses.fields(kind)}  # type: ignore[arg-type]
    where = f"[{table}] of {path}" if table else path
    for key in data:
        if key not in fields:
            raise UnknownNameError("key", key, fields, where)
    values = {key: _value(hints[key], value, path, f"{table}.{key}" if table else key) for key, value in data.items()}
    for name, one in fields.items():
        needed = one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
        if needed and name not in values:
            raise UsageError(f"{where}: {name} is missing")
    return kind(**values)


def _value(hint: Any, value: Any, path: str, key: str) -> Any:
    """Check a value against the type of its field."""
    if typing.get_origin(hint) is types.UnionType:
        hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
    if dataclasses.is_dataclass(hint):
        if isinstance(value, Mapping):
            return _build(typing.cast("type[Any]", hint), value, path, key)
    elif typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        if isinstance(value, str) and inner is str:
            return (value,)
        if isinstance(value, list):
            return tuple(_value(inner, one, path, key) for one in value)
    elif hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif typing.get_origin(hint) is not None:
        if isinstance(value, Mapping):
            return dict(value)
    elif isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    wanted = getattr(hint, "__name__", str(hint))
    raise UsageError(f"{path}: {key} = {value!r} is not what is expected there ({wanted})")


def _located(made: Made, here: Path, names: tuple[str, ...]) -> Made:
    """Take relative paths of a table from the folder of the file; addresses stay as they are."""

    def locate(text: str) -> str:
        return text if "://" in text else str(here / Path(text).expanduser())

    changes: dict[str, Any] = {}
    for name in names:
        value = getattr(made, name)
        if value is not None:
            changes[name] = locate(value) if isinstance(value, str) else tuple(map(locate, value))
    return dataclasses.replace(made, **changes)  # type: ignore[type-var]
