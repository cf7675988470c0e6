"""Public fakes for every seam, and builders of model values: scenarios, plugins and outputs tested without root.

Each fake satisfies its Protocol of `perfcheck.model.seams`, notes its calls in `calls`, and answers from a script:
a sequence with one answer for each trial. The last answer is repeated. An exception in a script is raised in its
turn. `unavailable` makes `check()` raise.

Example:
    >>> from perfcheck.errors import TrafficError
    >>> generator = FakeGenerator(script=[TrafficError("iperf3: error - unable to connect")])
    >>> scenario = make_scenario(expect={"tcp.rtt_us.p50": "<= 60ms"})
    >>> session = generator.prepare(scenario.traffic[0], make_hosts(scenario), warmup_ns=0)
    >>> session.start()
    >>> session.wait()
    Traceback (most recent call last):
    perfcheck.errors.TrafficError: iperf3: error - unable to connect
"""

from __future__ import annotations

from perfcheck.testing.fakes import (
    FakeCollector,
    FakeEmulator,
    FakeGenerator,
    FakeHost,
    FakeLink,
    FakeProcess,
    FakeSession,
    FakeUndoLog,
    ListOutput,
    ListProgress,
    make_hosts,
)
from perfcheck.testing.runner import FakeRun, FakeRunner, make_judged_record
from perfcheck.testing.values import (
    EDGES,
    make_expectation,
    make_flow_report,
    make_histogram,
    make_record,
    make_scenario,
    make_tcp_socket,
    make_traffic_report,
    make_unmeasured_record,
)

__all__ = [
    "EDGES", "FakeCollector", "FakeEmulator", "FakeGenerator", "FakeHost", "FakeLink", "FakeProcess", "FakeRun",
    "FakeRunner", "FakeSession", "FakeUndoLog", "ListOutput", "ListProgress", "make_expectation", "make_flow_report",
    "make_histogram", "make_hosts", "make_judged_record", "make_record", "make_scenario", "make_tcp_socket",
    "make_traffic_report", "make_unmeasured_record",
]  # fmt: skip
