"""Runs `perfctl latency`: watches for some seconds, or joins two files, and tells where the time went."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from perfcheck.cli.perfctl.latency import DETAIL_CPU_PCT
from perfcheck.cli.perfctl.latency_events import latency_events
from perfcheck.cli.perfctl.latency_view import LatencyReport, report_lines
from perfcheck.cli.perfctl.output_choice import OutputChoice
from perfcheck.cli.perfctl.parser import given
from perfcheck.cli.perfctl.writing import console_of, events_of, print_lines
from perfcheck.errors import OutputError, Stopped, UsageError
from perfcheck.live.detail_file import SavedDetail, load_detail, save_detail
from perfcheck.live.joining import joined
from perfcheck.live.packet_watch import PacketWatch
from perfcheck.live.rtt_split import Splits
from perfcheck.live.stages import Passes, packets_of, passing, turned
from perfcheck.model.flow import FlowKey
from perfcheck.model.interval import Interval, LiveRequest, OpenIntervals

_Ends = tuple[str, int, str, int]


def run(
    args: argparse.Namespace, request: LiveRequest, out: OutputChoice, open_intervals: Callable[[], OpenIntervals]
) -> int:
    """Tell where the time went; return the exit status."""
    if args.join is not None:
        _tell(_joined(args, request), out)
        return 0
    budget_pct = request.cpu_ceiling_pct if "cpu_ceiling_pct" in given(args) else DETAIL_CPU_PCT
    follows = request.mode != "summary" and out.recording is None
    watched = _Watched(request=request, follows=follows, budget_pct=budget_pct)
    stopped = watched.watch(open_intervals)
    if args.save is not None and watched.packets is not None:
        _save(args.save, watched.packets)
    _tell(watched.report(args.slowest), out)
    if stopped is not None:
        raise stopped
    return 0


@dataclass(slots=True, kw_only=True)
class _Watched:
    """What a live machine, or a recording, showed; `owned` are ends of the connections that pass all filters."""

    request: LiveRequest
    follows: bool
    budget_pct: float = DETAIL_CPU_PCT
    splits: Splits = field(default_factory=Splits)
    owned: set[_Ends] = field(default_factory=set)
    packets: SavedDetail | None = None
    notes: list[str] = field(default_factory=list)
    begin_ns: int = 0
    end_ns: int = 0
    epoch_ns: int = 0

    def watch(self, open_intervals: Callable[[], OpenIntervals]) -> Stopped | None:
        """Watch to the end, or Ctrl-C; return what a signal asked for."""
        stopped: Stopped | None = None
        with open_intervals() as intervals, self._following() as packets:
            try:
                for interval in intervals:
                    self._add(interval)
            except KeyboardInterrupt:
                pass  # what there is is told
            except Stopped as asked:
                stopped = asked
            if packets is not None:
                stream = packets.end()
                self.packets = SavedDetail(stream=stream, epoch_ns=packets.epoch_ns)
                self.epoch_ns = packets.epoch_ns
                self.notes += [text for text in packets.warnings if text not in stream.told]
        return stopped

    def _following(self) -> AbstractContextManager[PacketWatch | None]:
        return PacketWatch(self.request, self.budget_pct) if self.follows else nullcontext()

    def _add(self, interval: Interval) -> None:
        self.splits.add(interval.flows)
        self.begin_ns = self.begin_ns or interval.begin_ns
        self.end_ns, self.epoch_ns = interval.end_ns, interval.epoch_ns
        for what, why in interval.lacks.items():
            if (text := f"not measured: {what}: {why}") not in self.notes:
                self.notes.append(text)
        if self.follows and self._needs_owners():
            self.owned |= {_ends(key) for key in interval.flows.keys()}  # noqa: SIM118 - rows, not a mapping's keys

    def _needs_owners(self) -> bool:
        wanted = self.request.filter
        return any(part is not None for part in (wanted.pid, wanted.comm, wanted.cgroup, wanted.interface))

    def _passes(self) -> Passes:
        by_ends = passing(self.request.filter)
        if not self._needs_owners():
            return by_ends
        return lambda key: by_ends(key) and (_ends(key) in self.owned or _ends(turned(key)) in self.owned)

    def report(self, slowest: int) -> LatencyReport:
        """Return what is to be told."""
        return LatencyReport(
            splits=self.splits, packets=packets_of(self.packets.stream, self._passes()) if self.packets else None,
            seconds=(self.end_ns - self.begin_ns) / 1e9, end_ns=self.end_ns, epoch_ns=self.epoch_ns,
            slowest=slowest, notes=self.notes,
        )  # fmt: skip


def _ends(key: FlowKey) -> _Ends:
    return key.local, key.local_port, key.remote, key.remote_port


def _joined(args: argparse.Namespace, request: LiveRequest) -> LatencyReport:
    """Return the report on two files as one."""
    first, second = (load_detail(path) for path in args.join)
    try:
        both = joined(first, second)
    except ValueError as problem:
        raise UsageError(f"--join: {problem}") from None
    stream = both.stream
    return LatencyReport(
        splits=Splits(), packets=packets_of(stream, passing(request.filter)),
        seconds=(stream.end_ns - stream.start_ns) / 1e9, end_ns=stream.end_ns, epoch_ns=first.epoch_ns,
        slowest=args.slowest, notes=(both.how,),
    )  # fmt: skip


def _save(path: Path, packets: SavedDetail) -> None:
    try:
        save_detail(path, packets)
    except OSError as error:
        raise OutputError(f"--save: {path}: cannot be written: {error.strerror or error}") from None


def _tell(report: LatencyReport, out: OutputChoice) -> None:
    if out.format == "json":
        with events_of(out.file, out.prog) as write:
            write(latency_events(report), epoch_ns=report.epoch_ns)
    else:
        with console_of(out.file) as console:
            print_lines(console, report_lines(report))
