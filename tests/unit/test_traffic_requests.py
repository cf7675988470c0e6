"""Requests' log lines and reports of h2load and sockperf to metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.errors import TrafficError
from perfcheck.model.scenario import TrafficSpec
from perfcheck.system.memory_file import MemoryFile
from perfcheck.testing import FakeHost, FakeProcess
from perfcheck.traffic import http, sockperf
from perfcheck.traffic.requests import Answered, columns, request_metrics

H2LOAD = """
finished in 2.00s, 44700.50 req/s, 43.87MB/s
requests: 89401 total, 89405 started, 89401 done, 89380 succeeded, 21 failed, 9 errored, 4 timeout
status codes: 89380 2xx, 0 3xx, 12 4xx, 0 5xx
"""
SOCKPERF = """------------------------------
sockperf: # dropped messages = 3; # duplicated messages = 1; # out-of-order messages = 2
------------------------------
packet, txTime(sec), rxTime(sec), rtt(usec)
0, 2.411934441, 2.411988992, 54.551
1, 2.411989032, 2.412042191, 53.159
------------------------------
"""


def of(sent_us: list[float], latency_us: list[float]) -> Answered:
    return Answered(sent_us=np.array(sent_us, dtype=float), latency_us=np.array(latency_us, dtype=float))


def test_rate_and_latency_are_those_of_requests_after_the_warm_up() -> None:
    found = request_metrics(of([1000, 2000, 3000, 4000], [900, 100, 200, 300]), warmup_us=1000)
    assert found["app.latency_us.p50"] == 200
    assert found["app.latency_us.max"] == 300
    assert found["app.latency_us.mean"] == pytest.approx(200)
    assert found["app.requests_per_s"] == pytest.approx(3 / 2300e-6)


@pytest.mark.parametrize("answered", [of([], []), of([1], [1])])
def test_without_answers_the_rate_is_nothing_and_latencies_are_absent(answered: Answered) -> None:
    assert request_metrics(answered, warmup_us=10) == {"app.requests_per_s": 0.0}


@pytest.mark.parametrize(
    ("session", "entry", "said", "log", "port"),
    [
        (http.HttpSession, {"http": {"from": "client", "to": "server", "background": True}}, H2LOAD,
         "1000000\t200\t900\n", 8080),
        (sockperf.SockperfSession,
         {"sockperf": {"from": "client", "to": "server", "protocol": "tcp", "background": True}}, SOCKPERF, SOCKPERF,
         11111),
    ],
)  # fmt: skip
def test_a_report_says_where_its_server_listened(session: Any, entry: Any, said: str, log: str, port: int) -> None:
    server = FakeHost(addresses=("198.18.3.2",), processes=lambda argv: FakeProcess(argv, exit_status=None))
    server.listens = lambda *_: bool(server.commands)
    client = FakeHost(processes=lambda argv: FakeProcess(argv, stdout=said.encode(), exit_status=0))
    spec = TrafficSpec.model_validate(entry)
    made = session(spec=spec.http or spec.sockperf, hosts={"client": client, "server": server}, warmup_ns=0)
    made.prepare()
    Path(made._log.path).write_text(log, encoding="ascii")
    made.start()
    assert made.wait().served == (("198.18.3.2", port),)
    made.stop()


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(1, 10**6)), min_size=1, max_size=200))
def test_percentiles_lie_between_the_extremes_and_ascend(requests: list[tuple[int, int]]) -> None:
    latency_us = [float(latency) for _, latency in requests]
    found = request_metrics(of([float(sent) for sent, _ in requests], latency_us), warmup_us=0)
    ordered = [found[f"app.latency_us.{stat}"] for stat in ("p50", "p90", "p99", "p999", "max")]
    assert ordered == sorted(ordered)
    assert min(latency_us) <= ordered[0] <= ordered[-1] == max(latency_us)
    assert found["app.requests_per_s"] > 0


def test_h2loads_report_tells_what_failed_and_why() -> None:
    assert http.failures(H2LOAD, "h2load") == {"app.errors": 21, "app.resets": 9}
    assert http.unanswered(H2LOAD) == 4
    with pytest.raises(TrafficError, match="printed no totals: nonsense"):
        http.failures("nonsense", "h2load")


def test_sockperfs_log_and_report_are_read() -> None:
    found = sockperf.answered(SOCKPERF)
    assert found.latency_us.tolist() == pytest.approx([54.551, 53.159])
    assert found.sent_us[0] == pytest.approx(2_411_934.441)
    assert sockperf.failures(SOCKPERF, "sockperf") == {"app.timeouts": 3, "app.errors": 3}
    with pytest.raises(TrafficError, match="wrote no log"):
        sockperf.answered("")


def test_a_line_that_was_cut_off_is_left_out_and_nonsense_is_told() -> None:
    assert columns("1\t200\t5\n2\t2", "\t", 3).tolist() == [[1, 200, 5]]
    assert columns("", "\t", 3).shape == (0, 3)
    with pytest.raises(TrafficError, match="cannot be read"):
        columns("1\tx\t5\n", "\t", 3)


def test_a_memory_file_is_readable_by_its_path_while_it_is_open() -> None:
    made = MemoryFile("body", b"abc")
    assert made.path.read_bytes() == b"abc"
    assert made.content().decode() == "abc"
    made.close()
    made.close()


def test_traffic_is_of_one_generator_between_two_hosts() -> None:
    spec = TrafficSpec.model_validate({"http": {"from": "a", "to": "b", "rate": 100}})
    assert (spec.generator, spec.protocol, spec.background) == ("http", "tcp", False)
    assert TrafficSpec.model_validate({"sockperf": {"from": "a", "to": "b"}}).protocol == "udp"
    for wrong in ({"http": {"from": "a", "to": "a"}}, {"sockperf": {"from": "a", "to": "a"}}):
        with pytest.raises(ValueError, match="two different hosts"):
            TrafficSpec.model_validate(wrong)
    with pytest.raises(ValueError, match="exactly one generator"):
        TrafficSpec.model_validate({})
