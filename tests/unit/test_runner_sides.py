"""The sides of `perfcheck ab`: how they are read, and what they change in a scenario."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenario_texts import COST

from perfcheck.cli import main
from perfcheck.errors import LabError, UsageError
from perfcheck.kernels.store import Kernel
from perfcheck.model.record import RunRecord, ScenarioRef
from perfcheck.model.scenario import Scenario
from perfcheck.runner import Runner, RunOptions, guests
from perfcheck.runner.side_by_side import differences_of
from perfcheck.runner.sides import MAX_COMMAND_LINE, Side
from perfcheck.scenario import load_text
from perfcheck.testing import make_record

TEXT = """
scenario: sides
hosts: {client: {sysctl: {net.ipv4.tcp_sack: 1}}, server: {congestion: cubic}}
links: [{between: [client, server], delay: 1ms}]
traffic: [{iperf3: {from: client, to: server, congestion: reno, duration: 1s}}]
"""


@pytest.fixture
def scenario() -> Scenario:
    return load_text(TEXT, "sides.yaml")[0]


def test_file_changes_nothing(scenario: Scenario) -> None:
    assert Side.parse("file").applied_to(scenario) == scenario


def test_a_sysctl_goes_to_one_host_or_to_all(scenario: Scenario) -> None:
    one = Side.parse("sysctl server:net.ipv4.tcp_rmem=4096 65536 65536").applied_to(scenario)
    assert one.hosts["server"].sysctl == {"net.ipv4.tcp_rmem": "4096 65536 65536"}
    assert one.hosts["client"] == scenario.hosts["client"]
    both = Side.parse("sysctl net.ipv4.tcp_sack=0").applied_to(scenario)
    assert [host.sysctl["net.ipv4.tcp_sack"] for host in both.hosts.values()] == ["0", "0"]


def test_a_congestion_control_reaches_the_sender_and_its_traffic(scenario: Scenario) -> None:
    changed = Side.parse("congestion client:bbr").applied_to(scenario)
    assert changed.hosts["client"].congestion == "bbr"
    assert changed.hosts["server"].congestion == "cubic"
    assert changed.traffic[0].iperf3 is not None
    assert changed.traffic[0].iperf3.congestion == "bbr"


def test_a_nic_feature_becomes_a_set_up_command_for_each_interface(scenario: Scenario) -> None:
    changed = Side.parse("nic server:tso=off").applied_to(scenario)
    assert changed.hosts["server"].setup == ("ethtool -K eth0 tso off",)
    assert changed.hosts["client"].setup == ()


def test_an_unknown_host_is_told(scenario: Scenario) -> None:
    with pytest.raises(UsageError, match="client, server"):
        Side.parse("congestion proxy:bbr").applied_to(scenario)


def test_a_command_that_fails_is_told_with_its_own_words() -> None:
    with pytest.raises(LabError, match="nowhere"):
        Side.parse("command cat /nowhere").switch()


@pytest.mark.parametrize("text", ["", "x", "file x", "sysctl", "sysctl a", "sysctl =1", "sysctl a=", "nic tso=maybe",
                                  "congestion", "congestion a=b", "command"])  # fmt: skip
def test_other_texts_are_refused_with_the_forms(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="sysctl"):
        Side.parse(text)
    with pytest.raises(SystemExit) as ended:
        main(["ab", "x.yaml", "--a", "file", "--b", text])
    assert ended.value.code == 2
    assert "argument --b: a side is one of: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sysctl foo=1", "begins with net."),
        ("sysctl server:vm.swappiness=1", "begins with net."),
        ("congestion cubik", "did you mean 'cubic'"),
        ("congestion server:cubik", "did you mean 'cubic'"),
    ],
)
def test_a_setting_that_no_host_can_have_is_bad_usage(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Side.parse(text)


@given(st.text(max_size=60))
def test_any_text_is_a_side_or_a_usage_error(text: str) -> None:
    try:
        side = Side.parse(text)
    except UsageError:
        return
    assert side.text == text


def test_two_records_differ_in_the_scenarios_settings_and_the_machines() -> None:
    def record(conditions: dict[str, str], environment: dict[str, object]) -> RunRecord:
        reference = ScenarioRef(name="sides", digest="d", file="sides.yaml", conditions=conditions)
        return make_record({"tcp.rtt_us.p50": (1.0,)}, scenario=reference, environment=environment)

    a = record({"hosts.client.congestion": "cubic"}, {"emulators": ["relay"], "net.core.default_qdisc": "pfifo_fast"})
    b = record({"hosts.client.setup[0]": "ethtool -K eth0 tso off"}, {"emulators": ["relay"]})
    assert differences_of(a, b) == {
        "hosts.client.congestion": ("cubic", ""),
        "hosts.client.setup[0]": ("", "ethtool -K eth0 tso off"),
        "environment.net.core.default_qdisc": ("pfifo_fast", ""),
    }


@pytest.mark.parametrize("text", ["cmdline {}", "kernel=6.12-cloud {}"])
def test_words_that_a_kernel_would_cut_off_are_refused(text: str) -> None:
    assert Side.parse(text.format("x" * MAX_COMMAND_LINE)).command_line == ("x" * MAX_COMMAND_LINE,)
    with pytest.raises(UsageError, match="room for 1500 characters here, got 1501"):
        Side.parse(text.format("x" * (MAX_COMMAND_LINE + 1)))


@pytest.mark.parametrize(
    ("kernel", "sides", "why"),
    [
        (None, ("kernel=a", "kernel=nope"), "no kernel is called 'nope'"),
        ("nope", ("file", "cmdline quiet"), "no kernel is called 'nope'"),
        ("a", ("file", "nic gro=off"), "a guest has no such setting"),
        ("a", ("file", "sysctl proxy:net.ipv4.tcp_sack=0"), "has no host 'proxy'"),
    ],
)
def test_what_cannot_be_had_in_a_guest_is_told_before_anybody_is_waited_for(
    kernel: str | None, sides: tuple[str, str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guests, "stored_kernel", partial(stored, tmp_path))
    monkeypatch.setattr(guests, "measuring_lock", pytest.fail)
    a, b = map(Side.parse, sides)
    with pytest.raises(UsageError, match=why):
        Runner.create(RunOptions(kernel=kernel)).ab(load_text(COST, "cost.yaml")[0], a, b)


@pytest.mark.parametrize(
    "options",
    [
        RunOptions(kernel="nope"), RunOptions(kernel="a", ab=("file", "kernel=nope")),
        RunOptions(ab=("kernel=a", "kernel=nope")), RunOptions(kernel="nope", ab=("file", "cmdline quiet")),
    ],
)  # fmt: skip
def test_a_session_asks_for_its_kernels_before_anything_is_measured(
    options: RunOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guests, "stored_kernel", partial(stored, tmp_path))
    with pytest.raises(UsageError, match="no kernel is called 'nope'"):
        Runner.create(options).check_kernels()
    Runner.create(RunOptions(kernel="a", ab=("file", "cmdline quiet"))).check_kernels()
    Runner.create(RunOptions(ab=("file", "sysctl net.ipv4.tcp_sack=0"))).check_kernels()


@pytest.mark.parametrize(
    ("options", "again"),
    [
        (RunOptions(ab=("file", "cmdline quiet"), kernel="a"), "ab cost.yaml --a file --b 'cmdline quiet' --kernel a"),
        (RunOptions(ab=("kernel=a", "kernel=b")), "ab cost.yaml --a kernel=a --b kernel=b"),
        (RunOptions(kernel="a"), "run cost.yaml --repeat 5 --kernel a"),
    ],
)
def test_what_was_not_measured_says_how_to_measure_it(options: RunOptions, again: str) -> None:
    (scenario,) = load_text(COST, "cost.yaml")
    record = Runner.create(options).unmeasured(scenario, "interrupted", "2026-01-02T03:04:05Z")
    assert record.reproduce == f"perfcheck {again}"
    assert record.sides == options.ab


def stored(folder: Path, name: str) -> Kernel:
    """Stand for a store that has one kernel, called a."""
    if name != "a":
        raise UsageError(f"no kernel is called {name!r}")
    return Kernel(name=name, release="6.12.0", folder=folder)
