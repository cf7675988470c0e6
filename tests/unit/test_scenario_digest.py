"""Digests: what changes them, what must not, and the conditions between the two."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenario_texts import changed

from perfcheck.model.scenario import Scenario
from perfcheck.scenario import conditions, load_text

FULL = changed(
    ("  server: {}", "  server: {congestion: cubic, sysctl: {net.ipv4.tcp_rmem: 4096 131072 6291456}}"),
    ("    rate: 100mbit", "    rate: 100mbit\n    loss: 0.1%\n    seed: 7"),
)


def one(text: str) -> Scenario:
    """Read a file with a single scenario."""
    [scenario] = load_text(text, "x.yaml")
    return scenario


def digests(text: str) -> tuple[str, str]:
    """Return both digests of a file's only scenario."""
    scenario = one(text)
    return scenario.digest, scenario.workload_digest


def test_digests_are_16_hexadecimal_digits_and_differ() -> None:
    whole, workload = digests(FULL)
    assert re.fullmatch("[0-9a-f]{16}", whole)
    assert re.fullmatch("[0-9a-f]{16}", workload)
    assert whole != workload


def sha(facts: dict[str, str]) -> str:
    """Hash facts as the digests do, written out here a second time."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def test_the_canonical_form() -> None:
    # Baselines are stored under the second digest: a change of this form makes all of them useless.
    workload = {
        "hosts.client": "host",
        "hosts.server": "host",
        "links[0].between": "client server",
        "links[0].mtu": "1500",
        "traffic[0].iperf3.from": "client",
        "traffic[0].iperf3.to": "server",
        "traffic[0].iperf3.duration": "2s",
    }
    under_test = {
        "hosts.server.congestion": "cubic",
        "hosts.server.sysctl.net.ipv4.tcp_rmem": "4096 131072 6291456",
        "links[0].delay": "10ms",
        "links[0].rate": "100mbit",
        "links[0].queue": "1bdp",
        "links[0].loss": "0.1%",
        "links[0].seed": "7",
    }
    assert dict(conditions(one(FULL))) == under_test
    assert digests(FULL) == (sha(workload | under_test), sha({"scenario": "example"} | workload))


@pytest.mark.parametrize(
    "change",
    [
        ("scenario: example", "title: Another\ntags: [a]\nreference: X\nscenario: example"),
        ("<= 60ms", ">= 1us"),
        ("diagnosis: none", "diagnosis: bufferbloat\ntolerance: {tcp.rtt_us.p50: 9%}\nrepeat: 9"),
        ("delay: 10ms", "delay: 0.01s"),
        ("delay: 10ms", "delay: 10000us"),
        ("delay: 10ms", "forward: {delay: 10ms}\n    reverse: {delay: 10ms}"),
        ("delay: 10ms", "delay: 99ms\n    forward: {delay: 10ms}\n    reverse: {delay: 10ms}"),
        (
            "delay: 10ms",
            "delay: 10ms\n    jitter: 0ms\n    reorder: 0%\n    ecn: false\n    mtu: 1500\n    trace: null",
        ),
        ("loss: 0.1%", "loss: {p: 0.1%}"),
        ("queue: 1bdp", "queue: {size: 1bdp, discipline: drop-tail, target: 5ms}"),
        ("delay: 10ms", "delay: 10ms\n    jitter: {spread: 0ms, distribution: normal}"),
        ("4096 131072 6291456", '"4096   131072\\t6291456"'),
        ("duration: 2s", "duration: 2000ms, streams: 1, protocol: tcp"),
        ("hosts:", "measure: {layers: all, mode: summary}\nwarmup: 0s\nhosts:"),
    ],
)
def test_what_no_digest_depends_on(change: tuple[str, str]) -> None:
    assert digests(changed(change, text=FULL)) == digests(FULL)


@pytest.mark.parametrize(
    ("change", "condition"),
    [
        (("loss: 0.1%", "loss: 1%"), ("links[0].loss", "0.1%", "1%")),
        (("delay: 10ms", "delay: 13ms"), ("links[0].delay", "10ms", "13ms")),
        (("delay: 10ms", "reverse: {delay: 10ms}"), ("links[0].reverse.delay", None, "10ms")),
        (("rate: 100mbit", "rate: 95mbit"), ("links[0].rate", "100mbit", "95mbit")),
        (("queue: 1bdp", "queue: 64kib"), ("links[0].queue", "1bdp", "64kib")),
        (("queue: 1bdp", "queue: {size: 1bdp, discipline: codel}"), ("links[0].queue", "1bdp", "1bdp codel")),
        (("queue: 1bdp", "queue: {size: 9p, discipline: codel, target: 1ms}"),
         ("links[0].queue", "1bdp", "9p codel target=1ms interval=100ms")),
        (("seed: 7", "jitter: 2ms\n    seed: 7"), ("links[0].jitter", None, "2ms")),
        (("seed: 7", "jitter: {spread: 2ms, distribution: pareto}\n    seed: 7"),
         ("links[0].jitter", None, "2ms pareto")),
        (("seed: 7", "policer: {rate: 8mbit, burst: 64kb}\n    seed: 7"),
         ("links[0].policer", None, "8mbit burst=64kb")),
        (("seed: 7", "schedule: [{at: 1s, rate: 1mbit, delay: 5ms}, {at: 2s, loss: 3%}]\n    seed: 7"),
         ("links[0].schedule", None, "1s rate=1mbit delay=5ms; 2s loss=3%")),
        (("seed: 7", "seed: 8"), ("links[0].seed", "7", "8")),
        (("seed: 7", "emulator: relay\n    seed: 7"), ("links[0].emulator", None, "relay")),
        (("seed: 7", "ecn: true\n    seed: 7"), ("links[0].ecn", None, "true")),
        (("4096 131072 6291456", "4096 65536 65536"),
         ("hosts.server.sysctl.net.ipv4.tcp_rmem", "4096 131072 6291456", "4096 65536 65536")),
        (("congestion: cubic", "congestion: bbr"), ("hosts.server.congestion", "cubic", "bbr")),
        (("client: {}", "client: {cpus: [1, 0]}"), ("hosts.client.cpus", None, "0,1")),
        (("client: {}", "client: {setup: [nft list ruleset]}"), ("hosts.client.setup[0]", None, "nft list ruleset")),
        (("hosts:", "measure: {mode: detail}\nhosts:"), ("measure.mode", None, "detail")),
        (("hosts:", "measure: {layers: [tcp, app]}\nhosts:"), ("measure.layers", None, "app,tcp")),
    ],
)  # fmt: skip
def test_what_is_under_test_keeps_the_workload(
    change: tuple[str, str], condition: tuple[str, str | None, str]
) -> None:  # fmt: skip
    before, after = one(FULL), one(changed(change, text=FULL))
    assert after.workload_digest == before.workload_digest
    assert after.digest != before.digest
    key, old, new = condition
    assert conditions(before).get(key) == old
    assert conditions(after)[key] == new


@pytest.mark.parametrize(
    "change",
    [
        ("duration: 2s", "duration: 3s"),
        ("duration: 2s", "duration: 2s, streams: 2"),
        ("duration: 2s", "duration: 2s, congestion: bbr"),
        ("duration: 2s", "duration: 2s, reverse: true"),
        ("duration: 2s", "bytes: 5mb"),
        ("iperf3: {from: client, to: server, duration: 2s}", "command: {host: client, run: 'true'}"),
        ("hosts:", "warmup: 1s\nhosts:"),
        ("queue: 1bdp", "queue: 1bdp\n    mtu: 1400"),
        ("[client, server]", "[server, client]"),
        ("  client: {}", "  client: {}\n  third: {}"),
        ("  client: {}", "  client: {router: true}"),
    ],
)
def test_another_workload(change: tuple[str, str]) -> None:
    before, after = digests(FULL), digests(changed(change, text=FULL))
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_the_name_is_the_workloads() -> None:
    before, after = digests(FULL), digests(changed(("example", "renamed"), text=FULL))
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_each_point_of_a_matrix_has_its_own_digests() -> None:
    scenarios = load_text(
        FULL + "matrix:\n  links[0].delay: [5ms, 10ms]\n  server.congestion: [cubic, bbr]\n", "x.yaml"
    )
    assert len({scenario.digest for scenario in scenarios}) == 4
    assert len({scenario.workload_digest for scenario in scenarios}) == 4
    respelt = load_text(
        FULL + "matrix:\n  links.0.delay: [5ms, 10ms]\n  hosts.server.congestion: [cubic, bbr]\n", "x.yaml"
    )
    assert [scenario.workload_digest for scenario in respelt] == [scenario.workload_digest for scenario in scenarios]


def test_a_server_of_a_command_is_part_of_the_workload() -> None:
    command = ("iperf3: {from: client, to: server, duration: 2s}",
               "command: {host: client, run: curl, server: {host: server, run: httpd, port: 80}}")  # fmt: skip
    before = changed(command)
    assert digests(before)[1] != digests(changed(("port: 80", "port: 81"), text=before))[1]
    assert digests(before)[1] != digests(changed(("run: curl", "run: wget"), text=before))[1]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["loss: 0.1%", "delay: 10ms", "congestion: cubic", "seed: 7"]), unique=True))
def test_conditions_are_what_one_digest_has_and_the_other_has_not(dropped: list[str]) -> None:
    text = FULL
    for part in dropped:
        text = changed((f"    {part}\n", "") if f"    {part}\n" in text else (f"{part}, ", ""), text=text)
    full, less = one(FULL), one(text)
    assert full.workload_digest == less.workload_digest
    assert (full.digest == less.digest) == (dict(conditions(full)) == dict(conditions(less)))
