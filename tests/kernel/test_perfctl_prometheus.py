"""`perfctl observe --output prometheus`, scraped by a real Prometheus while iperf3 sends."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from live_lab import PERFCTL, LiveLab, live_lab
from prometheus_server import scraping

from perfcheck.system.clock import wait_until

pytestmark = pytest.mark.kernel

NATIVE_ERROR = 0.07
"""Of a quantile: a native bucket (4.4 %), half of one of ours (1.6 %), and interpolation in both."""


@contextmanager
def observing(lab: LiveLab, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run perfctl on the client until the block ends; yield it and its target, HOST:PORT."""
    argv = [*PERFCTL, "observe", "--netns", lab.host("client").netns_path, "--output", "prometheus",
            "--listen", "127.0.0.1:0", "--cpu-ceiling", "50", *options]  # fmt: skip
    with subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline()
            found = re.search(r"http://(127\.0\.0\.1:\d+)/metrics", said)
            assert found, said
            yield process, found[1]
        finally:
            process.kill()


def test_a_real_prometheus_has_what_iperf3_and_perfctl_say(tmp_path: Path) -> None:
    with live_lab() as lab, observing(lab, "--native-histograms", "--labels", "app") as (process, target):
        lab.serve("server", 5201, "iperf3", "-s")
        with scraping(tmp_path, [target], "--enable-feature=native-histograms") as prometheus:
            assert wait_until(lambda: prometheus.value("perfctl_up") == 1, timeout_s=20)
            to = lab.host("server").address_towards("client")
            sent = json.loads(lab.host("client").run(["iperf3", "-J", "-c", to, "-n", "12M"]).stdout)
            bytes_ = sent["end"]["sum_received"]["bytes"]
            # iperf3's control connection has some bytes of its own.
            assert wait_until(
                lambda: (prometheus.value("perfctl_tcp_acked_bytes_total") or 0) > 0.95 * bytes_, timeout_s=5
            )
            assert prometheus.value("up") == 1
            assert prometheus.value("perfctl_tcp_acked_bytes_total") == pytest.approx(bytes_, rel=0.05)
            by_app = {labels["app"]: value for labels, value in prometheus.query("perfctl_flow_acked_bytes_total")}
            assert by_app["iperf3"] == pytest.approx(bytes_, rel=0.05)
            assert len(prometheus.query("perfctl_bottleneck_connections")) == 11
            assert prometheus.value("perfctl_alerts_total{rule='loss-state'}") is not None
            kinds = {one[0]["type"] for one in prometheus_types(prometheus.get("/api/v1/metadata"))}
            assert kinds == {"counter", "gauge", "histogram"}
            native = {share: prometheus.value(f"histogram_quantile({share}, perfctl_tcp_rtt_seconds)")
                      for share in (0.5, 0.9)}  # fmt: skip
            process.terminate()
            _, said = process.communicate(timeout=10)
        ours = dict(re.findall(r"(p50|p90) ([\d.]+ [mu]?s)", said[said.index("RTT:") :].split("\n")[0]))
        for name, share in (("p50", 0.5), ("p90", 0.9)):
            assert native[share] == pytest.approx(seconds(ours[name]), rel=NATIVE_ERROR), said


def prometheus_types(metadata: dict[str, list[dict[str, str]]]) -> list[list[dict[str, str]]]:
    return [kinds for name, kinds in metadata.items() if name.startswith("perfctl_")]


def seconds(text: str) -> float:
    number, unit = text.split(" ")
    return float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[unit]


def test_without_a_flag_it_listens_to_this_machine_alone() -> None:
    done = subprocess.run(
        [*PERFCTL, "observe", "--output", "prometheus", "--listen", "0.0.0.0:0"], capture_output=True, text=True,
        timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--listen-anywhere" in done.stderr
