"""The ACK side and the send side: what is summed up, and what their difference means."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.cli.perfctl import hist_run
from perfcheck.cli.perfctl.hist_view import WIDTH
from perfcheck.cli.perfctl.options import output_of, request_of
from perfcheck.cli.perfctl.registry import parse
from perfcheck.collect.base import histogram
from perfcheck.live.both_sides import Medians, meanings
from perfcheck.live.perspectives import INFLIGHT, RATE, RTT, Perspectives, Side, rates_of
from perfcheck.model.flow import Histogram
from perfcheck.model.flow_table import AF_INET, FlowTable
from perfcheck.model.interval import Interval
from perfcheck.output.bars import BARS, bars

SEGS = histogram.edges(histogram.SEGS_BUCKETS)
TIMES = histogram.edges(histogram.RTT_BUCKETS)
UNITS = {"srtt_us": "us", "rtt_us": "us", "inflight_segs": "segs", "cwnd_segs": "segs"}


def of(unit: str, *values: float) -> Histogram:
    return histogram.of_values(unit, TIMES if unit == "us" else SEGS, np.array(values, float))


def flows() -> FlowTable:
    made = FlowTable.empty(2)
    made.columns["family"][:] = AF_INET
    made.columns["cookie"][:] = (1, 2)
    made.columns["bytes_acked"][0] = 1_000_000
    made.columns["bytes_received"][1] = 1_000_000
    made.columns["send_bps"][:] = (8e6, 0)
    made.columns["state_open_us"][:] = 1_000_000
    return made


def interval(number: int, histograms: Mapping[str, Histogram], lacks: Mapping[str, str] | None = None) -> Interval:
    return Interval(
        number=number, begin_ns=number * 10**9 + 1, end_ns=(number + 1) * 10**9, epoch_ns=10**18, flows=flows(),
        histograms=histograms, lacks=lacks or {},
    )  # fmt: skip


def both(shift: float = 0.0) -> dict[str, Histogram]:
    ack = {"tcp.rtt_us": of("us", 20_000, 21_000)}
    for name, unit in UNITS.items():
        if name != "rtt_us":
            ack[f"tcp.{name}"] = of(unit, *([30.0] * 10))
            ack[f"tcp.send_{name}"] = of(unit, *([30.0 + shift] * 20))
    return ack


def test_sides_are_summed_up_apart() -> None:
    seen = Perspectives()
    for number in range(3):
        own = seen.add(interval(number, both()))
        assert own["tcp.inflight_segs"].count == 10
    ack, send = seen.of(INFLIGHT, Side.ACK), seen.of(INFLIGHT, Side.SEND)
    assert ack is not None
    assert send is not None
    assert (ack.count, send.count) == (30, 60)
    assert seen.of(RTT, Side.SEND) is None
    assert seen.histograms[RATE].count == 3


def test_rates_are_of_senders() -> None:
    found = rates_of(flows())
    assert (found.count, found.minimum, found.maximum) == (1, 8e6, 8e6)


def test_buckets_that_change_are_said_and_what_was_seen_stays() -> None:
    seen = Perspectives()
    seen.add(interval(0, {"tcp.rtt_us": of("us", 5.0)}))
    seen.add(interval(1, {"tcp.rtt_us": of("segs", 5.0)}))
    assert seen.unmergeable == {"tcp.rtt_us"}
    assert seen.histograms["tcp.rtt_us"].count == 1


@pytest.mark.parametrize(
    ("medians", "quantity", "words"),
    [
        (Medians(inflight=(5, 10), cwnd=(10, 10)), "inflight", "the congestion window limits"),
        (Medians(inflight=(10, 10), cwnd=(10, 10)), "inflight", "each ACK lets the next segment go"),
        (Medians(inflight=(9, 10), cwnd=(40, 40)), "inflight", "well below the window of 40 segments"),
        (Medians(inflight=(20, 20), cwnd=(30, 30)), "inflight", "evenly"),
        (Medians(inflight=(20, 20)), "inflight", "evenly"),
        (Medians(inflight=(10, 20), cwnd=(30, 30)), "inflight", "data leaves in bursts"),
        (Medians(inflight=(25, 20), cwnd=(30, 30)), "inflight", "the flight drains"),
        (Medians(srtt=(20_000, 20_500)), "srtt", "current"),
        (Medians(srtt=(30_000, 20_000)), "srtt", "Lower when segments leave (20 ms) than when ACKs arrive (30 ms)"),
        (Medians(srtt=(20_000, 30_000)), "srtt", "ACK compression"),
        (Medians(cwnd=(10, 10)), "cwnd", "steady"),
        (Medians(cwnd=(100, 10)), "cwnd", "slow start"),
        (Medians(cwnd=(10, 100)), "cwnd", "after a cut"),
    ],
)
def test_a_difference_is_said_in_one_sentence(medians: Medians, quantity: str, words: str) -> None:
    assert words in meanings(medians)[quantity]


def test_one_side_alone_has_no_difference() -> None:
    assert meanings(Medians()) == {}


@given(st.lists(st.lists(st.integers(0, 1 << 16), max_size=40), min_size=1, max_size=3), st.integers(5, 60))
def test_bars_fit_and_show_whatever_is_there(values: list[list[int]], columns: int) -> None:
    drawn, (low, high) = bars([of("us", *one) for one in values], columns)
    assert len(drawn) == len(values)
    for line, one in zip(drawn, values, strict=True):
        assert len(line) == (columns if one else 0)
        assert set(line) <= set(BARS)
        assert bool(one) == (BARS[-1] in line)
    assert high > low or not any(values)


def perfctl(words: Sequence[str], intervals: Sequence[Interval], tmp_path: Path) -> tuple[int, str]:
    """Run the command over these intervals; return the exit status and what it wrote."""
    file = tmp_path / "out"
    args, command = parse(["hist", *words, "--output-file", str(file)])

    @contextmanager
    def opened() -> Iterator[Sequence[Interval]]:
        yield intervals

    status = hist_run.run(args, request_of(args, command), output_of(args, command), opened)
    return status, file.read_text(encoding="utf-8")


def test_the_report_has_both_sides_in_80_columns(tmp_path: Path) -> None:
    status, text = perfctl([], [interval(number, both(10.0)) for number in range(2)], tmp_path)
    assert status == 0
    assert all(len(line) <= WIDTH for line in text.splitlines()), text
    assert text.count("ACK arrives") == 4
    assert text.count("segment leaves") == 3
    assert "open 100.0 %" in text
    assert "In flight against the BDP" in text


@pytest.mark.parametrize(("side", "labels"), [("rx", (4, 0)), ("tx", (0, 3))])
def test_one_side_can_be_asked_for(side: str, labels: tuple[int, int], tmp_path: Path) -> None:
    _, text = perfctl(["--perspective", side], [interval(0, both())], tmp_path)
    assert (text.count("ACK arrives"), text.count("segment leaves")) == labels


def test_what_was_not_measured_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, text = perfctl([], [interval(0, {}, {"tcp": "no BPF\x1b[31m"})], tmp_path)
    assert "delivery rate" in text
    assert capsys.readouterr().err == "perfctl hist: not measured: tcp: no BPF\\x1b[31m\n"


def test_no_traffic_is_said(tmp_path: Path) -> None:
    _, text = perfctl([], [], tmp_path)
    assert "No samples" in text


def test_events_are_one_a_quantity_side_and_interval_and_of_the_run(tmp_path: Path) -> None:
    _, text = perfctl(["--output", "json"], [interval(number, both()) for number in range(2)], tmp_path)
    events = [json.loads(line) for line in text.splitlines()]
    assert [one["number"] for one in events] == list(range(len(events)))
    assert {one["tool"] for one in events} == {"perfctl hist"}
    assert {one["type"] for one in events} == {"summary"}
    distributions = [one for one in events if "bucket_count" in one["context"]]
    assert len(distributions) == 3 * 8
    for one in distributions:
        counts = [int(word) for word in one["context"]["bucket_count"].split()]
        name = one["metric"].removesuffix(".p50")
        assert sum(counts) + one["context"]["above"] == one["metrics"][f"{name}.count"]
        assert one["metrics"][one["metric"]] == one["value"]
    (bdp,) = (one for one in events if one["metric"] == "tcp.bdp_bytes")
    assert bdp["flow"]["protocol"] == "tcp"
