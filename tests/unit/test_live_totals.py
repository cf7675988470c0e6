"""Sums of a whole watch: no part of them exceeds its whole, and shares are written as people write them."""

from __future__ import annotations

from dataclasses import replace

from live_traffic import interval, table

from perfcheck.cli.perfctl import tcp_lines
from perfcheck.live.observation import WatchTotals, figures_of
from perfcheck.live.observe_text import summary_lines


def test_a_fin_that_is_sent_again_and_again_is_no_share_above_all() -> None:
    """One segment with data, and a FIN six times: the kernel counts 6 sent again, and 1 with data."""
    watched = interval(0, table(1, segs_out=8, data_segs_out=1, retrans_segs=6, elapsed_us=10**6))
    totals = WatchTotals()
    totals.take(watched, figures_of(watched))
    assert "retransmitted: 6 data segments, 100 % of 1" in "\n".join(summary_lines(totals, ()))
    assert "6 retransmissions (100 % of the segments with data)" in "\n".join(tcp_lines.summary(totals))
    assert tcp_lines.heading(watched, is_recorded=False).endswith("6 retransmissions (100 %)")


def test_without_data_there_is_no_share() -> None:
    totals = WatchTotals()
    watched = interval(0, table(1, segs_out=3, elapsed_us=10**6))
    totals.take(watched, figures_of(watched))
    carried = next(line for line in tcp_lines.summary(totals) if "retransmission" in line)
    assert carried.endswith("0 retransmissions")


def test_what_was_left_out_once_is_told_at_the_end() -> None:
    totals = WatchTotals()
    for number, shed in enumerate(((), ("ip",), ())):
        one = interval(number)
        one = replace(one, accounting=replace(one.accounting, shed=shed))
        totals.take(one, figures_of(one))
    assert "left out to stay below --cpu-ceiling: ip" in "\n".join(tcp_lines.summary(totals))
    assert "left out to stay below --cpu-ceiling: ip" in "\n".join(summary_lines(totals, ()))
