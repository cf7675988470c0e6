"""A changed link or host setting fails the build, with the right items, and nothing else does."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

pytestmark = pytest.mark.kernel

SCENARIO: Final = """
scenario: {name}
hosts: {{client: {{congestion: {congestion}}}, server: {{congestion: cubic}}}}
links: [{{between: [client, server], delay: 10ms, rate: {rate}, queue: 2bdp, loss: {loss}}}]
traffic: [{{iperf3: {{from: client, to: server, duration: {duration}}}}}]
repeat: 2
warmup: 400ms
"""
# iperf3 runs for whole seconds. By the end of the warm-up slow start is over and the queue full.
# bbr does not slow down for random loss, so that runs of the lossy link send alike and lose alike.
FILES: Final = {
    "clean": SCENARIO.format(name="clean", congestion="cubic", rate="20mbit", loss="0%", duration="1s"),
    "lossy": SCENARIO.format(name="lossy", congestion="bbr", rate="40mbit", loss="0.1%", duration="1s"),
}
SAVED_RUNS: Final = 5
"""Against so many two runs trip the screen, and five fresh ones confirm; the fewer there are, the more are needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One pytest run over the scenario: its exit status, output, and the names of the failed cases."""

    status: int
    output: str
    failures: int
    failed: frozenset[str]


def build(folder: Path, *words: str) -> Build:
    """Run pytest as a user would, in the folder that holds the scenarios and the baselines."""
    report = folder / "junit.xml"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--baseline-dir=kept", f"--junitxml={report}", *words,
         "-p", "no:cacheprovider", "-q"],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    suite = ET.parse(report).getroot().find("testsuite")
    assert suite is not None, done.stdout
    failed = {str(case.get("name")) for case in suite.iter("testcase") if case.find("failure") is not None}
    return Build(
        status=done.returncode, output=done.stdout + done.stderr, failures=int(suite.get("failures", "0")),
        failed=frozenset(failed),
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two scenarios and a baseline of each."""
    made = tmp_path_factory.mktemp("gate")
    for name, text in FILES.items():
        (made / f"{name}.yaml").write_text(text)
    saved = build(made, "clean.yaml", "lossy.yaml", "--baseline-save", f"--perfcheck-repeat={SAVED_RUNS}")
    assert saved.status == 0, saved.output
    return made


def with_change(folder: Path, name: str, old: str, new: str) -> Build:
    """Change a scenario's file, run the build on it, and put the file back."""
    assert old in FILES[name]
    path = folder / f"{name}.yaml"
    path.write_text(FILES[name].replace(old, new))
    try:
        return build(folder, path.name, "--baseline")
    finally:
        path.write_text(FILES[name])


def test_no_change_passes(folder: Path) -> None:
    unchanged = build(folder, "clean.yaml", "lossy.yaml", "--baseline")
    assert unchanged.status == 0, unchanged.output
    assert not unchanged.failures


def test_loss_raised_tenfold_fails_on_retransmissions(folder: Path) -> None:
    changed = with_change(folder, "lossy", "loss: 0.1%", "loss: 1%")
    assert changed.status == 1, changed.output
    assert changed.failures
    assert any("tcp.retrans_pct" in name for name in changed.failed), changed.output
    assert not any("min_rtt" in name for name in changed.failed), changed.output
    assert "links[0].loss: 0.1% -> 1%" in changed.output


def test_delay_raised_by_30_percent_fails_on_the_round_trip(folder: Path) -> None:
    changed = with_change(folder, "clean", "delay: 10ms", "delay: 13ms")
    assert changed.status == 1, changed.output
    assert any("tcp.min_rtt_us" in name for name in changed.failed), changed.output
    assert "links[0].delay: 10ms -> 13ms" in changed.output


def test_a_small_receive_buffer_fails_on_throughput_and_is_the_diagnosis(folder: Path) -> None:
    changed = with_change(
        folder, "clean", "server: {congestion: cubic}",
        'server: {congestion: cubic, sysctl: {net.ipv4.tcp_rmem: "4096 65536 65536"}}',
    )  # fmt: skip
    assert changed.status == 1, changed.output
    assert any("app.throughput_bps" in name for name in changed.failed), changed.output
    assert "receive_window" in changed.output
    assert "hosts.server.sysctl.net.ipv4.tcp_rmem" in changed.output
