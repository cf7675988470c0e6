"""`perfctl observe`: lines of 79 characters, events of the one schema, an end that tells all."""

from __future__ import annotations

import argparse
import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_traffic import S, histogram_of, interval, table

from perfcheck.cli.perfctl.observe_run import run
from perfcheck.cli.perfctl.output_choice import OutputChoice, OutputFormat
from perfcheck.cli.perfctl.registry import parse
from perfcheck.errors import CollectError, Stopped
from perfcheck.live.figures import tcp_figures
from perfcheck.live.observation import WatchTotals, figures_of
from perfcheck.live.observe_text import HEADER, interval_line, laid_out
from perfcheck.model.event import Event, EventType
from perfcheck.model.flow import FlowKey, Protocol
from perfcheck.model.interval import Accounting, Interval, LiveRequest
from perfcheck.model.metric import Layer
from perfcheck.system.signals import interrupt_calls, stop_on_signals

LOSSY: dict[str, Any] = {
    "segs_out": 1000, "data_segs_out": 1000, "retrans_segs": 40, "retrans_fast_segs": 30, "retrans_rto_segs": 10,
    "bytes_acked": 10**8, "elapsed_us": 10**6, "busy_us": 10**6,
}  # fmt: skip
FLOW = FlowKey(protocol=Protocol.TCP, host="", local="10.0.0.1", local_port=40000, remote="10.0.0.2", remote_port=443)


class Source:
    """Intervals that end with an error, if any."""

    def __init__(self, made: list[Interval], error: BaseException | None = None) -> None:
        self._made = made
        self._error = error

    def __iter__(self) -> Iterator[Interval]:
        yield from self._made
        if self._error is not None:
            raise self._error


def opened(made: list[Interval], error: BaseException | None = None) -> Callable[[], AbstractContextManager[Source]]:
    return lambda: nullcontext(Source(made, error))


def options(*words: str) -> argparse.Namespace:
    return parse(["observe", *words])[0]


def busy(number: int, **more: Any) -> Interval:
    columns = {**LOSSY, "established_ns": S * (number + 1) + 5, "handshake_us": 2000.0, **more}
    return interval(
        number, table(8, **columns), rtt=histogram_of(np.full(500, 20_000.0)),
        metrics={"qdisc.drops_full": 40.0, "ip.drops_other": 3.0, "nic.tx_packets": 10_000.0},
        accounting=Accounting(opened=8, ended=2, cpu_pct=0.5),
    )  # fmt: skip


def lossy_run(count: int = 4) -> list[Interval]:
    return [busy(number) for number in range(count)]


def observed(
    made: list[Interval], tmp_path: Path, *words: str, form: OutputFormat = "console",
    error: BaseException | None = None, mode: str = "summary",
) -> str:  # fmt: skip
    file = tmp_path / "out"
    out = OutputChoice(prog="perfctl observe", format=form, file=file)
    assert run(options(*words), LiveRequest(mode=mode), out, opened(made, error)) == 0
    return file.read_text()


def test_an_interval_is_a_line_in_columns_with_words_below(tmp_path: Path) -> None:
    lines = observed(lossy_run(), tmp_path).splitlines()
    assert "\n".join(lines[:2]) == HEADER
    assert lines[2].split()[1:] == ["20.0", "20.2", "20.4", "20.5", "2.00", "320", "4.00", "40", "8", "6.4G", "0"]
    assert lines[3].strip() == "connections: 8 opened, 2 closed"
    assert lines[4].strip() == "retransmitted: 240 in recovery, 80 after a timeout"
    assert lines[5].strip() == "dropped: 40 in a full queue (qdisc.drops_full)"
    raised = [line.strip() for line in lines if "ALERT" in line]
    assert len(raised) == 1
    assert raised[0].startswith(
        "ALERT retransmissions: more than 1 % of data segments were retransmitted, all flows: 4 %"
    )
    assert any(line.strip().startswith("still raised: retransmissions (all flows, 4 s)") for line in lines)


def test_the_summary_has_the_totals(tmp_path: Path) -> None:
    text = observed(lossy_run(), tmp_path)
    summary = text.partition("\n\n")[2].splitlines()
    assert summary[0] == "watched 4.0 s in 4 intervals: 32 connections opened, 8 closed"
    assert "of 2,000 samples" in summary[1]
    assert "connect time: p50 2 ms, p99 2 ms, max 2 ms of 32" in summary
    assert "retransmitted: 1,280 data segments, 4 % of 32,000 (960 in recovery, 320 after a timeout)" in summary
    assert "dropped: 160 in a full queue (qdisc.drops_full)" in summary
    assert "also dropped, as intended or unasked for: 12 for another reason (ip.drops_other)" in summary
    assert "alerts raised: 1 (retransmissions 1)" in summary
    assert any(line.startswith("not cleared: retransmissions") for line in summary)
    assert summary[-2] == "perfctl used 0.5 % of one CPU"
    assert summary[-1].startswith("diagnosis of the last 4 intervals: ")


def test_json_is_one_event_a_line(tmp_path: Path) -> None:
    lines = observed(lossy_run(), tmp_path, form="json").splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["context"]["kind"] for event in events] == [
        "interval",
        "interval",
        "interval",
        "alert",
        "interval",
        "run",
    ]
    assert {event["tool"] for event in events} == {"perfctl observe"}
    assert events[0]["metrics"]["tcp.retrans_fast_segs"] == 240
    assert events[0]["metrics"]["qdisc.drops_full"] == 40
    assert "NaN" not in "".join(lines)
    assert len({event["number"] for event in events}) == len(events)


def test_an_empty_interval_has_no_numbers_that_nobody_measured(tmp_path: Path) -> None:
    text = observed([interval(0, table(0))], tmp_path)
    assert text.splitlines()[2].split()[1:] == ["-"] * 5 + ["0", "-", "0", "0", "0", "0"]
    assert "NaN" not in observed([interval(0, table(0))], tmp_path, form="json")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), None])
def test_ctrl_c_ends_with_the_summary(tmp_path: Path, error: BaseException | None) -> None:
    assert "alerts raised: 1" in observed(lossy_run(), tmp_path, error=error)


def test_a_signal_ends_with_the_summary_and_says_so(tmp_path: Path) -> None:
    out = OutputChoice(prog="perfctl observe", file=tmp_path / "out")
    with pytest.raises(Stopped):
        run(options(), LiveRequest(), out, opened(lossy_run(), Stopped("stopped by SIGTERM")))
    assert "alerts raised: 1" in (tmp_path / "out").read_text()


def test_alerts_are_delivered_and_what_is_not_is_told(tmp_path: Path) -> None:
    target = tmp_path / "alerts.jsonl"
    text = observed(lossy_run(), tmp_path, "--alert-output", f"file:{target}", "--alert-output", "file:/dev/full")
    (line,) = target.read_text().splitlines()
    told = json.loads(line)
    assert (told["context"]["rule"], told["context"]["state"]) == ("retransmissions", "raised")
    assert f"file {target}: 1 of 1 alerts delivered" in text
    assert "file /dev/full: 0 of 1 alerts delivered, 1 not (No space left on device)" in text
    kept = Path(text.rstrip().rpartition(" ")[2])
    assert json.loads(kept.read_text())["event"]["context"]["alert"] == told["context"]["alert"]
    kept.unlink()


def test_an_error_in_mid_run_still_tells_what_was_not_delivered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = OutputChoice(prog="perfctl observe", file=tmp_path / "out")
    args = options("--alert-output", "file:/dev/full")
    with pytest.raises(CollectError):
        run(args, LiveRequest(), out, opened(lossy_run(), CollectError("gone")))
    text = capsys.readouterr().err
    assert "perfctl observe: file /dev/full: 0 of 1 alerts delivered, 1 not (No space left on device)" in text
    Path(text.rstrip().rpartition(" ")[2]).unlink()


class Stoppable(Source):
    """Its last interval is under way until `stop`."""

    def __init__(self, made: list[Interval]) -> None:
        super().__init__(made)
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def __iter__(self) -> Iterator[Interval]:
        yield from self._made[:-1]
        signal.raise_signal(signal.SIGINT)
        assert self._stopped.wait(5)
        yield self._made[-1]


def test_ctrl_c_tells_the_interval_that_is_under_way(tmp_path: Path) -> None:
    out = OutputChoice(prog="perfctl observe", file=tmp_path / "out")
    with stop_on_signals():
        assert run(options(), LiveRequest(), out, lambda: nullcontext(Stoppable(lossy_run()))) == 0
    assert "watched 4.0 s in 4 intervals" in (tmp_path / "out").read_text()


def test_a_second_ctrl_c_ends_at_once() -> None:
    called = threading.Event()
    with pytest.raises(KeyboardInterrupt), interrupt_calls(called.set):  # noqa: PT012 - both signals are the test
        signal.raise_signal(signal.SIGINT)
        assert called.wait(5)
        signal.raise_signal(signal.SIGINT)


def event(kind: str, at_ms: int, **context: Any) -> Event:
    return Event(
        number=at_ms, timestamp_ns=S + at_ms * 1_000_000, flow=FLOW, layer=Layer.TCP,
        metric="qdisc.drops_full" if kind == "drop" else "tcp.retrans_segs", value=1.0, type=EventType.ALERT,
        context={"kind": kind, "seq": 1, "bytes": 1448, **context},
    )  # fmt: skip


def test_the_diagnosis_comes_with_the_alert_and_a_healthy_machine_has_none(tmp_path: Path) -> None:
    made = [
        replace(one, metrics={**one.metrics, **tcp_figures(one.flows, one.histograms, 1.0)}) for one in lossy_run(9)
    ]
    bare = [line.strip() for line in observed(made, tmp_path).splitlines()]
    assert [line.startswith("diagnosis: ") for line in bare].count(True) == 2
    healthy = [interval(number, table(8, data_segs_out=1000)) for number in range(9)]
    told = observed(healthy, tmp_path)
    assert "diagnosis: " not in told
    assert "diagnosis of the last 5 intervals: healthy" in told


def test_each_retransmission_is_explained(tmp_path: Path) -> None:
    events = (event("drop", 10, reason="QDISC_OVERLIMIT"), event("retransmission", 30, retransmission="fast"),
              event("retransmission", 990, seq=9_000_000))  # fmt: skip
    made = [replace(busy(0), events=events)]
    text = observed(made, tmp_path)
    assert "1 retransmission: 1 after a drop of the same segment in a full queue (QDISC_OVERLIMIT)" in text
    assert (
        "behind retransmissions: 1 after a drop of the same segment in a full queue (QDISC_OVERLIMIT), 1 unex" in text
    )
    told = [json.loads(line) for line in observed(made, tmp_path, form="json").splitlines()]
    details = [each for each in told if each["type"] == "detail"]
    assert [each["context"]["behind"] for each in details] == ["segment_dropped", "unexplained"]
    assert details[0]["related"] == [30, 10]
    both = [json.loads(line) for line in observed(made, tmp_path, form="json", mode="both").splitlines()]
    assert [each["number"] for each in both[:3]] == [10, 30, 990]


def test_the_share_of_events_that_was_kept_is_told_where_it_is_below_the_whole(tmp_path: Path) -> None:
    def summary(kind: str, share: float) -> Event:
        return replace(event(kind, 900), type=EventType.SUMMARY, flow=None, context={"kind": kind, "share_pct": share})

    made = [replace(busy(0), events=(summary("drop", 12.5), summary("retransmission", 100.0)))]
    text = observed(made, tmp_path)
    assert "12.5 % of the events of kind drop were kept" in text
    assert "kind retransmission" not in text


def test_what_was_left_out_and_not_measured_is_told(tmp_path: Path) -> None:
    account = Accounting(refused=3, lost=2, shed=("no histograms",))
    text = observed([replace(busy(0), accounting=account, lacks={"drops": "no tracepoint"})], tmp_path)
    assert text.count("3 connections had no room among the records: raise --max-flows") == 2
    assert text.count("2 events lost: counts may be too low by up to that number") == 2
    assert "left out to stay below --cpu-ceiling: no histograms" in text
    assert "not measured: drops: no tracepoint" in text


def test_the_header_comes_again(tmp_path: Path) -> None:
    text = observed([interval(n, table(0)) for n in range(100)], tmp_path)
    assert text.count("RTT in ms") == 5


def test_names_from_packets_and_processes_are_escaped(tmp_path: Path) -> None:
    nasty = event("drop", 10, reason="\x1b[2J\n::error::x"), event("retransmission", 30)
    for form in ("console", "json"):
        text = observed([replace(busy(0), events=nasty)], tmp_path, form=form)
        assert "\x1b" not in text
        assert "\n::" not in text


NUMBERS = st.one_of(st.just(0), st.integers(0, 2**40))


@given(st.lists(NUMBERS, min_size=5, max_size=5), st.floats(1, 1e8), st.floats(0, 1e12))
def test_no_line_is_wider_than_80_columns(counts: list[int], rtt_us: float, drops: float) -> None:
    sent, again, acked, received, flows = counts
    rows = table(flows % 50, data_segs_out=sent, retrans_segs=again, bytes_acked=acked, bytes_received=received,
                 established_ns=S + 1, handshake_us=rtt_us)  # fmt: skip
    made = interval(0, rows, rtt=histogram_of(np.array([rtt_us])), metrics={"qdisc.drops": drops})
    line = interval_line(made, figures_of(made))
    assert len(line) <= 79
    assert len(line.split()) == 12
    assert all(len(each) <= 79 for each in HEADER.splitlines())


def test_details_are_broken_between_words() -> None:
    lines = list(laid_out(["word " * 40], 80))
    assert all(len(line) <= 79 for line in lines)
    assert " ".join(" ".join(lines).split()) == ("word " * 40).strip()
    assert list(laid_out(["word " * 40], None)) == [f"{' ' * 10}{'word ' * 40}"]


@given(st.lists(st.tuples(NUMBERS, NUMBERS, st.integers(0, 1000)), min_size=1, max_size=20))
def test_totals_are_the_sum_of_the_intervals(made: list[tuple[int, int, int]]) -> None:
    totals = WatchTotals()
    for number, (sent, again, drops) in enumerate(made):
        rows = table(2, data_segs_out=sent, retrans_segs=again, retrans_rto_segs=again)
        one = interval(
            number, rows, metrics={"qdisc.drops": float(drops)}, rtt=histogram_of(np.full(3, 100.0 + number))
        )
        totals.take(one, figures_of(one))
    assert totals.data_segs_out == 2 * sum(sent for sent, _, _ in made)
    assert totals.retrans_segs == totals.by_kind["rto"] == 2 * sum(again for _, again, _ in made)
    assert totals.drops["qdisc.drops"] == sum(drops for _, _, drops in made)
    assert totals.rtt_us is not None
    assert totals.rtt_us.count == 3 * len(made)
    assert totals.seconds == len(made)


def test_targets_of_the_options_are_those_of_delivery() -> None:
    args = options("--alert-output", "syslog", "--alert-output", "webhook:https://h.example/a?b=1")
    assert [type(each).__name__ for each in args.alert_output] == ["SyslogTarget", "WebhookTarget"]
    with pytest.raises(SystemExit):
        options("--alert-output", "webhook:https://user:word@h.example/")
