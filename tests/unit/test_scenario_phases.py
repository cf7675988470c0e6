"""Phases of the scenario file: their order and bounds, keys that name them, and what they change of a digest."""

from __future__ import annotations

import pytest
from scenario_texts import changed

import perfcheck
from perfcheck.errors import ScenarioError
from perfcheck.model.bounds import MAX_PHASES
from perfcheck.model.scenario import Scenario
from perfcheck.scenario import load_text


def text(phases: str, expect: str = "") -> str:
    """Return a file with 2 s of traffic, a warm-up and these phases."""
    return changed(("expect:\n", f"warmup: 500ms\nphases: {phases}\nexpect:\n{expect}"))


def one(content: str) -> Scenario:
    (scenario,) = load_text(content, "x.yaml")
    return scenario


def mistakes(content: str) -> list[str]:
    """Return the file's mistakes without the file's name."""
    with pytest.raises(ScenarioError) as raised:
        load_text(content, "x.yaml")
    return [f"{problem.line}:{problem.path}: {problem.message}" for problem in raised.value.problems]


def test_phases_have_their_begins_in_the_order_of_the_file() -> None:
    scenario = one(text("{before: 500ms, outage: 1s, after: 1.5s}"))
    assert list(scenario.phases_ns.items()) == [("before", 500_000_000), ("outage", 10**9), ("after", 1_500_000_000)]


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ("{a: 1s, b: 600ms}", "13:phases.b: expected phases in ascending order: a begins at 1s"),
        ("{a: 1s, b: 1s}", "13:phases.b: expected phases in ascending order: a begins at 1s"),
        ("{a: 400ms}", "13:phases.a: begins within the warm-up, which belongs to no phase: expected at least 500ms"),
        ("{a: 2s}", "13:phases.a: expected less than 2s, when all measured traffic has ended"),
        ("{server: 1s}", "13:phases.server: the name 'server' is taken by a subject; a phase needs a name of its own"),
        ("{iperf3-1: 1s}",
         "13:phases.iperf3-1: the name 'iperf3-1' is taken by a subject; a phase needs a name of its own"),
        ("{a: 1}", "13:phases.a: expected a duration such as 10ms, got '1'"),
        ("{A: 1s}", "13:phases.A: expected a name of at most 31 lower-case letters, digits, '-' and '_', got 'A'"),
        ("{a: 2h}", "13:phases.a: expected a duration such as 10ms, got '2h'"),
    ],
)  # fmt: skip
def test_a_wrong_phase_is_told_where_it_stands(phases: str, message: str) -> None:
    assert message in mistakes(text(phases))


def test_the_end_of_a_transfer_by_size_is_not_known_beforehand() -> None:
    sized = changed(("duration: 2s", "bytes: 20mb"), ("expect:\n", "phases: {late: 60s}\nexpect:\n"))
    assert one(sized).phases_ns == {"late": 60 * 10**9}


def test_background_traffic_makes_no_phase_longer() -> None:
    more = changed(
        (
            "expect:\n",
            "  - iperf3: {from: server, to: client, duration: 9s, background: true}\nphases: {late: 5s}\nexpect:\n",
        )
    )
    assert mistakes(more) == ["13:phases.late: expected less than 2s, when all measured traffic has ended"]


def test_there_are_only_so_many_phases() -> None:
    many = ", ".join(f"p{index}: {600 + index}ms" for index in range(MAX_PHASES + 1))
    assert mistakes(text(f"{{{many}}}")) == [
        f"13:phases: expected at most {MAX_PHASES} phases, got {MAX_PHASES + 1}"
    ]  # fmt: skip


PHASES = "{before: 500ms, after: 1s}"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("app.throughput_bps/aftr", "unknown phase 'aftr'; did you mean 'after'?"),
        ("app.throughput_bps@iperf3-1/x", "unknown phase 'x'; known: before, after"),
        ("app.recovery_ms", "app.recovery_ms counts from the begin of a phase: write app.recovery_ms/after"),
        ("app.recovery_ms@iperf3-1",
         "app.recovery_ms counts from the begin of a phase: write app.recovery_ms@iperf3-1/after"),
        ("app.recovery_ms/before",
         "app.recovery_ms compares with the first phase, which is before: ask it of a later one"),
        ("app.errors/after", "app.errors is measured over the whole time only: leave out /after"),
        ("qdisc.link_queue_bytes.max/after",
         "qdisc.link_queue_bytes.max is measured over the whole time only: leave out /after"),
        ("tcp.rtt_us.p5/after", "unknown metric; did you mean 'tcp.rtt_us.p50/after'?"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("block", ["expect", "tolerance"])
def test_a_key_that_names_what_there_is_not_is_told(block: str, key: str, message: str) -> None:
    line = f"  {key}: '<= 5'\n" if block == "expect" else ""
    content = text(PHASES, line) + ("" if line else f"tolerance:\n  {key}: 5%\n")
    assert [each.partition(": ")[2] for each in mistakes(content)] == [message]


@pytest.mark.parametrize("key", ["diagnosis/after", "diagnosis@iperf3-1/after"])
def test_a_diagnosis_has_no_phases(key: str) -> None:
    assert mistakes(text(PHASES, f"  {key}: none\n"))[-1].endswith("a diagnosis is of the whole time: leave out /after")


def test_without_phases_a_key_that_names_one_says_how_to_add_it() -> None:
    content = changed(("  diagnosis: none", "  diagnosis: none\n  app.throughput_bps/after: '>= 5mbit'"))
    assert mistakes(content) == [
        "15:expect.app.throughput_bps/after: unknown phase 'after'; this scenario has none: add phases: {after: 1s}"
    ]


def test_right_keys_are_taken() -> None:
    lines = "  app.throughput_bps@iperf3-1/after: '>= 5mbit'\n  app.recovery_ms/after: '<= 0.3s'\n"
    scenario = one(text(PHASES, lines) + "tolerance: {app.recovery_ms@iperf3-1/after: 20%}\n")
    assert [(line.metric, line.threshold) for line in scenario.expect][:2] == [
        ("app.throughput_bps@iperf3-1/after", 5e6), ("app.recovery_ms/after", 300)
    ]  # fmt: skip
    assert scenario.tolerance_pct == {"app.recovery_ms@iperf3-1/after": 20}


def test_phases_are_a_condition_and_no_part_of_the_workload() -> None:
    without, early, late = (
        one(each) for each in (text("{}"), text("{before: 500ms, after: 1s}"), text("{before: 500ms, after: 1.5s}"))
    )
    assert without.workload_digest == early.workload_digest == late.workload_digest
    assert len({without.digest, early.digest, late.digest}) == 3


def test_a_scenario_in_python_has_phases() -> None:
    made = perfcheck.Scenario(
        "x", hosts={"client": {}, "server": {}}, links=[{"between": ["client", "server"]}],
        traffic=[{"iperf3": {"from": "client", "to": "server", "duration": "3s"}}],
        phases={"before": perfcheck.ms(500), "after": "2s"},
    )  # fmt: skip
    assert made.spec.phases_ns == {"before": 500_000_000, "after": 2 * 10**9}
    assert made.with_(phases={"before": "1s"}).spec.phases_ns == {"before": 10**9}
