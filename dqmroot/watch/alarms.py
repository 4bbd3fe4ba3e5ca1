"""Alarms: raised when n of the last m judged lumisections are bad, told once on each change of state."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from dqmroot.config import Alarm
from dqmroot.io.names import matcher
from dqmroot.watch.state import State

__all__ = ["check_alarms", "deliver"]

_PATIENCE = 10.0  # s that a command or server is waited for


def check_alarms(state: State, alarms: Sequence[Alarm], mes: dict[str, int]) -> None:
    """Find which alarms change their state, and put what is to be told where it cannot be lost.

    To be called in the transaction that sets the verdicts.

    Args:
        state: What is known.
        alarms: The rules.
        mes: Number of each monitoring element.
    """
    for alarm in alarms:
        if alarm.me is None:
            last = state.last_verdicts(alarm.of)
        else:
            wanted = matcher(alarm.me)
            chosen = [number for name, number in mes.items() if name == alarm.me or wanted(name)]
            last = state.last_flags(chosen, alarm.of) if chosen else []
        bad = [key for key, verdict in last if verdict == 1]
        raised = len(bad) >= alarm.n
        if not last or raised == state.raised(alarm.name):
            continue
        body = {
            "alarm": alarm.name,
            "severity": alarm.severity,
            "state": "raised" if raised else "cleared",
            "rule": f"{alarm.n} of the last {alarm.of} judged lumisections",
            "me": alarm.me,
            "run": last[0][0] >> 32,
            "lumi": last[0][0] & 0xFFFFFFFF,
            "bad": [{"run": key >> 32, "lumi": key & 0xFFFFFFFF} for key in sorted(bad)],
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        state.change_alarm(alarm.name, raised, body)


def deliver(state: State, alarms: Sequence[Alarm], log: Callable[..., None]) -> bool:
    """Send what is to be told; what cannot be sent now is kept and sent later, in order.

    Each message has an ``id``. One that was sent when the process ended before it could note so is sent again under the same.

    Returns:
        Whether all was sent.
    """
    by_name = {alarm.name: alarm for alarm in alarms}
    for number, name, body in state.unsent():
        try:
            if name in by_name:
                _send(by_name[name], body)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            log("alarm not sent", alarm=name, id=number, error=f"{type(error).__name__}: {error}"[:300])
            return False
        state.set_sent(number)
        log("alarm sent", **body)
    return True


def _send(alarm: Alarm, body: dict[str, Any]) -> None:
    text = json.dumps(body).encode()
    if alarm.command:
        subprocess.run(alarm.command, input=text, timeout=_PATIENCE, check=True, stdout=subprocess.DEVNULL)
    if alarm.url:
        if not alarm.url.startswith(("http://", "https://")):
            raise ValueError(f"{alarm.url} is not an http address")
        request = urllib.request.Request(alarm.url, text, {"Content-Type": "application/json"})  # noqa: S310 - checked above
        urllib.request.urlopen(request, timeout=_PATIENCE).close()  # noqa: S310 - checked above
