"""A live run in its forms: lines, summaries, events, Prometheus and Influx say the same counts, and shares that can be.

What the forms say is read back by parsers that are not perfcheck's, or are written here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_intervals import flow_table, interval
from prometheus_client.parser import text_string_to_metric_families
from test_export_influx import read_line

from perfcheck.cli.perfctl.tcp_lines import heading, summary
from perfcheck.collect.base.histogram import RTT_BUCKETS, edges, of_values
from perfcheck.export.exporter import Exporter
from perfcheck.export.figures import of_all_ends
from perfcheck.export.influx import InfluxLines, field_of
from perfcheck.export.names import live_place
from perfcheck.export.text import prometheus_text
from perfcheck.live.figures import tcp_figures
from perfcheck.live.observation import WatchTotals, figures_of, interval_event, totals_event
from perfcheck.live.observe_text import HEADER, interval_line, summary_lines
from perfcheck.live.totals import Totals
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.interval import Accounting, Interval
from perfcheck.model.units import DURATION_NS

FEW: Final = settings(max_examples=25, deadline=None)
COUNTS: Final = st.one_of(st.integers(0, 5), st.integers(0, 10**6), st.just(1 << 40))
SCALES: Final = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
SHARE: Final = re.compile(r"(?P<number>[^ (]+) %")
KINDS: Final = ("retrans_fast_segs", "retrans_rto_segs", "retrans_tlp_segs")


@st.composite
def runs(draw: Any) -> Sequence[Interval]:
    """Draw intervals of connections that move, stand still, or send again more than was seen of them."""
    made = []
    for number in range(draw(st.integers(1, 3))):
        rows = draw(st.integers(0, 4))
        columns = {
            name: draw(st.lists(COUNTS, min_size=rows, max_size=rows))
            for name in ("bytes_acked", "bytes_received", "data_segs_out", "segs_out", *KINDS)
        }  # fmt: skip
        again = [sum(each) for each in zip(*(columns[kind] for kind in KINDS), strict=True)]
        table = flow_table(rows, **columns, retrans_segs=again, elapsed_us=1e6, busy_us=1e6)
        values = np.array(draw(st.lists(st.integers(0, 1 << 27), max_size=20)), dtype=float)
        histograms = {"tcp.rtt_us": of_values("us", edges(RTT_BUCKETS), values)}
        cpu_pct = draw(st.floats(0, 400))
        made.append(interval(
            number, table, metrics=tcp_figures(table, histograms, 1.0), histograms=histograms,
            accounting=Accounting(opened=rows, ended=draw(st.integers(0, 3)), cpu_pct=cpu_pct),
        ))  # fmt: skip
    return made


def number_of(text: str) -> float:
    """Return what a cell says: `941M`, `0.02`, `-`."""
    if text == "<0.01":
        return 0.002
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([kMGT]?)", text)
    return math.nan if text == "-" else float(found[1]) * SCALES[found[2]] if found else pytest.fail(text)


def cells_of(line: str) -> list[float]:
    return [number_of(each) for each in line.split()[1:]]


def shares_of(lines: Sequence[str]) -> list[float]:
    return [float(found["number"].strip("(").replace(",", "")) for line in lines for found in SHARE.finditer(line)]


@FEW
@given(runs())
def test_the_line_of_an_interval_says_what_its_event_says(run: Sequence[Interval]) -> None:
    for one in run:
        figures = figures_of(one)
        line = interval_line(one, figures)
        event = interval_event(one, figures, 1).metrics
        *rtt, connect, again, share, _, flows, out, into = cells_of(line)
        for said, name in zip(rtt, ("min", "p50", "p90", "p99"), strict=True):
            close(said * 1e3, event.get(f"tcp.rtt_us.{name}", math.nan), 0.06, 5.0)
        assert math.isnan(connect)
        close(again, event["tcp.retrans_segs"], 0.06)
        close(share, event.get("tcp.retrans_pct", math.nan), 0.0, 0.0101)
        assert (share == 0) == (event.get("tcp.retrans_pct") == 0)
        assert (share == 100) == (event.get("tcp.retrans_pct") == 100)
        assert (rtt[0] == 0) == (event.get("tcp.rtt_us.min") == 0)
        assert (flows, len(line)) == (event["tcp.connections"], len(HEADER.splitlines()[-1]))
        close(out, event["send_bps"], 0.06)
        close(into, event["receive_bps"], 0.06)


def close(said: float, is_: float, share: float, amount: float = 0.0) -> None:
    assert math.isclose(said, is_, rel_tol=share, abs_tol=amount) or (math.isnan(said) and math.isnan(is_)), (said, is_)


@FEW
@given(runs())
def test_summaries_of_a_run_agree_and_no_share_exceeds_its_whole(run: Sequence[Interval]) -> None:
    watched, table = WatchTotals(), Totals()
    exporter, lines = Exporter(), InfluxLines("host")
    told: dict[str, float] = {}
    for one in run:
        watched.take(one, figures_of(one))
        table.add(one)
        snapshot = exporter.take(one)
        for line in lines.of(one):
            measurement, _, fields, _ = read_line(line)
            if measurement == "perfctl_self":
                for name in ("acked_bytes", "received_bytes", "connections_opened", "connections_closed"):
                    told[name] = told.get(name, 0.0) + fields[name]
    event = totals_event(watched, 1, 0)
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(prometheus_text(snapshot.series())) for sample in family.samples
        if not sample.labels
    }  # fmt: skip
    assert event.metrics["tcp.retrans_segs"] == table.retrans_segs
    assert event.metrics["tcp.data_segs_out"] == table.data_segs_out
    for name, theirs in (("retrans_segs", "retrans_segments"), ("data_segs_out", "data_segments_out")):
        assert samples.get(f"perfctl_tcp_{theirs}_total", 0.0) == event.metrics[f"tcp.{name}"]
    for name, ours, theirs in (
        ("acked_bytes", "tcp.bytes_acked", "tcp_acked_bytes"),
        ("received_bytes", "tcp.bytes_received", "tcp_received_bytes"),
        ("connections_opened", "opened", "connections_opened"), ("connections_closed", "ended", "connections_closed"),
    ):  # fmt: skip
        assert event.metrics[ours] == samples[f"perfctl_{theirs}_total"] == told[name]
    assert (table.bytes_acked, table.opened, table.ended) == (watched.bytes_acked, watched.opened, watched.ended)
    assert math.isclose(table.cpu_pct, watched.cpu_pct, rel_tol=1e-9)
    count = watched.rtt_us.count if watched.rtt_us is not None else 0
    assert samples.get("perfctl_tcp_rtt_seconds_count", 0.0) == count
    watching, tabled = list(summary_lines(watched, ())), list(summary(table))
    cost = [line for line in watching if line.startswith("perfctl used")]
    assert cost == [line.strip() for line in tabled if "perfctl used" in line]
    shares = shares_of([*(line for line in (*watching, *tabled) if line not in cost and "perfctl used" not in line),
                        *(heading(one, is_recorded=True) for one in run)])  # fmt: skip
    assert all(0 <= share <= 100 for share in shares)
    if watched.data_segs_out:
        assert all(math.isclose(share, event.metrics["tcp.retrans_pct"], rel_tol=0.06) for share in shares_of(
            [line for line in (*watching, *tabled) if "retrans" in line]
        ))  # fmt: skip


@FEW
@given(runs())
def test_a_gauge_of_prometheus_is_the_field_of_influx_and_the_metric(run: Sequence[Interval]) -> None:
    exporter, lines = Exporter(), InfluxLines("host")
    before: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for one in run:
        series = {
            (each.family.name, labels): value
            for each in exporter.take(one).series() for labels, value in each.values
        }  # fmt: skip
        fields: dict[str, float] = {}
        for line in lines.of(one):
            measurement, tags, found, _ = read_line(line)
            assert tags["host"] == "host"
            fields |= {f"{measurement}:{name}": value for name, value in found.items()}
        for metric, value in of_all_ends(one.metrics, one.flows).items():
            place = live_place(metric)
            if place is None or place.family.kind.value == "histogram":
                continue
            key = (place.family.name, tuple(place.labels.items()))
            now = series[key] - (before.get(key, 0.0) if place.family.kind.value == "counter" else 0.0)
            base = value * {"pct": 0.01, "bps": 0.125}.get(
                CATALOGUE[metric].unit, DURATION_NS.get(CATALOGUE[metric].unit, 10**9) / 1e9
            )  # fmt: skip
            assert math.isclose(now, base, rel_tol=1e-9, abs_tol=1e-3 if now else 0.0), metric
            told = fields[f"perfctl_{CATALOGUE[metric].layer.value}:{field_of(metric)}"]
            assert math.isclose(told, base, rel_tol=1e-12), metric
        before = series


def test_what_is_sent_again_beside_few_segments_is_no_more_than_all() -> None:
    table = flow_table(1, data_segs_out=2, retrans_segs=3, retrans_rto_segs=3)
    one = interval(0, table)
    watched, beside = WatchTotals(), Totals()
    watched.take(one, figures_of(one))
    beside.add(one)
    assert "retransmitted: 3 data segments, 100 % of 2 (3 after a timeout)" in list(summary_lines(watched, ()))
    assert "3 retransmissions (100 % of the segments with data)" in "\n".join(summary(beside))
    assert heading(one, is_recorded=True).endswith("3 retransmissions (100 %)")


def test_a_client_that_receives_more_than_it_sends_counts_what_it_sends_again() -> None:
    """As nstat does; in a lab it would count at the sender alone, and here that is another machine."""
    exporter, lines = Exporter(), InfluxLines("host")
    table = flow_table(1, segs_out=9, data_segs_out=6, retrans_segs=3, bytes_acked=600, bytes_received=10**6)
    one = interval(0, table)
    one = replace(one, metrics=tcp_figures(table, {}, one.seconds))
    assert one.metrics["tcp.retrans_segs"] == 0
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(prometheus_text(exporter.take(one).series()))
        for sample in family.samples
    }  # fmt: skip
    assert samples["perfctl_tcp_retrans_segments_total"] == 3
    assert samples["perfctl_tcp_retrans_ratio"] == 0.5
    fields = [read_line(line)[2] for line in lines.of(one)]
    assert [each["retrans_segments"] for each in fields if "retrans_segments" in each] == [3]
