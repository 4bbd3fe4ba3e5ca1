"""A campaign from its TOML file to its certification: plan, train, score, certify, publish, and tell what is missing."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot._version import __version__
from dqmroot.batch.index import FileIndex, index_file, unique_files
from dqmroot.batch.plan import Piece, plan_pieces, plan_runs
from dqmroot.batch.results import read_head
from dqmroot.batch.summary import summary_page
from dqmroot.batch.training import check_training, train_missing
from dqmroot.batch.work import CertifyRun, IndexFile, ScorePiece, digest
from dqmroot.combine import combine_flags
from dqmroot.config import Campaign, Inputs, Training, parse_ranges
from dqmroot.errors import EmptySelectionError, IncompleteError, InputError
from dqmroot.files import write_text
from dqmroot.io.storage.source import expand
from dqmroot.model import Model, load_models
from dqmroot.pipeline import Report
from dqmroot.publication import check_dataset
from dqmroot.runs import RunMask
from dqmroot.selection import Selection

__all__ = ["Plan", "Told", "dry_run", "run_campaign"]

SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False)
class Plan:
    """What a campaign will do.

    Args:
        files: Readable inputs, each once.
        pieces: Pieces of work.
        runs: Runs that will be certified.
        n_lumis: LS in them.
        mes: Monitoring elements.
    """

    files: tuple[FileIndex, ...]
    pieces: tuple[Piece, ...]
    runs: tuple[int, ...]
    n_lumis: int
    mes: tuple[str, ...]


@dataclass
class Told:
    """What happened, for the manifest.

    Args:
        errors: Path → error of each input that could not be read.
        failures: Work that could not be done: what, which LS, why.
        refused: ``(me, error)`` where a model does not fit.
        copies: Inputs that are copies of others.
        runs: Figures of each run.
        summary: Figures of the whole.
    """

    errors: dict[str, str] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    refused: set[tuple[str, str]] = field(default_factory=set)
    copies: list[tuple[str, str]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """Exit status: 0 where all is done, 4 where anything is missing, 3 where no input could be read."""
        if self.errors and not self.runs:
            return InputError.exit_code
        return IncompleteError.exit_code if self.errors or self.failures or self.refused else 0


class Log:
    """A log for machines: one JSON object a line, appended to what is there."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def __call__(self, event: str, **more: Any) -> None:
        """Write one line."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._file.write(json.dumps({"time": now, "event": event, **more}) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def dry_run(campaign: Campaign) -> tuple[Plan, Told]:
    """Plan a campaign without a cluster and without writing anything.

    Where the models are still to be trained, the pieces are those of one monitoring element per pattern.

    Raises:
        DQMError: As `run_campaign`.
    """
    check(campaign)
    told = Told()
    found = []
    for path in expand(campaign.inputs.files):
        try:
            found.append(index_file(path))
        except InputError as error:
            told.errors[path] = str(error)
    indices, told.copies = unique_files(found)
    folder = _model_folder(campaign)
    models = load_models(folder) if (folder / "model.json").is_file() else []
    mes = [model.me for model in models] or list(campaign.training.mes if campaign.training else ())
    return _plan(campaign, indices, mes, [model.me for model in models if model.spans_lumis]), told


def run_campaign(
    campaign: Campaign,
    kind: str = "local",
    *,
    retrain: bool = False,
    report: Report | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Told:
    """Do a campaign, or what is missing of it.

    Args:
        campaign: Its settings.
        kind: Where: ``"local"``, ``"slurm"`` or ``"htcondor"``.
        retrain: Whether to train models that are there.
        report: Called as it goes on.
        say: Called with lines for a person.

    Raises:
        DQMError: Nothing could be done: no input, no model, an impossible setting.
    """
    from dqmroot.batch.cluster import dashboard, open_client

    check(campaign)
    paths = expand(campaign.inputs.files)
    log = Log(Path(campaign.output.folder) / "log.jsonl")
    log("started", version=__version__, files=len(paths), cluster=kind)
    try:
        with open_client(campaign, kind) as client:
            address = client.scheduler_info()["address"]
            log("cluster", scheduler=address, dashboard=dashboard(client))
            say(f"scheduler {address}" + (f", dashboard {dashboard(client)}" if dashboard(client) else ""))
            told = _Running(campaign, client, log, report, say).run(paths, retrain)
        sweep(Path(campaign.output.folder))
        log("finished", status=told.status, **told.summary)
    finally:
        log.close()
    return told


def sweep(folder: Path) -> None:
    """Remove what an earlier run of the campaign had begun to write when it was killed."""
    for pattern in ("runs/.*", "pieces/*/.*", "index/.*", "training/*/.*", ".*"):
        for path in folder.glob(pattern):
            if path.suffix in {".part", ".old"}:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def check(campaign: Campaign) -> None:
    """Find mistakes in a campaign before any work is done.

    Raises:
        UsageError: A setting that cannot be.
    """
    check_dataset(campaign.output.dataset)
    combine_flags(np.zeros((1000, 0), np.int8), campaign.output.rule)
    selection_of(campaign.inputs, "inputs")
    if campaign.training is not None:
        check_training(campaign.training)
    elif not (_model_folder(campaign) / "model.json").is_file():
        raise InputError(_model_folder(campaign), "there is no model, and the campaign has no [training]")


def selection_of(part: Inputs | Training, table: str) -> dict[str, Any]:
    """Return the selection of a table, as `dqmroot.read` takes it."""
    runs = None if part.runs is None else parse_ranges(part.runs, f"{table}.runs")
    return {
        "golden": part.golden,
        "dcs": part.dcs,
        "runs": None if runs is None else [run for first, last in runs for run in range(first, last + 1)],
        "lumis": None if part.lumis is None else parse_ranges(part.lumis, f"{table}.lumis"),
    }


class _Running:
    """One campaign while it runs."""

    def __init__(
        self, campaign: Campaign, client: Any, log: Log, report: Report | None, say: Callable[[str], None]
    ) -> None:
        self.campaign, self.client, self.log, self.report, self.say = campaign, client, log, report, say
        self.out = Path(campaign.output.folder)
        self.told = Told()

    def run(self, paths: Sequence[str], retrain: bool) -> Told:
        """Do all steps."""
        indices = self._index(paths)
        if not indices:
            self._finish(paths, indices, Plan((), (), (), 0, ()))
            return self.told
        folder = _model_folder(self.campaign)
        trained = train_missing(self.campaign, folder, indices, self.jobs, self.told.failures, retrain=retrain)
        if trained and not self.campaign.resources.scheduler:
            # Fresh workers without what TensorFlow keeps; a scheduler that others use is left alone.
            self.client.restart()
        models = load_models(folder)
        plan = _plan(self.campaign, indices, [model.me for model in models], [m.me for m in models if m.spans_lumis])
        if not plan.n_lumis:
            raise EmptySelectionError("inputs: no lumisection left after selection")
        self.say(
            f"{len(plan.files)} files, {plan.n_lumis} LS of {len(plan.runs)} runs, {len(plan.mes)} MEs, {len(plan.pieces)} pieces"
        )
        digests = model_digests(folder)
        targets = self._score(plan, folder, digests)
        self._certify(plan, folder, models, digests, targets)
        self._finish(paths, indices, plan)
        return self.told

    def jobs(
        self, what: str, work: Mapping[str, tuple[Any, str]], weights: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """Do work by name; what cannot be done stands in the manifest.

        Args:
            what: What it is, in one word.
            work: Name → what a worker calls, and a label.
            weights: LS in each, for the rate.
        """
        from dqmroot.batch.engine import Failure, Job, run_jobs

        results: dict[str, Any] = {}
        begin, n_lumis = time.monotonic(), 0

        def done(job: Job, value: Any) -> None:
            nonlocal n_lumis
            name = job.key.removeprefix(f"{what}-")
            results[name] = value
            n_lumis += (weights or {}).get(name, 0)
            self.log("done", step=what, name=name, label=job.label)
            if self.report:
                rate = f"{n_lumis / max(time.monotonic() - begin, 1e-3):.0f} LS/s" if weights else ""
                self.report(what, len(results), len(work), rate)

        def failed(failure: Failure) -> None:
            self.log("failed", step=what, label=failure.job.label, error=failure.error, tries=failure.tries)

        resources = self.campaign.resources
        failures = run_jobs(
            self.client,
            [Job(f"{what}-{name}", call, label) for name, (call, label) in work.items()],
            retries=resources.retries,
            delay=resources.retry_delay,
            done=done,
            failed=failed,
        )
        for failure in failures:
            name = failure.job.key.removeprefix(f"{what}-")
            row = {
                "step": what,
                "name": name,
                "what": failure.job.label,
                "error": failure.error,
                "tries": failure.tries,
            }
            self.told.failures.append(row)
        return results

    def _index(self, paths: Sequence[str]) -> list[FileIndex]:
        folder = str(self.out / "index")
        work = {digest(path): (IndexFile(path, folder), path) for path in paths}
        found = self.jobs("index", work)
        for row in [row for row in self.told.failures if row["step"] == "index"]:
            self.told.errors[row["what"]] = row["error"]
        self.told.failures[:] = [row for row in self.told.failures if row["step"] != "index"]
        ordered = [found[name] for name in work if name in found]
        indices, self.told.copies = unique_files(ordered)
        return indices

    def _score(self, plan: Plan, folder: Path, digests: Mapping[str, str]) -> dict[str, Piece]:
        """Score what is missing, and return the file of results of each piece that is there."""
        by_path = {index.path: index for index in plan.files}
        names = {piece_name(piece, by_path, digests): piece for piece in plan.pieces}
        targets = {name: str(self.out / "pieces" / name[:2] / f"{name}.npz") for name in names}
        missing = {name: piece for name, piece in names.items() if not _complete(targets[name])}
        if len(missing) < len(names):
            self.say(f"{len(names) - len(missing)} of {len(names)} pieces are there already")
        stamp = digest(dict(digests))
        work = {}
        for name, piece in missing.items():
            files = {
                path: (by_path[path].size if by_path[path].time_ns else 0, by_path[path].time_ns)
                for path in piece.files
            }
            call = ScorePiece(
                piece.keys, files, piece.mes, str(folder), stamp, targets[name], self.campaign.resources.threads
            )
            work[name] = (call, _label(piece))
        done = self.jobs("score", work, {name: len(piece.keys) for name, piece in missing.items()})
        for value in done.values():
            self.told.errors.update(value["errors"])
            self.told.refused.update(map(tuple, value["refused"]))
        for row in self.told.failures:
            if row["step"] == "score":
                row["lumis"] = _ranges(names[row["name"]].keys)
        return {targets[name]: piece for name, piece in names.items() if name not in missing or name in done}

    def _certify(
        self,
        plan: Plan,
        folder: Path,
        models: Sequence[Model],
        digests: Mapping[str, str],
        targets: Mapping[str, Piece],
    ) -> None:
        """Certify each run whose pieces, or the errors in them, are not those of its last certification."""
        stamp = digest(dict(digests))
        by_run: dict[int, list[str]] = {}
        for target, piece in targets.items():
            for run in piece.runs:
                by_run.setdefault(run, []).append(target)
        work = {}
        for run, files in by_run.items():
            of_run = [index for index in plan.files if ((index.keys >> np.uint64(32)) == run).any()]
            state = [[Path(target).stem, read_head(target)["errors"]] for target in files]
            output = self.campaign.output
            name = digest(
                run,
                state,
                stamp,
                output.dataset,
                output.rule,
                output.report,
                [index.path for index in of_run],
                __version__,
            )
            place = self.out / "runs" / str(run)
            kept = _read_run(place)
            if kept is not None and kept.get("name") == name:
                self.told.runs.append(kept)
                continue
            call = CertifyRun(
                run, files, str(folder), stamp, tuple(m.me for m in models), str(place), name, output.dataset, output.rule,
                [index.describe() for index in of_run], output.report,
            )  # fmt: skip
            work[name] = (call, f"run {run}")
        self.told.runs.extend(self.jobs("certify", work).values())
        self.told.runs.sort(key=lambda row: int(row["run"]))

    def _finish(self, paths: Sequence[str], indices: Sequence[FileIndex], plan: Plan) -> None:
        """Write what is of all runs together."""
        told = self.told
        for name in ("golden.json", "bad.json", "not_judged.json"):
            masks = [self.out / "runs" / str(row["run"]) / name for row in told.runs if row["lumisections"]]
            whole = RunMask.from_ranges({})
            for path in masks:
                whole = whole | RunMask.from_json(path)
            write_text(self.out / name, whole.to_json())
        figures = {key: sum(row[key] for row in told.runs) for key in ("lumisections", "good", "bad", "not judged")}
        told.summary = {
            "files": len(paths),
            "files_read": len(indices) - len(set(told.errors) & {index.path for index in indices}),
            "runs": len(told.runs),
            "pieces": len(plan.pieces),
            **figures,
            "missing": plan.n_lumis - figures["lumisections"],
        }
        trends = {"schema_version": SCHEMA_VERSION, "runs": told.runs}
        write_text(self.out / "runs.json", json.dumps(trends, indent=1, allow_nan=False) + "\n")
        if told.runs:
            write_text(self.out / "summary.html", summary_page(told.runs, f"Campaign {self.out.name}"))
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "dqmroot_version": __version__,
            "step": "batch",
            "inputs": [index.describe() for index in indices if index.path not in told.errors],
            "errors": [{"path": path, "error": error} for path, error in sorted(told.errors.items())],
            "copies": [{"path": path, "same_as": other} for path, other in told.copies],
            "failures": sorted(told.failures, key=lambda row: (row["step"], row["what"])),
            "refused": [{"me": me, "error": error} for me, error in sorted(told.refused)],
            "summary": told.summary,
        }
        write_text(self.out / "manifest.json", json.dumps(manifest, indent=1) + "\n")


def piece_name(piece: Piece, files: Mapping[str, FileIndex], digests: Mapping[str, str]) -> str:
    """Return what stands for a piece: identity of its inputs, LS, and models."""
    inputs = [[files[path].uuid, files[path].size, files[path].time_ns] for path in piece.files]
    return digest(inputs, _ranges(piece.keys), [[me, digests[me]] for me in piece.mes], SCHEMA_VERSION, __version__)


def model_digests(folder: Path) -> dict[str, str]:
    """Return for each monitoring element of a model folder what changes when its model does."""
    head = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return {entry["me"]: digest(entry) for entry in head["models"]}


def _plan(campaign: Campaign, indices: Sequence[FileIndex], mes: Sequence[str], spanning: Sequence[str]) -> Plan:
    resources = campaign.resources
    keep = _keep(Selection.of(**selection_of(campaign.inputs, "inputs")))
    alone = [me for me in mes if me not in spanning]
    nbytes = resources.mib_per_piece * 2**20
    pieces = plan_pieces(indices, alone, keep=keep, lumis=resources.lumis_per_piece, nbytes=nbytes)
    pieces += plan_runs(indices, spanning, keep=keep)
    keys = np.unique(np.concatenate([piece.keys for piece in pieces])) if pieces else np.empty(0, np.uint64)
    return Plan(tuple(indices), tuple(pieces), tuple(np.unique(keys >> np.uint64(32)).tolist()), len(keys), tuple(mes))


def _keep(selection: Selection) -> Callable[[NDArray[np.uint64]], NDArray[np.bool_]]:
    return lambda keys: selection.contains(keys >> np.uint64(32), keys & np.uint64(0xFFFFFFFF))


def _model_folder(campaign: Campaign) -> Path:
    return Path(campaign.output.model or Path(campaign.output.folder) / "models")


def _complete(target: str) -> bool:
    """Tell whether the results of a piece are there with none of its files left out."""
    try:
        return not read_head(target)["errors"]
    except InputError:
        return False


def _read_run(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _ranges(keys: NDArray[np.uint64]) -> dict[str, list[list[int]]]:
    mask = RunMask.from_lumis(keys >> np.uint64(32), keys & np.uint64(0xFFFFFFFF))
    return {str(run): pairs for run, pairs in mask.to_ranges().items()}


def _label(piece: Piece) -> str:
    runs: Iterable[str] = map(str, piece.runs[:3])
    more = "" if len(piece.runs) <= 3 else ", …"
    first, last = int(piece.keys[0]) & 0xFFFFFFFF, int(piece.keys[-1]) & 0xFFFFFFFF
    return f"run {', '.join(runs)}{more}, {len(piece.keys)} LS ({first}-{last}) in {len(piece.files)} files"
