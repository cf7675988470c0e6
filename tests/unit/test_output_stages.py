"""The table of a packet's way."""

from __future__ import annotations

from perfcheck.model.catalogue import CATALOGUE
from perfcheck.output.stages import WAY, stage_lines
from perfcheck.testing import make_record


def test_stages_come_in_the_order_of_the_way_with_readable_times() -> None:
    record = make_record(
        metrics={
            "nic.wire_us.p50": [10_015.2], "nic.wire_us.p99": [12_000.0], "nic.wire_us.max": [31_000.0],
            "socket.tx_stage_us.p50": [0.0], "socket.tx_stage_us.p99": [18.0], "socket.tx_stage_us.max": [100.0],
        }
    )  # fmt: skip
    assert stage_lines(record) == (
        "time of a packet in       p50    p99     max",
        "socket.tx_stage_us       0 ns  18 us  100 us  waiting for room in the send buffer",
        "nic.wire_us          10.02 ms  12 ms   31 ms  the link and the hosts in between",
    )


def test_a_run_that_followed_no_packet_says_nothing() -> None:
    assert stage_lines(make_record(metrics={"app.throughput_bps": [1e6]})) == ()


def test_all_stages_are_in_the_catalogue() -> None:
    assert all(f"{name}.{stat}" in CATALOGUE for name, _ in WAY for stat in ("p50", "p99", "max"))
