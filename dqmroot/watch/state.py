"""What `dqmroot watch` knows, in one SQLite file: it survives any end of the process, and memory does not grow with time."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import OutputError

__all__ = ["State"]

Keys = NDArray[np.uint64]

_SCHEMA = """
create table if not exists files (path text primary key, size integer, time_ns integer, uuid text, error text);
create index if not exists files_uuid on files (uuid);
create table if not exists parts (path text, key integer, primary key (path, key)) without rowid;
create index if not exists parts_key on parts (key);
create table if not exists lumis (
  key integer primary key, first_time real, done integer default 0, written integer default 1, revision integer default 0,
  verdict integer default -1, reasons text default '[]');
create index if not exists lumis_open on lumis (done) where done = 0;
create index if not exists lumis_unwritten on lumis (written) where written = 0;
create index if not exists lumis_judged on lumis (key) where verdict >= 0;
create table if not exists mes (id integer primary key, name text unique);
create table if not exists scores (key integer, me integer, score real, flag integer, primary key (key, me)) without rowid;
create table if not exists runs (run integer primary key, changed real, published real default 0, ended integer default 0);
create table if not exists alarms (name text primary key, raised integer);
create table if not exists outbox (id integer primary key autoincrement, alarm text, body text, sent integer default 0);
"""


class State:
    """The state of a watcher.

    Args:
        path: The SQLite file; made where it is missing.

    Raises:
        OutputError: It cannot be opened or written.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = normal")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise OutputError(f"{path}: cannot be opened: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all that happens inside, or nothing of it."""
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")

    def known_files(self) -> dict[str, tuple[int, int]]:
        """Return size and time of each file that was looked at."""
        return {path: (size, time) for path, size, time in self._db.execute("select path, size, time_ns from files")}

    def copy_of(self, uuid: str, path: str) -> str | None:
        """Return another path of the same file, if it was read."""
        found = self._db.execute(
            "select path from files where uuid = ? and path <> ? and error is null", (uuid, path)
        ).fetchone()
        return None if found is None else str(found[0])

    def put_file(self, path: str, size: int, time_ns: int, uuid: str, error: str | None) -> None:
        """Remember a file that was looked at, and what is wrong with it."""
        self._db.execute("insert or replace into files values (?, ?, ?, ?, ?)", (path, size, time_ns, uuid, error))

    def errors(self) -> list[tuple[str, str]]:
        """Return path and error of each file that could not be read, or is a copy."""
        return self._db.execute("select path, error from files where error is not null order by path").fetchall()

    def put_parts(self, path: str, keys: Keys, now: float) -> None:
        """Set which LS a file has a part of; each LS that gains or loses one is open again."""
        old = {key for (key,) in self._db.execute("select key from parts where path = ?", (path,))}
        changed = [(key,) for key in old | set(keys.tolist())]
        self._db.execute("delete from parts where path = ?", (path,))
        self._db.executemany("insert into parts values (?, ?)", [(path, key) for key in keys.tolist()])
        self._db.executemany(
            "insert or ignore into lumis (key, first_time) values (?, ?)", [(k, now) for (k,) in changed]
        )
        self._db.executemany("update lumis set done = 0 where key = ?", changed)
        self._db.executemany(
            "insert into runs (run, changed) values (?, ?) on conflict (run) do update set changed = excluded.changed, ended = 0",
            [(run, now) for run in {key >> 32 for (key,) in changed}],
        )

    def ready(self, parts: int, before: float, most: int) -> Keys:
        """Return open LS that have ``parts`` parts, whose first came ``before`` a time, or that lost all; oldest first."""
        rows = self._db.execute(
            "select key from (select key, first_time, (select count(*) from parts where parts.key = lumis.key) as n"
            " from lumis where done = 0) where n = 0 or n >= ? or first_time <= ? order by key limit ?",
            (parts, before, most),
        )
        return np.array([key for (key,) in rows], np.uint64)

    def n_open(self) -> int:
        """Return how many LS wait."""
        return int(self._db.execute("select count(*) from lumis where done = 0").fetchone()[0])

    def files_of(self, keys: Iterable[int]) -> list[str]:
        """Return the files that have parts of these LS, sorted."""
        found: set[str] = set()
        for key in keys:
            found.update(path for (path,) in self._db.execute("select path from parts where key = ?", (int(key),)))
        return sorted(found)

    def keys_of_run(self, run: int) -> Keys:
        """Return the LS of a run that are scored, sorted."""
        rows = self._db.execute(
            "select key from lumis where key between ? and ? and done = 1 order by key",
            (run << 32, (run << 32) + 0xFFFFFFFF),
        )
        return np.array([key for (key,) in rows], np.uint64)

    def me_ids(self, names: Sequence[str]) -> dict[str, int]:
        """Return the number of each monitoring element."""
        self._db.executemany("insert or ignore into mes (name) values (?)", [(name,) for name in names])
        return {name: number for number, name in self._db.execute("select id, name from mes")}

    def put_scores(self, me: int, keys: Keys, score: NDArray[np.float64], flag: NDArray[np.int8]) -> None:
        """Set the scores of one monitoring element in some LS; NaN is kept as null."""
        rows = [
            (key, me, None if np.isnan(s) else s, f)
            for key, s, f in zip(keys.tolist(), score.tolist(), flag.tolist(), strict=True)
        ]
        self._db.executemany("insert or replace into scores values (?, ?, ?, ?)", rows)

    def drop_scores(self, keys: Keys) -> None:
        """Forget the scores of LS that are scored anew."""
        self._db.executemany("delete from scores where key = ?", [(key,) for key in keys.tolist()])

    def scores_of(self, keys: Keys) -> dict[int, tuple[Keys, NDArray[np.float64], NDArray[np.int8]]]:
        """Return LS, scores and flags of some LS by the number of the monitoring element."""
        columns: dict[int, tuple[list[int], list[float], list[int]]] = {}
        for key in keys.tolist():
            for me, score, flag in self._db.execute("select me, score, flag from scores where key = ?", (key,)):
                at = columns.setdefault(me, ([], [], []))
                at[0].append(key)
                at[1].append(np.nan if score is None else score)
                at[2].append(flag)
        return {
            me: (np.array(k, np.uint64), np.array(s, np.float64), np.array(f, np.int8))
            for me, (k, s, f) in columns.items()
        }

    def put_verdict(self, key: int, verdict: int, reasons: Sequence[str], *, scored: bool) -> None:
        """Set the verdict of an LS; it is to be written out."""
        self._db.execute(
            "update lumis set verdict = ?, reasons = ?, done = 1, written = 0, revision = revision + ? where key = ?",
            (verdict, json.dumps(list(reasons)), int(scored), key),
        )

    def verdict_of(self, key: int) -> tuple[int, list[str], int]:
        """Return verdict, reasons and how often an LS was scored."""
        row = self._db.execute("select verdict, reasons, revision from lumis where key = ?", (int(key),)).fetchone()
        return int(row[0]), json.loads(row[1]), int(row[2])

    def unwritten(self) -> list[int]:
        """Return the LS whose verdict is not on disk yet."""
        return [key for (key,) in self._db.execute("select key from lumis where written = 0 order by key")]

    def set_written(self, keys: Sequence[int]) -> None:
        """Remember that verdicts are on disk."""
        self._db.executemany("update lumis set written = 1 where key = ?", [(key,) for key in keys])

    def last_verdicts(self, n: int) -> list[tuple[int, int]]:
        """Return (LS, verdict) of the last ``n`` judged LS, the last first."""
        return self._db.execute(
            "select key, verdict from lumis where verdict >= 0 order by key desc limit ?", (n,)
        ).fetchall()

    def last_flags(self, mes: Sequence[int], n: int) -> list[tuple[int, int]]:
        """Return (LS, whether any of some MEs is bad) of the last ``n`` LS in which one of them was judged, the last first."""
        marks = ",".join("?" * len(mes))
        return self._db.execute(
            f"select key, max(flag) from scores where me in ({marks}) and flag >= 0 group by key order by key desc limit ?",  # noqa: S608 - only question marks
            (*mes, n),
        ).fetchall()

    def raised(self, name: str) -> bool:
        """Tell whether an alarm is raised."""
        row = self._db.execute("select raised from alarms where name = ?", (name,)).fetchone()
        return bool(row and row[0])

    def change_alarm(self, name: str, raised: bool, body: dict[str, Any]) -> None:
        """Remember the new state of an alarm together with the message that is still to be sent."""
        self._db.execute("insert or replace into alarms values (?, ?)", (name, int(raised)))
        self._db.execute("insert into outbox (alarm, body) values (?, ?)", (name, json.dumps(body)))

    def unsent(self) -> list[tuple[int, str, dict[str, Any]]]:
        """Return number, alarm and content of the messages to send, oldest first."""
        rows = self._db.execute("select id, alarm, body from outbox where sent = 0 order by id").fetchall()
        return [(number, alarm, {"id": number, **json.loads(body)}) for number, alarm, body in rows]

    def set_sent(self, number: int) -> None:
        """Remember that a message was sent."""
        self._db.execute("update outbox set sent = 1 where id = ?", (number,))

    def runs_to_publish(self, before: float) -> list[int]:
        """Return runs that changed since they were published, and were not published after a time."""
        rows = self._db.execute(
            "select run from runs where changed > published and published <= ? and ended = 0 order by run", (before,)
        )
        return [run for (run,) in rows]

    def runs_to_end(self, before: float, quiet: float) -> list[int]:
        """Return runs to certify as a whole, of which no LS waits.

        Args:
            before: Nothing came since this time …
            quiet: … or, where a later run has begun, since this one.
        """
        rows = self._db.execute(
            "select run from runs where ended = 0 and"
            " (changed <= ? or (changed <= ? and run < (select max(run) from runs))) order by run",
            (before, quiet),
        ).fetchall()
        waiting = {key >> 32 for (key,) in self._db.execute("select key from lumis where done = 0")}
        return [run for (run,) in rows if run not in waiting]

    def set_published(self, run: int, now: float, *, ended: bool = False) -> None:
        """Remember that a run was published."""
        self._db.execute("update runs set published = ?, ended = ? where run = ?", (now, int(ended), run))

    def forget(self, keep_runs: int) -> None:
        """Drop the scores of all but the last ended runs; verdicts stay."""
        row = self._db.execute(
            "select run from runs where ended = 1 order by run desc limit 1 offset ?", (keep_runs,)
        ).fetchone()
        if row is not None:
            self._db.execute("delete from scores where key < ?", ((row[0] + 1) << 32,))
            self._db.execute("delete from parts where key < ?", ((row[0] + 1) << 32,))
