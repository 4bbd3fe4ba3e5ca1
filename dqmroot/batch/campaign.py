"""A campaign from its TOML file to its certification: plan, train, score, certify, publish, and tell what is missing."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dqmroot._version import __version__
from dqmroot.batch import results
from dqmroot.batch.index import FileIndex, index_file, latest_versions, unique_files
from dqmroot.batch.models import find_models, model_digests, model_place
from dqmroot.batch.nursery import environment_kept, nursery
from dqmroot.batch.plan import Piece, Plan, plan_pieces, plan_runs
from dqmroot.batch.results import read_head
from dqmroot.batch.told import Log, Told, lumi_ranges, write_ending
from dqmroot.batch.training import check_mes, check_training, train_missing
from dqmroot.batch.work import CertifyRun, IndexFiles, ScorePiece, digest
from dqmroot.combine import TRAINED, combine_flags
from dqmroot.config import Campaign, Inputs, Training, parse_ranges
from dqmroot.errors import EmptySelectionError, InputError
from dqmroot.io.storage.source import expand
from dqmroot.model import Model
from dqmroot.pipeline import Report
from dqmroot.publication import check_dataset
from dqmroot.runs import RunMask
from dqmroot.selection import Selection

if TYPE_CHECKING:
    from dqmroot.batch.engine import Job

__all__ = ["Plan", "Told", "dry_run", "run_campaign"]

SCHEMA_VERSION = 1


def dry_run(campaign: Campaign) -> tuple[Plan, Told]:
    """Plan a campaign without a cluster and without writing anything.

    Where the models are still to be trained, the pieces are those of one monitoring element per pattern.

    Raises:
        DQMError: As `run_campaign`.
    """
    check(campaign)
    told = Told()
    found = []
    models = find_models(model_place(campaign))
    mes = [model.me for model in models] or list(campaign.training.mes if campaign.training else ())
    paths, told.older = latest_versions(expand(campaign.inputs.files))
    for path in paths:
        try:
            found.append(index_file(path, mes))
        except InputError as error:
            told.errors[path] = str(error)
    indices, told.copies = unique_files(found)
    if campaign.training is not None and not models:
        check_mes(campaign.training, [index.path for index in indices])
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
    check(campaign)
    local = kind == "local" and not campaign.resources.scheduler
    paths = expand(campaign.inputs.files)
    log = Log(Path(campaign.output.folder) / "log.jsonl")
    log("started", version=__version__, files=len(paths), cluster=kind)
    try:
        with environment_kept(), nursery() if local else nullcontext("spawn") as method:
            # Loaded here: Dask takes its time, and what workers are forked from loads beside it.
            from dqmroot.batch.cluster import dashboard, job_logs, open_client, tell_without_workers

            with open_client(campaign, kind, method) as client:
                address = client.scheduler_info()["address"]
                log("cluster", scheduler=address, dashboard=dashboard(client))
                say(f"scheduler {address}" + (f", dashboard {dashboard(client)}" if dashboard(client) else ""))

                def tell(seconds: float) -> None:
                    log("no worker", seconds=seconds)
                    place = job_logs(campaign, kind)
                    say(
                        f"no worker for {seconds:.0f} s, waiting on"
                        + (f"; what jobs said is in {place}" if place else "")
                    )

                with tell_without_workers(client, tell):
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
    if campaign.output.rule != TRAINED:
        combine_flags(np.zeros((1000, 0), np.int8), campaign.output.rule)
    selection_of(campaign.inputs, "inputs")
    if campaign.training is not None:
        check_training(campaign.training)
    elif not find_models(model_place(campaign)):
        raise InputError(model_place(campaign), "there is no model, and the campaign has no [training]")


def selection_of(part: Inputs | Training, table: str) -> dict[str, Any]:
    """Return the selection of a table, as `dqmroot.read` takes it."""
    runs = None if part.runs is None else parse_ranges(part.runs, f"{table}.runs")
    return {
        "golden": part.golden,
        "dcs": part.dcs,
        "runs": None if runs is None else [run for first, last in runs for run in range(first, last + 1)],
        "lumis": None if part.lumis is None else parse_ranges(part.lumis, f"{table}.lumis"),
    }


_MOST, _JOBS = 25, 8  # files in one job, as long as there are so many jobs
_HELD = 4  # runs that wait for their certification


@dataclass(frozen=True, eq=False)
class _Runs:
    """What the certification of a run is made of."""

    campaign: Campaign
    plan: Plan
    folder: Path
    models: Sequence[Model]
    digests: Mapping[str, str]

    @functools.cached_property
    def inputs(self) -> dict[int, list[dict[str, Any]]]:
        """Run → descriptions of the files that hold LS of it."""
        out: dict[int, list[dict[str, Any]]] = {}
        for index in self.plan.files:
            told = index.describe()
            for run in np.unique(index.keys >> np.uint64(32)).tolist():
                out.setdefault(run, []).append(told)
        return out

    def call(self, run: int, targets: Mapping[str, Piece]) -> tuple[str, CertifyRun]:
        """Return what a worker calls for a run, and what stands for all that goes in: pieces, errors, models, settings."""
        # In the order of their first LS, whatever the order in which they came.
        mine = sorted(targets, key=lambda target: _first(targets[target]))
        state = [[Path(target).stem, read_head(target)["errors"]] for target in mine]
        inputs = self.inputs[run]
        stamp, output = digest(dict(self.digests)), self.campaign.output
        kinds = [output.publish, output.report]
        settings = [output.dataset, output.rule, *kinds, [told["path"] for told in inputs], __version__]
        name = digest(run, state, stamp, *settings)
        place = str(Path(output.folder) / "runs" / str(run))
        mes = tuple(model.me for model in self.models)
        call = CertifyRun(
            run, mine, str(self.folder), stamp, mes, place, name, output.dataset, output.rule, inputs, *kinds
        )
        return name, call


def _by_run(targets: Mapping[str, Piece]) -> dict[int, dict[str, Piece]]:
    out: dict[int, dict[str, Piece]] = {}
    for target, piece in targets.items():
        for run in piece.runs:
            out.setdefault(run, {})[target] = piece
    return out


def _first(piece: Piece) -> tuple[int, tuple[str, ...]]:
    return int(piece.keys[0]), piece.mes


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
        folder = model_place(self.campaign)
        models = find_models(folder)
        training = self.campaign.training
        indices = self._index(paths, tuple(model.me for model in models) or (training.mes if training else ()))
        if not indices:
            write_ending(self.out, self.told, paths, indices, Plan((), (), (), np.empty(0, np.uint64), ()))
            return self.told
        trained = train_missing(self.campaign, folder, indices, self.jobs, self.told, retrain=retrain)
        if trained and not self.campaign.resources.scheduler:
            # Fresh workers without what TensorFlow keeps; a scheduler that others use is left alone.
            self.client.restart()
        models = find_models(folder) if trained or not models else models
        plan = _plan(self.campaign, indices, [model.me for model in models], [m.me for m in models if m.spans_lumis])
        if not plan.n_lumis:
            raise EmptySelectionError("inputs: no lumisection left after selection")
        self.say(
            f"{len(plan.files)} files, {plan.n_lumis} LS of {len(plan.runs)} runs, {len(plan.mes)} MEs, {len(plan.pieces)} pieces"
        )
        digests = model_digests(folder)
        runs = _Runs(self.campaign, plan, folder, models, digests)
        self._certify(runs, self._score(plan, folder, digests, runs))
        write_ending(self.out, self.told, paths, indices, plan)
        return self.told

    def jobs(
        self,
        what: str,
        work: Mapping[str, tuple[Any, str]],
        weights: Mapping[str, int] | None = None,
        then: Callable[[str], Iterable[Job]] = lambda _: (),
        tries: int | None = None,
    ) -> dict[str, Any]:
        """Do work by name; what cannot be done stands in the manifest.

        Args:
            what: What it is, in one word.
            work: Name → what a worker calls, and a label.
            weights: LS in each, for the rate.
            then: Gives for a name that is done what can be done now; where that fails, it is as if it had not been given.
            tries: How often what fails is tried; by default as the settings say.
        """
        from dqmroot.batch.engine import Failure, Job, run_jobs

        found: dict[str, Any] = {}
        begin, n_lumis = time.monotonic(), 0

        def done(job: Job, value: Any) -> Iterable[Job]:
            nonlocal n_lumis
            step, _, name = job.key.partition("-")
            self.log("done", step=step, name=name, label=job.label)
            if step != what:
                return ()
            found[name] = value
            n_lumis += (weights or {}).get(name, 0)
            if self.report:
                rate = f"{n_lumis / max(time.monotonic() - begin, 1e-3):.0f} LS/s" if weights else ""
                self.report(what, len(found), len(work), rate)
            return then(name)

        def failed(failure: Failure) -> None:
            step = failure.job.key.partition("-")[0]
            self.log("failed", step=step, label=failure.job.label, error=failure.error, tries=failure.tries)

        resources = self.campaign.resources
        failures = run_jobs(
            self.client,
            [Job(f"{what}-{name}", call, label) for name, (call, label) in work.items()],
            retries=resources.retries if tries is None else tries - 1,
            delay=resources.retry_delay,
            done=done,
            failed=failed,
        )
        for failure in failures:
            step, _, name = failure.job.key.partition("-")
            if step != what:
                continue
            row = {
                "step": what,
                "name": name,
                "what": failure.job.label,
                "error": failure.error,
                "tries": failure.tries,
            }
            self.told.failures.append(row)
        return found

    def _index(self, paths: Sequence[str], mes: tuple[str, ...]) -> list[FileIndex]:
        folder = str(self.out / "index")
        paths, self.told.older = latest_versions(paths)
        # Some at a time, as one takes no longer than to hand it out; then each that failed by itself, as often as is asked for.
        size = max(1, min(_MOST, len(paths) // _JOBS))
        groups = [tuple(paths[i : i + size]) for i in range(0, len(paths), size)]
        found: dict[str, FileIndex] = {}
        for some in (groups, None):
            left = some or [(path,) for path in paths if path not in found]
            work = {digest(*group): (IndexFiles(group, folder, mes), group[0]) for group in left}
            for value in self.jobs("index", work, tries=1 if some else None).values():
                found.update(value)
            rows = [row for row in self.told.failures if row["step"] == "index"]
            self.told.failures[:] = [row for row in self.told.failures if row["step"] != "index"]
        self.told.errors.update({row["what"]: row["error"] for row in rows})
        ordered = [found[path] for path in paths if path in found]
        indices, self.told.copies = unique_files(ordered)
        return indices

    def _score(self, plan: Plan, folder: Path, digests: Mapping[str, str], runs: _Runs) -> dict[str, Piece]:
        """Score what is missing, and return the file of results of each piece that is there.

        A run is certified soon after its last piece is there, not when all are; a few wait until the last pieces are at work, so
        that no worker is idle while another puts the last run together.
        """
        by_path = {index.path: index for index in plan.files}
        dcs = None if self.campaign.inputs.dcs is None else RunMask.from_json(self.campaign.inputs.dcs)
        names = {piece_name(piece, by_path, digests, _on(piece, dcs)): piece for piece in plan.pieces}
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
                piece.keys,
                files,
                piece.mes,
                str(folder),
                stamp,
                targets[name],
                self.campaign.resources.threads,
                _on(piece, dcs),
            )
            work[name] = (call, _label(piece))
        there = _by_run({targets[name]: piece for name, piece in names.items() if name not in missing})
        left = Counter(run for piece in missing.values() for run in piece.runs)
        held: deque[Job] = deque()
        ahead = len(missing)

        def certify(name: str) -> Iterable[Job]:
            from dqmroot.batch.engine import Job

            nonlocal ahead
            ahead -= 1
            for run in missing[name].runs:
                there.setdefault(run, {})[targets[name]] = missing[name]
                left[run] -= 1
                if left[run] == 0:
                    made, call = runs.call(run, there[run])
                    held.append(Job(f"certify-{made}", call, f"run {run}", priority=int(ahead < _HELD)))
            if len(held) > _HELD:
                yield held.popleft()
            while held and ahead < _HELD:
                job = held.popleft()
                # Those of before fill the time when nothing is left to score.
                yield job if job.priority else dataclasses.replace(job, priority=-1)

        done = self.jobs("score", work, {name: len(piece.keys) for name, piece in missing.items()}, certify)
        for value in done.values():
            self.told.errors.update(value["errors"])
            self.told.refused.update(map(tuple, value["refused"]))
        for row in self.told.failures:
            if row["step"] == "score":
                row["lumis"] = lumi_ranges(names[row["name"]].keys)
        return {targets[name]: piece for name, piece in names.items() if name not in missing or name in done}

    def _certify(self, runs: _Runs, targets: Mapping[str, Piece]) -> None:
        """Certify each run whose pieces, or the errors in them, are not those of its last certification."""
        work = {}
        for run, mine in sorted(_by_run(targets).items()):
            name, call = runs.call(run, mine)
            kept = _read_run(Path(call.folder))
            if kept is not None and kept.get("name") == name:
                self.told.runs.append(kept)
            else:
                work[name] = (call, f"run {run}")
        self.told.runs.extend(self.jobs("certify", work).values())
        self.told.runs.sort(key=lambda row: int(row["run"]))


def piece_name(
    piece: Piece, files: Mapping[str, FileIndex], digests: Mapping[str, str], on: NDArray[np.uint64] | None
) -> str:
    """Return what stands for a piece: identity of its inputs, LS, which of them had the detector on, and models."""
    inputs = [[files[path].uuid, files[path].size, files[path].time_ns] for path in piece.files]
    models = [[me, digests[me]] for me in piece.mes]
    off = None if on is None else lumi_ranges(piece.keys[~np.isin(piece.keys, on)])
    return digest(inputs, lumi_ranges(piece.keys), off, models, results.SCHEMA_VERSION, __version__)


def _plan(campaign: Campaign, indices: Sequence[FileIndex], mes: Sequence[str], spanning: Sequence[str]) -> Plan:
    resources = campaign.resources
    # Where the detector was off, an LS is not judged, and told so.
    keep = _keep(Selection.of(**{**selection_of(campaign.inputs, "inputs"), "dcs": None}))
    alone = [me for me in mes if me not in spanning]
    nbytes = resources.mib_per_piece * 2**20
    pieces = plan_pieces(indices, alone, keep=keep, lumis=resources.lumis_per_piece, nbytes=nbytes)
    pieces += plan_runs(indices, spanning, keep=keep)
    keys = np.unique(np.concatenate([piece.keys for piece in pieces])) if pieces else np.empty(0, np.uint64)
    return Plan(tuple(indices), tuple(pieces), tuple(np.unique(keys >> np.uint64(32)).tolist()), keys, tuple(mes))


def _keep(selection: Selection) -> Callable[[NDArray[np.uint64]], NDArray[np.bool_]]:
    return lambda keys: selection.contains(keys >> np.uint64(32), keys & np.uint64(0xFFFFFFFF))


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


def _on(piece: Piece, dcs: RunMask | None) -> NDArray[np.uint64] | None:
    """Return the LS of a piece with the detector on."""
    if dcs is None:
        return None
    return piece.keys[dcs.contains(piece.keys >> np.uint64(32), piece.keys & np.uint64(0xFFFFFFFF))]


def _label(piece: Piece) -> str:
    runs: Iterable[str] = map(str, piece.runs[:3])
    more = "" if len(piece.runs) <= 3 else ", …"
    first, last = int(piece.keys[0]) & 0xFFFFFFFF, int(piece.keys[-1]) & 0xFFFFFFFF
    return f"run {', '.join(runs)}{more}, {len(piece.keys)} LS ({first}-{last}) in {len(piece.files)} files"
