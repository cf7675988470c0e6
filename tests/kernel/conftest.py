"""Tests that make namespaces: without the right to, they are skipped, or fail where CI demands them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

import collect_lab
import interference
import pytest
from lab_building import BuildLab, do_without, plain_lab

from perfcheck.collect.kernel.snmp import HostCountersCollector
from perfcheck.collect.tcp.collector import TcpCollector
from perfcheck.errors import Unavailable
from perfcheck.runner import Runner, RunOptions
from perfcheck.system import checks
from perfcheck.system.rundir import RUN_DIR_VARIABLE

REQUIRE_ALL_VARIABLE: Final = "PERFCHECK_REQUIRE_ALL"
"""At 1 a test that is skipped has failed: the kernel is one that has it all."""
HERE: Final = Path(__file__).parent
ALONE: Final = frozenset({
    # Times, rates and counts within them, held against bounds that a neighbour's work breaks.
    "test_collect_budget", "test_collect_cpu", "test_collect_events", "test_collect_nic", "test_collect_socket",
    "test_cost", "test_docs_applications", "test_grafana_dashboards", "test_guest_turns", "test_known_latency",
    "test_known_slow_start", "test_known_sums", "test_links_netem", "test_links_proof", "test_links_queues",
    "test_links_relay", "test_perfctl_hist", "test_perfctl_observe_live", "test_phases_sources",
    "test_traffic_load_reports",
    # Builds that may fail for one reason alone.
    "test_only_the_scenario", "test_phases", "test_regressions_fail_the_build",
    # They look at the whole machine, or take all of it.
    "test_collect_ip_conntrack", "test_cost_ab", "test_ebpf_compile", "test_guest_measures", "test_in_a_guest",
    "test_kill_campaign",
})  # fmt: skip
"""Modules that nothing may run beside. All others pass where each CPU has two tasks."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("kernel")
            if item.path.stem not in ALONE:
                item.add_marker("beside")
            interference.watch(item)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if HERE not in item.path.parents:
        return
    interference.begin(item)
    try:
        checks.require_privileges()
        checks.require_namespaces()
    except Unavailable as lacking:
        do_without(lacking)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and HERE in item.path.parents and os.environ.get(REQUIRE_ALL_VARIABLE) == "1":
        report.outcome = "failed"
        report.longrepr = f"{REQUIRE_ALL_VARIABLE}=1, but it was skipped: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep journals and the measuring lock of each test apart from those of everything else."""
    directory = tmp_path / "run"
    monkeypatch.setenv(RUN_DIR_VARIABLE, str(directory))
    return directory


@pytest.fixture(autouse=True)
def ending_signals() -> None:
    """Have SIGINT and SIGHUP end what tests start: shells and nohup ignore them, and children inherit that."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system of 3 MB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def build_lab() -> BuildLab:
    """Return the function that builds a lab of plain links, for a `with` block."""
    return plain_lab


@pytest.fixture
def pair() -> Iterator[collect_lab.Pair]:
    """Two hosts; a module whose tests may share theirs has a fixture of its own."""
    with collect_lab.pair() as made:
        yield made


@pytest.fixture(scope="module")
def core() -> Iterator[TcpCollector]:
    """The TCP layer's collector, attached."""
    with collect_lab.opened(TcpCollector(64)) as collector:
        yield collector


@pytest.fixture
def host() -> Iterator[HostCountersCollector]:
    """The collector of the hosts' SNMP counters."""
    with collect_lab.opened(HostCountersCollector()) as collector:
        yield collector


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    """A session that measures, with its programs attached once for the module."""
    with Runner.create(RunOptions()) as session:
        yield session
