"""Mode cost: what it cannot measure is told at its key, and metrics of cost belong to it alone."""

from __future__ import annotations

from typing import Final

import pytest
from scenario_texts import changed

from perfcheck.scenario.checks import check
from perfcheck.scenario.cost import check_cost, is_cost_metric
from perfcheck.scenario.loader import load_text
from perfcheck.scenario.schema import json_schema
from perfcheck.scenario.yamltree import parse

COST: Final = """\
scenario: example
hosts:
  client: {}
  router: {router: true, nat: [server]}
  server: {sysctl: {net.ipv4.tcp_sack: 0}, setup: [nft add table inet t]}
links:
  - between: [client, router]
    mtu: 9000
  - between: [router, server]
    emulator: none
traffic:
  - load: {from: client, to: server, kind: stream, count: 100, size: 1kb}
measure: {mode: cost}
warmup: 0s
repeat: 3
"""


def mistakes(text: str) -> list[str]:
    return [f"{problem.path}: {problem.message}" for problem in check_cost(parse(text, "x.yaml"))]


def test_hosts_may_be_what_they_like_and_links_plain() -> None:
    assert mistakes(COST) == []
    (scenario,) = load_text(COST, "x.yaml")
    assert scenario.measure.mode == "cost"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("    mtu: 9000", "    jitter: 1ms", "links[0].jitter: mode: cost measures the path"),
        ("    mtu: 9000", "    reverse: {rate: 1mbit}", "links[0].reverse: mode: cost measures the path"),
        ("    mtu: 9000", "    schedule: [{at: 1s, rate: 1mbit}]", "links[0].schedule: mode: cost measures the path"),
        ("emulator: none", "emulator: netem", "links[1].emulator: mode: cost measures the path of plain links"),
        ("warmup: 0s", "warmup: 1s", "warmup: mode: cost runs each load once"),
        ("warmup: 0s", "phases: {a: 1s}", "phases: mode: cost counts instructions of whole runs; remove phases"),
        ("{mode: cost}", "{mode: cost, layers: [tcp]}", "measure.layers: mode: cost attaches no collector"),
        ("{mode: cost}", "{mode: cost, budget: 10%}", "measure.budget: mode: cost attaches no collector"),
        ("client: {}", "client: {cpus: [1]}", "hosts.client.cpus: a guest of mode: cost has one CPU; remove cpus"),
        ("  - load", "  - http: {from: client, to: server}\n  - load",
         "traffic[0].http: mode: cost measures traffic by load alone, not by http; write this entry as load"),
        ("  - load", "  - command: {host: client, run: sleep 1}\n  - load",
         "traffic[0].command: mode: cost measures traffic by load alone, not by command"),
        ("size: 1kb", "size: 1kb, background: true", "traffic[0].load.background: mode: cost counts all"),
        ("repeat: 3", "expect: {app.throughput_bps: '>= 1mbit'}",
         "expect.app.throughput_bps: mode: cost measures only cpu.insns_per_*; expect it of another scenario"),
        ("repeat: 3", "expect: {cpu.insns_per_request: '<= 1'}",
         "expect.cpu.insns_per_request: needs a load of kind requests, but this file has stream"),
        ("repeat: 3", "tolerance: {cpu.insns_per_connection@load-1: 1%}",
         "tolerance.cpu.insns_per_connection@load-1: needs a load of kind connections, but this file has stream"),
        ("repeat: 3", "expect: {diagnosis@load-1: none}", "expect.diagnosis@load-1: mode: cost makes no diagnosis"),
        ("repeat: 3", "tolerance: {tcp.rtt_us.p50@load-1: 5%}", "tolerance.tcp.rtt_us.p50@load-1: mode: cost"),
    ],
)  # fmt: skip
def test_what_it_cannot_measure_is_told_at_its_key(old: str, new: str, told: str) -> None:
    (mistake,) = mistakes(changed((old, new), text=COST))
    assert mistake.startswith(told)


@pytest.mark.parametrize(
    "block", ["expect: {cpu.insns_per_byte: '<= 3'}", "tolerance: {cpu.insns_per_byte@load-1: 1%}"]
)
def test_metrics_of_cost_belong_to_it_alone(block: str) -> None:
    text = changed(("repeat: 3", block), text=COST)
    assert mistakes(text) == []
    (mistake,) = mistakes(changed(("measure: {mode: cost}", "measure: {mode: summary}"), text=text))
    assert mistake.endswith(": is measured in guests of the kernel lab alone: set measure: {mode: cost}")
    assert "cpu.insns_per_byte" in mistake


def test_it_is_checked_with_the_rest_of_the_file() -> None:
    text = changed(("    mtu: 9000", "    delay: 1ms"), text=COST)
    assert [problem.path for problem in check(parse(text, "x.yaml"))] == ["links[0].delay"]


def test_names_of_other_metrics_are_not_its_own() -> None:
    assert is_cost_metric("cpu.insns_per_request@rpc")
    assert not is_cost_metric("cpu.busy_pct")


def test_the_schema_knows_the_mode() -> None:
    assert "cost" in json_schema()["$defs"]["Measure"]["properties"]["mode"]["enum"]
