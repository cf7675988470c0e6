"""Where intervals go beside a command's own output: Prometheus' endpoint, node_exporter's file, InfluxDB."""

from __future__ import annotations

import argparse
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final, Protocol

from perfcheck.cli.perfctl.export_options import labels_of, listen_of, token_of
from perfcheck.cli.perfctl.output_choice import OutputChoice
from perfcheck.cli.perfctl.writing import text_lines_of
from perfcheck.export.exporter import NOTHING, Exported, Exporter, Found
from perfcheck.export.influx import InfluxLines
from perfcheck.export.influx_push import InfluxPush, told
from perfcheck.export.label_sets import DEFAULT_MOST
from perfcheck.export.rendering import Rendered
from perfcheck.export.server import MetricsServer
from perfcheck.export.textfile import Textfile
from perfcheck.model.interval import Interval
from perfcheck.system.printing import complain

_AWHILE_S: Final = 3600.0


class _Sink(Protocol):
    """One place that intervals go to."""

    def take(self, interval: Interval, exported: Exported, found: Found) -> None:
        """Take an interval, and how everything stands after it."""

    def end(self, exported: Exported) -> None:
        """Take how everything stands at the end."""

    def news(self) -> Sequence[str]:
        """Return what is to be told of the place itself since the last call."""


class Exports:
    """All places of a run; without any, taking an interval costs nothing."""

    def __init__(self, prog: str, exporter: Exporter, sinks: Sequence[_Sink]) -> None:
        """Take where intervals go."""
        self._prog = prog
        self._exporter = exporter
        self._sinks = sinks
        self._is_over = False

    def __bool__(self) -> bool:
        """Return whether intervals go anywhere."""
        return bool(self._sinks)

    def take(self, interval: Interval, found: Found = NOTHING) -> None:
        """Bring an interval to each place."""
        if not self._sinks:
            return
        exported = self._exporter.take(interval, found)
        for sink in self._sinks:
            sink.take(interval, exported, found)
        self._tell()

    def end(self) -> None:
        """Tell each place, once, that no interval will follow."""
        if self._is_over or not self._sinks:
            return
        self._is_over = True
        exported = self._exporter.exported(up=False)
        for sink in self._sinks:
            sink.end(exported)
        self._tell()

    def _tell(self) -> None:
        for sink in self._sinks:
            for line in sink.news():
                complain(f"{self._prog}: {line}")


@contextmanager
def exports_of(args: argparse.Namespace, out: OutputChoice, rules: Sequence[str] | None = None) -> Iterator[Exports]:
    """Yield where intervals go by the options; UsageError where a port is in use or a file cannot be made."""
    sinks: list[_Sink] = []
    exporter = Exporter(kinds=labels_of(args), most=args.max_series or DEFAULT_MOST, rules=rules)
    with ExitStack() as stack:
        if out.format == "prometheus":
            server = stack.enter_context(MetricsServer(*listen_of(args)))
            sinks.append(_Endpoint(server, exporter.exported(up=False), native=args.native_histograms))
            complain(f"{out.prog}: serves metrics at {server.url}")
        if args.prometheus_textfile is not None:
            # Of a recording only what it adds up to is of use: nobody scrapes between two of its intervals.
            sinks.append(_File(Textfile(args.prometheus_textfile), each=out.recording is None))
        if out.format == "influx":
            sinks.append(_influx(args, out, stack))
        yield Exports(out.prog, exporter, sinks)


def wait_for_end(out: OutputChoice) -> None:
    """Serve what a recording added up to until Ctrl-C or a signal."""
    complain(f"{out.prog}: the recording is at its end; its totals are served until Ctrl-C")
    while True:
        time.sleep(_AWHILE_S)


class _Endpoint:
    """The endpoint; what it serves is laid out when it is scraped."""

    def __init__(self, server: MetricsServer, begun: Exported, *, native: bool) -> None:
        self._server = server
        self._native = native
        # Until the first interval is over, some seconds after the start, there is a target that is up.
        self.end(begun)

    def take(self, interval: Interval, exported: Exported, found: Found) -> None:  # noqa: ARG002
        self._server.show(Rendered(exported, native=self._native))

    def end(self, exported: Exported) -> None:
        self._server.show(Rendered(exported, native=self._native))

    def news(self) -> Sequence[str]:
        return ()


class _File:
    """The text file; `each` interval, or at the end alone."""

    def __init__(self, file: Textfile, *, each: bool) -> None:
        self._file = file
        self._each = each
        self._last: tuple[str, ...] = ()

    def take(self, interval: Interval, exported: Exported, found: Found) -> None:  # noqa: ARG002
        if self._each:
            self._file.write(exported)

    def end(self, exported: Exported) -> None:
        self._file.write(exported)
        last = self._file.told()
        self._last = () if last is None else (last,)

    def news(self) -> Sequence[str]:
        found, self._last = (*self._file.news(), *self._last), ()
        return found


class _Influx:
    """Line protocol: `write` takes the lines of an interval, or `push` does beside measuring."""

    def __init__(self, write: Callable[[str], None] | None, push: InfluxPush | None) -> None:
        self._write = write
        self._push = push
        self._lines = InfluxLines(socket.gethostname())
        self._last: tuple[str, ...] = ()

    def take(self, interval: Interval, exported: Exported, found: Found) -> None:
        lines = "\n".join(self._lines.of(interval, exported.flows, found))
        if self._push is not None:
            self._push.put(interval.number, lines)
        if self._write is not None:
            self._write(lines)

    def end(self, exported: Exported) -> None:  # noqa: ARG002
        if self._push is not None:
            self._last = (told(self._push.close()),)

    def news(self) -> Sequence[str]:
        found = (*(self._push.news() if self._push is not None else ()), *self._last)
        self._last = ()
        return found


def _influx(args: argparse.Namespace, out: OutputChoice, stack: ExitStack) -> _Influx:
    if args.influx_url is not None:
        return _Influx(None, InfluxPush(args.influx_url, token_of(args)))
    return _Influx(stack.enter_context(text_lines_of(out.file)), None)
