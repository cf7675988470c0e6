"""The line about what measuring cost."""

from __future__ import annotations

from perfcheck.output.cost import cost_lines
from perfcheck.testing import make_record

OVERHEAD = {
    "programs": {
        "tcp_probe": {"calls": 40_000, "run_ns": 4_000_000, "ns_per_call": 100.0},
        "cpu/sched_switch": {"calls": 50_000, "run_ns": 3_000_000, "ns_per_call": 60.0},
        "qdisc/qdisc_enqueue": {"calls": 0, "run_ns": 0},
    },
    "bpf_cpu_s": 0.007, "user_cpu_s": 0.05, "cpu_pct": 1.14, "rss_bytes": 151_000_000, "bpf_map_bytes": 31_000_000,
    "at_rest": {"seconds": 3.0, "cpu_pct": 0.61},
}  # fmt: skip


def test_the_line_has_cpu_memory_losses_and_the_most_expensive_program() -> None:
    record = make_record(metrics={}).model_copy(update={"overhead": OVERHEAD, "lost_events": 3})
    (line,) = cost_lines(record)
    assert line == (
        "measuring: 1.1 % of one CPU (BPF programs 0.007 s, user space 0.05 s); at rest 0.61 %; 151 MB resident, 31 MB "
        "of BPF maps; most expensive program tcp_probe, 100 ns x 40,000 calls; 3 events lost"
    )


def test_what_was_not_measured_is_left_out() -> None:
    without = {**OVERHEAD, "programs": {}, "at_rest": {"seconds": 0.0}}
    (line,) = cost_lines(make_record(metrics={}).model_copy(update={"overhead": without}))
    assert "at rest" not in line
    assert "most expensive" not in line
    assert cost_lines(make_record(metrics={})) == ()
