"""A scenario across two machines: the same traffic, collectors and verdicts as in a lab, and settings in turns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ssh_desk import desk_with, write
from ssh_machines import Desk

AHEAD_S = 5000
HOSTS = """\
hosts:
  a: {ssh: root@$a, interface: eth1, python: $python}
  b: {ssh: root@$b, address: [198.51.100.2], python: $python, settings: [ethtool -K eth1 gro on]}
links: [{between: [a, b], mtu: 1500}]
"""
BULK = f"""\
scenario: bulk
{HOSTS}
traffic: [{{iperf3: {{from: a, to: b, duration: 1s, rate: 200mbit}}}}]
warmup: 200ms
repeat: 1
expect: {{app.throughput_bps: ">= 150mbit", tcp.retrans_pct: "<= 1"}}
"""
ASKED = f"""\
scenario: asked
{HOSTS}
traffic:
  - connections: {{from: a, to: b, duration: 1s, rate: 100}}
  - http: {{from: b, to: a, duration: 1s, rate: 100}}
measure: {{layers: [app]}}
warmup: 200ms
repeat: 1
"""
SHORT = "tc qdisc replace dev eth1 root tbf rate 20mbit burst 4kb limit 6kb"
TOLD = f"""\
scenario: told
hosts:
  a: {{ssh: root@$a, interface: eth1, python: $python, settings: [{SHORT}]}}
  b: {{ssh: root@$b, interface: eth1, python: $python, settings: [{SHORT}]}}
links: [{{between: [a, b]}}]
traffic:
  - iperf3: {{from: a, to: b, duration: 1s}}
  - iperf3: {{from: b, to: a, duration: 1s}}
measure: {{layers: [tcp, qdisc]}}
warmup: 0s
repeat: 1
"""
GRO = """\
import json, subprocess
said = subprocess.run(['ethtool', '-k', 'eth1'], capture_output=True, text=True).stdout
print(json.dumps({'perfcheck': {'app.errors': said.count('generic-receive-offload: on')}}))
"""
SIDES = f"""\
scenario: sides
{HOSTS}
traffic:
  - command: {{host: b, run: '$python PROGRAM'}}
measure: {{layers: [app]}}
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk_with(tmp_path_factory.mktemp("machines")) as made:
        yield made


def record_of(desk: Desk, name: str, text: str, *options: str) -> dict[str, Any]:
    """Run a scenario that must pass, and return its record."""
    write(desk, f"{name}.yaml", text)
    (desk.folder / f"{name}.jsonl").unlink(missing_ok=True)  # records are appended, and a test may run again
    done = desk.perfcheck("run", f"{name}.yaml", "--json", f"{name}.jsonl", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    record: dict[str, Any] = json.loads((desk.folder / f"{name}.jsonl").read_text())
    return record


def proof_of(record: dict[str, Any]) -> dict[str, Any]:
    proof: dict[str, Any] = record["emulators"]["links[0] a-b"]["proof"]
    return proof


def test_all_collectors_of_both_machines_measure_and_agree_with_other_sources(desk: Desk) -> None:
    record = record_of(desk, "bulk", BULK)
    assert record["unavailable"] == {}
    assert len(record["cross_checks"]) > 5
    assert [check for check in record["cross_checks"] if not check["agrees"]] == []
    assert record["subjects"]["a"]["metrics"]["cpu.busy_pct"]["value"] > 0
    assert record["subjects"]["b"]["metrics"]["cpu.busy_pct"]["value"] > 0
    assert record["metrics"]["tcp.connections"]["value"] == 1
    assert record["environment"]["nic.b.eth1.driver"] == "veth"
    assert "gro" in record["environment"]["nic.b.eth1.offloads"].split()
    proof = proof_of(record)
    assert (proof["sent"], proof["lost"], proof["mtu"], proof["mtu_passes"]) == (200, 0, 1500, True)
    assert 0 < proof["rtt_min_us"] <= proof["rtt_p50_us"]
    for way in proof["ways"]:
        assert way["one_way_us"] + way["one_way_error_us"] > 0
        assert way["rate_bps"] > 0
    # One kernel has one clock, which both machines read.
    assert abs(proof["clock_offset_us"]) <= proof["clock_error_us"]
    for machine in desk.machines.values():
        assert machine.left() == []


def test_the_sides_of_a_comparison_take_turns_on_the_same_machines(desk: Desk) -> None:
    program = desk.folder / "gro.py"
    program.write_text(GRO)
    write(desk, "sides.yaml", SIDES.replace("PROGRAM", str(program)))
    before = desk.machines["b"].features()
    done = desk.perfcheck(
        "ab", "sides.yaml", "--a", "file", "--b", "ethtool b:-K eth1 gro off", "--json", "sides.jsonl"
    )  # fmt: skip
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    first, second = (json.loads(line) for line in (desk.folder / "sides.jsonl").read_text().splitlines())
    assert {trial["metrics"]["app.errors"] for trial in first["trials"]} == {1}
    assert {trial["metrics"]["app.errors"] for trial in second["trials"]} == {0}
    assert second["changed_conditions"]["hosts.b.settings[1]"] == ["", "ethtool -K eth1 gro off"]
    assert desk.machines["b"].features() == before


def test_times_of_a_machine_with_another_clock_are_by_ours(tmp_path_factory: pytest.TempPathFactory) -> None:
    with desk_with(tmp_path_factory.mktemp("ahead"), f"ahead={AHEAD_S}") as desk:
        record = record_of(desk, "asked", ASKED)
    proof = proof_of(record)
    assert abs(proof["clock_offset_us"] - AHEAD_S * 1e6) <= proof["clock_error_us"] < 1e6
    assert record["metrics"]["app.connections_per_s"]["value"] == pytest.approx(100, rel=0.1)
    assert record["metrics"]["app.requests_per_s"]["value"] == pytest.approx(100, rel=0.2)
    assert record["trials"][0]["traffic_s"] < 5


def test_events_of_both_machines_are_one_stream(desk: Desk) -> None:
    # One kernel has one clock for BPF programs, also where a time namespace has another one.
    record = record_of(desk, "told", TOLD, "--events", "told-events.jsonl")
    events = [json.loads(line) for line in (desk.folder / "told-events.jsonl").read_text().splitlines()]
    alerts = [event for event in events if event["type"] == "alert"]
    again = [event for event in alerts if event["metric"] == "tcp.retrans_segs"]
    assert {event["context"]["host"] for event in again} == {"a", "b"}
    # Beyond its budget a CPU counts events and does not tell them.
    share = sum(event["value"] for event in again) / record["metrics"]["tcp.retrans_segs"]["value"]
    assert 0.9 < share < 1.01
    times_ns = [event["timestamp_ns"] for event in alerts]
    assert times_ns == sorted(times_ns)
    dropped = {event["number"] for event in alerts if event["metric"].startswith("qdisc.drops")}
    led = [event for event in again if dropped & set(event["related"])]
    assert {event["context"]["host"] for event in led} == {"a", "b"}
    assert {event["flow"]["src_port"] for event in alerts if event["flow"]} & {22} == set()
