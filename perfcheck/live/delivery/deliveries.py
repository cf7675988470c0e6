"""All targets of a run, and the file that keeps what none of them took."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perfcheck.errors import UsageError
from perfcheck.live.alerts.alert import Alert, AlertState
from perfcheck.live.delivery.channel import MOST_WAITING, PATIENCE, Channel, ChannelReport, Patience
from perfcheck.live.delivery.local import FileSender, SyslogSender
from perfcheck.live.delivery.notice import NotDelivered, Notice, Sender, notice_of
from perfcheck.live.delivery.target import FileTarget, SyslogTarget, Target
from perfcheck.live.delivery.webhook import WebhookSender
from perfcheck.model.printable import printable

SPILL_BYTES: Final = 8 << 20
END_S: Final = 5.0
"""How long Ctrl-C may wait for targets."""
_SPILL_S: Final = 2.0
_NAMED: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """What became of the alerts of a run, for each target; `kept` undelivered ones are in `spill`, if there is one."""

    channels: tuple[ChannelReport, ...] = ()
    kept: int = 0
    spill: Path | None = None

    @property
    def undelivered(self) -> int:
        """How many notices did not arrive, over all targets."""
        return sum(channel.undelivered for channel in self.channels)

    def lines(self) -> tuple[str, ...]:
        """Return what is told at the end: one line a target, and one of the file."""
        found = [_line_of(channel) for channel in self.channels if channel.put]
        if self.spill is not None:
            found.append(f"{self.kept} of the {self.undelivered} undelivered alerts are kept in {self.spill}")
        return tuple(found)


def _line_of(channel: ChannelReport) -> str:
    if not channel.undelivered:
        return printable(f"{channel.label}: {channel.put} of {channel.put} alerts delivered")
    named = ", ".join(channel.keys[:_NAMED])
    more = f" and {channel.undelivered - _NAMED} more" if channel.undelivered > _NAMED else ""
    return printable(
        f"{channel.label}: {channel.delivered} of {channel.put} alerts delivered, {channel.undelivered} not "
        f"({channel.why or 'no time was left'}): {named}{more}"
    )


class Deliveries:
    """Takes alerts and returns at once; one thread a target brings them there."""

    def __init__(
        self, targets: Sequence[Target], *, tool: str, most_waiting: int = MOST_WAITING, patience: Patience = PATIENCE,
        spill_folder: Path | None = None,
    ) -> None:  # fmt: skip
        """Start the threads; UsageError where a file cannot be opened. Kept alerts go to the folder (None: /tmp)."""
        for target in targets:
            if isinstance(target, FileTarget):
                _check(target)
        self._tool = tool
        self._spill = _Spill(spill_folder)
        # What one target's short queue has no room for may come all at once.
        self._keeping = Channel(self._spill, most_waiting=max(most_waiting, MOST_WAITING)) if targets else None
        self._channels = tuple(
            self._channel(_sender_of(target), most_waiting, patience) for target in dict.fromkeys(targets)
        )

    def _channel(self, sender: Sender, most_waiting: int, patience: Patience) -> Channel:
        def keep(notice: Notice) -> None:
            if self._keeping is not None:
                self._keeping.put(_kept(sender.label, notice))

        return Channel(sender, most_waiting=most_waiting, patience=patience, overflow=keep)

    def put(self, alert: Alert, *, epoch_ns: int, number: int) -> None:
        """Queue an alert that was raised or cleared for every target; one that goes on is told by nobody."""
        if alert.state is AlertState.ONGOING or not self._channels:
            return
        notice = notice_of(alert, tool=self._tool, epoch_ns=epoch_ns, number=number)
        for channel in self._channels:
            channel.put(notice)

    def news(self) -> tuple[str, ...]:
        """Return outages and recoveries since the last call."""
        return tuple(printable(text) for channel in self._channels for text in channel.news())

    def close(self, within_s: float = END_S) -> DeliveryReport:
        """Let the targets have some time for what waits, then keep the rest in a file and return what became of all."""
        deadline_s = time.monotonic() + within_s
        for channel in self._channels:
            channel.finish_by(deadline_s)
        reports = tuple(channel.report() for channel in self._channels)
        if self._keeping is None:
            return DeliveryReport()
        # The spill's own thread gets its time after the targets', so that one slow target takes none of it.
        self._keeping.finish_by(time.monotonic() + _SPILL_S)
        self._keeping.report()
        for report in reports:
            for notice in report.waiting:
                with suppress(NotDelivered):
                    self._spill.send(_kept(report.label, notice), _SPILL_S)
        return DeliveryReport(channels=reports, kept=self._spill.kept, spill=self._spill.path)


class _Spill:
    """A bounded file for undelivered alerts, made when the first one comes."""

    label = "the file of undelivered alerts"

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._file: FileSender | None = None
        self.path: Path | None = None
        self.kept = 0

    def send(self, notice: Notice, timeout_s: float) -> None:
        """Append it."""
        if self._file is None:
            try:
                descriptor, name = tempfile.mkstemp(prefix="perfctl-undelivered-", suffix=".jsonl", dir=self._folder)
            except OSError as problem:
                raise NotDelivered(problem.strerror or str(problem), final=True) from None
            os.close(descriptor)
            self.path = Path(name)
            self._file = FileSender(FileTarget(path=self.path), limit_bytes=SPILL_BYTES)
        self._file.send(notice, timeout_s)
        self.kept += 1


def _kept(label: str, notice: Notice) -> Notice:
    body = f'{{"target":{json.dumps(label)},"key":{json.dumps(notice.key)},"event":{notice.body}}}'
    return Notice(key=notice.key, body=body, text=notice.text, urgent=notice.urgent)


def _sender_of(target: Target) -> Sender:
    match target:
        case FileTarget():
            return FileSender(target)
        case SyslogTarget():
            return SyslogSender(target)
        case _:
            return WebhookSender(target)


def _check(target: FileTarget) -> None:
    """Raise UsageError where the file cannot be written at the begin; later it may come and go."""
    try:
        os.close(os.open(target.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o640))
    except OSError as problem:
        raise UsageError(
            printable(f"--alert-output file:{target.path}: {problem.strerror}; give a file that can be written")
        ) from None
