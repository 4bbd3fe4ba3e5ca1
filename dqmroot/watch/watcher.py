"""The watcher: a step looks at the folders, scores what is complete, writes verdicts, tells alarms, and keeps runs up to date."""

from __future__ import annotations

import json
import multiprocessing
import signal
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.batch.index import index_file, latest_versions
from dqmroot.certification import Certification, combine
from dqmroot.config import Watch
from dqmroot.deployment import read_models
from dqmroot.errors import DQMError, DQMWarning, InputError, UsageError
from dqmroot.files import whole_folder, write_text
from dqmroot.io.formats import arrays
from dqmroot.judgement import MEResult
from dqmroot.model import Model
from dqmroot.publication import check_dataset, publish
from dqmroot.runs import RunMask
from dqmroot.watch.alarms import check_alarms, deliver
from dqmroot.watch.ending import end_run
from dqmroot.watch.landing import Landing
from dqmroot.watch.state import State

__all__ = ["Watcher", "watch"]

SCHEMA_VERSION = 1

_MOST = 200  # LS that are scored at a time, so that a backlog needs no more memory than a quiet day
_WORDS = {0: "good", 1: "bad", -1: "not judged"}

Keys = NDArray[np.uint64]
Scores = dict[int, tuple[Keys, NDArray[np.float64], NDArray[np.int8]]]


class Watcher:
    """Watches folders; see `dqmroot.config.Watch` for its settings.

    Args:
        settings: What to do.
        clock: Gives the time in seconds.
        say: Called with lines for a person.

    Raises:
        DQMError: The models cannot be read, the output not written, or a setting cannot be.
    """

    def __init__(
        self, settings: Watch, clock: Callable[[], float] = time.time, say: Callable[[str], None] = lambda _: None
    ) -> None:
        check_dataset(settings.dataset)
        for folder in settings.folders:
            if not Path(folder).is_dir():
                raise UsageError(f"{folder}: not a folder; nothing to watch")
        self.settings, self.clock, self.say, self.out = settings, clock, say, Path(settings.output)
        self.models = {model.me: model for model in read_models(settings.model)}
        for model in self.models.values():
            if model.working_point is None:
                raise UsageError(f"{settings.model}: the model of {model.me} has no working point")
        self.spanning = tuple(me for me, model in self.models.items() if model.spans_lumis)
        self.alone = tuple(me for me in self.models if me not in self.spanning)
        self.state = State(self.out / "watch.sqlite")
        with self.state.transaction():
            self.ids = self.state.me_ids(list(self.models))
        self.landing = Landing(settings.folders, settings.pattern, settings.settle, self.state.known_files())
        self._log = (self.out / "log.jsonl").open("a", encoding="utf-8", buffering=1)
        self._ending: Any = None
        self._ending_run = -1
        self._try_alarms = 0.0
        self._outside: set[int] = set()

    def close(self) -> None:
        """Close what is open; the state stays on disk."""
        if self._ending is not None:
            self._ending.terminate()
            self._ending.join()
        self.state.close()
        self._log.close()

    def step(self) -> int:
        """Do what is to be done now.

        Returns:
            How many LS were scored.
        """
        for path, size, time_ns in self.landing.closed(self.clock()):
            self._take(path, size, time_ns)
        ready = self.state.ready(self.settings.parts, self.clock() - self.settings.wait, _MOST)
        if len(ready):
            self._score(ready)
        self._write()
        if self.clock() >= self._try_alarms and not deliver(self.state, self.settings.alarm, self.log):
            self._try_alarms = self.clock() + 10
        if not len(ready):
            self._publish()
        return len(ready)

    @property
    def busy(self) -> bool:
        """Whether files are not closed yet, or verdicts or the certification of a run are under way."""
        return bool(self.landing.waiting or self.state.unwritten() or self._ending is not None)

    def log(self, event: str, **more: Any) -> None:
        """Write a line for machines, and say it to a person where it is for one."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._log.write(json.dumps({"now": now, "event": event, **more}) + "\n")
        line = _line(event, more)
        if line:
            self.say(line)

    def _take(self, path: str, size: int, time_ns: int) -> None:
        """Read which LS a closed file has; a broken one is remembered, and looked at again when it changes."""
        keys = np.empty(0, np.uint64)
        uuid, error = "", None
        try:
            index = index_file(path, list(self.models))
            keys, uuid = index.keys, index.uuid
            other = self.state.copy_of(uuid, path)
            if other is not None:
                error, keys = f"is a copy of {other}", keys[:0]
        except InputError as problem:
            error = str(problem)
        with self.state.transaction():
            self.state.put_file(path, size, time_ns, uuid, error)
            self.state.put_parts(path, keys, self.clock())
        self.log("file", path=path, lumis=len(keys), error=error)

    def _score(self, keys: Keys) -> None:
        """Score LS and set their verdicts; models that span LS see all of each run."""
        runs = np.unique(keys >> np.uint64(32)).tolist()
        found = self._judge(keys, self.alone)
        affected = keys
        if self.spanning:
            for run in runs:
                mine = keys[keys >> np.uint64(32) == run]
                whole = np.union1d(mine, self.state.keys_of_run(run))
                found += self._judge(whole, self.spanning)
                affected = np.union1d(affected, whole)
        with self.state.transaction():
            before = self.state.scores_of(affected)
            self.state.drop_scores(keys)
            for me, key, score, flag in found:
                self.state.put_scores(self.ids[me], key, score, flag)
            after = self.state.scores_of(affected)
            cert = self._combined(after)
            verdicts = dict(
                zip(_keys(cert).tolist(), zip(cert.verdict.tolist(), cert.reasons, strict=True), strict=True)
            )
            fresh = set(keys.tolist())
            for one in sorted(fresh | _changed(before, after)):
                verdict, reasons = verdicts.get(one, (-1, ("no monitoring element in this LS",)))
                self.state.put_verdict(one, verdict, reasons, scored=one in fresh)
            check_alarms(self.state, self.settings.alarm, self.ids)
        outside = {run for model in self.models.values() if model.sample for run in model.sample.outside(runs)}
        for run in sorted(outside - self._outside):
            self.log("outside training", run=run)
        self._outside |= outside
        bad = sum(verdicts.get(one, (-1, ()))[0] == 1 for one in fresh)
        self.log("scored", lumis=len(keys), bad=bad, wait=self.state.n_open(), runs=runs)

    def _judge(self, keys: Keys, mes: Sequence[str]) -> list[tuple[str, Keys, NDArray[np.float64], NDArray[np.int8]]]:
        """Read LS from all their files, and score them."""
        files, _ = latest_versions(self.state.files_of(keys.tolist()))
        if not files or not mes:
            return []
        errors: list[InputError] = []
        wanted = RunMask.from_lumis(keys >> np.uint64(32), keys & np.uint64(0xFFFFFFFF))
        out = []
        names: Sequence[str] = ()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DQMWarning)
            try:
                found = arrays(files, mes, golden=wanted, missing="warn", threads=1, errors=errors)
                names = found.names
            except InputError as problem:
                errors.append(problem)
        for me in mes:
            if me not in names:
                continue
            try:
                series = found.series(me)
                # A whole run of a DQM GUI file counts as selected where any LS of it is.
                mine = np.isin(series.keys, keys)
                series = series if mine.all() else series[mine]
                score = self.models[me].score(series)
                point = self.models[me].working_point
                assert point is not None
                out.append((me, series.keys, score, point.flag(score)))
            except DQMError as problem:
                self.log("refused", me=me, error=str(problem))
        for error in {error.path: error for error in errors}.values():
            self.log("file", path=error.path, error=str(error))
        return out

    def _combined(self, scores: Scores) -> Certification:
        """Make verdicts of the scores that are kept."""
        results = []
        for me, model in self.models.items():
            none = np.empty(0, np.uint64), np.empty(0), np.empty(0, np.int8)
            key, score, flag = scores.get(self.ids[me], none)
            results.append(_result(model, key, score, flag))
        return combine(results, rule=self.settings.rule, models={me: {} for me in self.models})

    def _write(self) -> None:
        """Write verdicts that are not on disk yet, one small file each."""
        keys = self.state.unwritten()
        if not keys:
            return
        names = {number: me for me, number in self.ids.items()}
        scores = self.state.scores_of(np.array(keys, np.uint64))
        by_key: dict[int, dict[str, Any]] = {key: {} for key in keys}
        for number, (of_me, score, flag) in scores.items():
            for at, value, bad in zip(of_me.tolist(), score.tolist(), flag.tolist(), strict=True):
                by_key[at][names.get(number, str(number))] = {
                    "score": None if np.isnan(value) else value,
                    "flag": bad,
                }
        for key in keys:
            verdict, reasons, revision = self.state.verdict_of(key)
            told = {
                "schema_version": SCHEMA_VERSION,
                "run": key >> 32,
                "lumi": key & 0xFFFFFFFF,
                "verdict": _WORDS[verdict],
                "reasons": reasons,
                "revision": revision,
                "files": self.state.files_of([key]),
                "mes": dict(sorted(by_key[key].items())),
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            }
            path = self.out / "verdicts" / str(key >> 32) / f"{key & 0xFFFFFFFF:05d}.json"
            write_text(path, json.dumps(told, indent=1, allow_nan=False) + "\n")
        with self.state.transaction():
            self.state.set_written(keys)

    def _publish(self) -> None:
        """Bring the files of runs up to date, and certify runs that ended, one at a time, in a process of its own."""
        now = self.clock()
        for run in self.state.runs_to_publish(now - self.settings.refresh):
            keys = self.state.keys_of_run(run)
            if len(keys):
                cert = self._combined(self.state.scores_of(keys))
                if len(cert):
                    _save(cert, self.out / "runs" / str(run), self.settings.dataset)
            self.state.set_published(run, now)
        if self._ending is not None and not self._ending.is_alive():
            self.log("run ended", run=self._ending_run, status=self._ending.exitcode)
            self.state.set_published(self._ending_run, now, ended=True)
            self.state.forget(self.settings.keep_runs)
            self._ending = None
        if self._ending is None:
            for run in self.state.runs_to_end(now - self.settings.idle, now - self.settings.refresh)[:1]:
                files = self.state.files_of(self.state.keys_of_run(run).tolist())
                if not files:
                    self.state.set_published(run, now, ended=True)
                    continue
                context = multiprocessing.get_context("spawn")
                self._ending_run = run
                self._ending = context.Process(target=end_run, args=(self.settings, run, files), daemon=True)
                self._ending.start()


def watch(settings: Watch, *, once: bool = False, say: Callable[[str], None] = lambda _: None) -> None:
    """Watch until the process is told to end (SIGTERM or SIGINT), or, with ``once``, until all that is there is done.

    Raises:
        DQMError: As `Watcher`.
    """
    stop = threading.Event()
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    watcher = Watcher(settings, say=say)
    try:
        say(f"watching {', '.join(settings.folders)} with {len(watcher.models)} models; output in {settings.output}")
        while not stop.is_set():
            if watcher.step():
                continue
            if once and not watcher.busy and not watcher.state.n_open():
                break
            stop.wait(settings.interval)
    finally:
        watcher.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _line(event: str, told: Mapping[str, Any]) -> str:
    """Return what a person is told of an event; nothing of a file that is as it should be."""
    match event:
        case "file" if told["error"]:
            return (
                f"left out: {told['error']}"
                if told["path"] in told["error"]
                else f"left out: {told['path']} {told['error']}"
            )
        case "scored":
            runs = f"run {told['runs'][0]}" if len(told["runs"]) == 1 else f"{len(told['runs'])} runs"
            return f"{runs}: {told['lumis']} LS scored, {told['bad']} bad, {told['wait']} wait"
        case "refused":
            return f"not judged: {told['me']}: {told['error']}"
        case "outside training":
            return f"run {told['run']} lies outside the runs that the models learnt from"
        case "alarm sent":
            return f"alarm {told['alarm']!r} {told['state']} at LS {told['lumi']} of run {told['run']}: {told['rule']}"
        case "alarm not sent":
            return f"alarm {told['alarm']!r} could not be sent, tried again: {told['error']}"
        case "run ended":
            return f"run {told['run']} has ended" + ("" if told["status"] == 0 else "; it could not be certified")
    return ""


def _changed(before: Scores, after: Scores) -> set[int]:
    """Return the LS that have another score or flag than before."""
    out: set[int] = set()
    for me in before.keys() | after.keys():
        old, new = _by_key(before, me), _by_key(after, me)
        for key in old.keys() | new.keys():
            (score, flag), (other, other_flag) = old.get(key, (0.0, 9)), new.get(key, (0.0, 9))
            # Less than this is how a float32 network repeats itself.
            if flag != other_flag or abs(score - other) > 1e-6 * abs(other):
                out.add(key)
    return out


def _by_key(scores: Scores, me: int) -> dict[int, tuple[float, int]]:
    if me not in scores:
        return {}
    key, score, flag = scores[me]
    return dict(zip(key.tolist(), zip(score.tolist(), flag.tolist(), strict=True), strict=True))


def _save(cert: Certification, folder: Path, dataset: str) -> None:
    with whole_folder(folder) as temporary:
        cert.save(temporary)
        publish(cert, temporary, dataset)


def _result(model: Model, key: Keys, score: NDArray[np.float64], flag: NDArray[np.int8]) -> MEResult:
    point = model.working_point
    assert point is not None
    return MEResult(
        me=model.me,
        storage="",
        axes=model.axes,
        run=(key >> np.uint64(32)).astype(np.uint32),
        lumi=(key & np.uint64(0xFFFFFFFF)).astype(np.uint32),
        score=score,
        flag=flag,
        threshold=point.threshold,
        note=point.note,
        expected_false_rate=point.expected_false_rate,
    )


def _keys(cert: Certification) -> Keys:
    return (cert.run.astype(np.uint64) << np.uint64(32)) | cert.lumi
