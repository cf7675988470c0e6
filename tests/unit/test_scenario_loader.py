"""Reading scenario files: values, places, the matrix, folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from scenario_texts import VALID, changed, documents

from perfcheck.errors import ScenarioError, UsageError
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.scenario import find, is_scenario, load, load_all, load_text, read, read_text, same_names

SCENARIOS: Final = Path(__file__).parents[2] / "scenarios"

DESIGN: Final = """\
scenario: wan-bulk-download            # unique name
title: Bulk download over a 20 ms, 100 Mbit/s path
tags: [wan, bulk]
reference: TICKET-1234                 # optional
hosts:
  client: {}
  server:
    sysctl: {net.ipv4.tcp_congestion_control: cubic}
    setup: ["nft add table inet t"]
links:
  - between: [client, server]
    delay: 10ms
    jitter: 0ms
    rate: 100mbit
    queue: 1bdp
    loss: 0.1%
    reorder: 0%
    duplicate: 0%
    corrupt: 0%
    ecn: false
    seed: 7
    trace: null
traffic:
  - iperf3: {from: client, to: server, protocol: tcp, duration: 5s, streams: 1, reverse: false, congestion: cubic}
measure: {layers: all, mode: summary}  # summary | detail | both
repeat: 5
warmup: 1s
matrix: {server.sysctl.net.ipv4.tcp_congestion_control: [cubic, bbr]}
expect:
  tcp.rtt_us.p99: "<= 60ms"
  tcp.retrans_pct: "<= 0.5"
  app.throughput_bps: ">= 85mbit"
  diagnosis: none                      # or a cause's name
tolerance:                             # against a baseline; a default per metric exists
  tcp.rtt_us.p50: 5%
"""


def write(folder: Path, **texts: str) -> None:
    """Write files named by keyword, each with the suffix .yaml."""
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def test_every_key_of_the_design_is_read() -> None:
    cubic, bbr = load_text(DESIGN, "scenarios/wan.yaml")
    assert (cubic.label, bbr.label) == (
        "wan-bulk-download[tcp_congestion_control=cubic]",
        "wan-bulk-download[tcp_congestion_control=bbr]",
    )
    assert bbr.point == (("server.sysctl.net.ipv4.tcp_congestion_control", "bbr"),)
    assert bbr.hosts["server"].sysctl == {"net.ipv4.tcp_congestion_control": "bbr"}
    assert cubic.hosts["server"].sysctl == {"net.ipv4.tcp_congestion_control": "cubic"}
    assert cubic.hosts["server"].setup == ("nft add table inet t",)
    assert (cubic.file, cubic.title, cubic.tags) == (
        "scenarios/wan.yaml",
        "Bulk download over a 20 ms, 100 Mbit/s path",
        ("wan", "bulk"),
    )
    assert (cubic.reference, cubic.repeat, cubic.warmup_ns) == ("TICKET-1234", 5, 10**9)
    [link] = cubic.links
    assert (link.between, link.delay_ns, link.direction("forward").jitter_ns, link.rate_bps) == (
        ("client", "server"),
        10**7,
        0,
        10**8,
    )
    assert link.queue is not None
    assert link.loss is not None
    assert (link.queue.size.bdp, link.loss.p_pct, link.loss.model) == (1.0, 0.1, "random")
    assert (link.ecn, link.seed, link.trace, link.mtu) == (False, 7, None, 1500)
    traffic = cubic.traffic[0].iperf3
    assert traffic is not None
    assert (traffic.from_host, traffic.to_host, traffic.protocol) == ("client", "server", "tcp")
    assert (traffic.duration_ns, traffic.streams, traffic.reverse, traffic.congestion) == (5 * 10**9, 1, False, "cubic")
    assert (cubic.measure.layers, cubic.measure.mode) == ("all", "summary")
    assert [(line.metric, line.operator, line.threshold, line.text) for line in cubic.expect] == [
        ("tcp.rtt_us.p99", "<=", 60_000.0, "<= 60ms"),
        ("tcp.retrans_pct", "<=", 0.5, "<= 0.5"),
        ("app.throughput_bps", ">=", 85e6, ">= 85mbit"),
    ]
    assert cubic.expected_cause == "healthy"
    assert cubic.tolerance_pct == {"tcp.rtt_us.p50": 5.0}


def test_the_smallest_file_has_the_defaults() -> None:
    [scenario] = load_text(VALID, "x.yaml")
    assert (scenario.label, scenario.point, scenario.repeat, scenario.warmup_ns) == ("example", (), 5, 0)
    assert (scenario.title, scenario.tags, scenario.reference, scenario.tolerance_pct) == ("", (), None, {})


@settings(max_examples=100, deadline=None)
@given(documents())
def test_a_generated_file_is_read_to_its_values(drawn: tuple[str, dict[str, Any]]) -> None:
    text, expected = drawn
    [scenario] = load_text(text, "x.yaml")
    first, second = (traffic.iperf3 for traffic in scenario.traffic)
    assert first is not None
    assert second is not None
    host = scenario.hosts[expected["hosts"][0]]
    assert {
        "name": scenario.name, "title": scenario.title, "hosts": list(scenario.hosts),
        "delay_ns": scenario.links[0].delay_ns, "rate_bps": scenario.links[0].rate_bps,
        "loss_pct": scenario.links[0].loss.mean_pct if scenario.links[0].loss else None,
        "duration_ns": first.duration_ns, "streams": first.streams, "seed": scenario.links[-1].seed,
        "repeat": scenario.repeat, "metric": scenario.expect[0].metric, "operator": scenario.expect[0].operator,
        "threshold": scenario.expect[0].threshold, "congestion": host.congestion,
        "rmem": host.sysctl["net.ipv4.tcp_rmem"], "background": second.background,
    } == expected  # fmt: skip
    assert scenario.tolerance_pct == {expected["metric"]: 7.5}
    assert len(scenario.links) == len(expected["hosts"]) - 1


@pytest.mark.parametrize(
    ("text", "cause"), [("none", "healthy"), ("healthy", "healthy"), ("bufferbloat", "bufferbloat")]
)
def test_the_diagnosis(text: str, cause: str) -> None:
    [scenario] = load_text(changed(("diagnosis: none", f"diagnosis: {text}")), "x.yaml")
    assert scenario.expected_cause == cause
    [without] = load_text(changed(("  diagnosis: none\n", "")), "x.yaml")
    assert without.expected_cause is None


def test_lines_of_keys() -> None:
    file = read_text(DESIGN, "x.yaml")
    assert file.line_of("expect.tcp.retrans_pct") == 31
    assert file.line_of("expect.diagnosis") == 33
    assert file.line_of("hosts.server.sysctl.net.ipv4.tcp_congestion_control") == 8
    assert file.line_of("links[0].delay") == 12
    assert file.line_of("links[0].mtu") == 11, "where a key is not given, the block that could have it"
    assert file.line_of("tolerance.tcp.rtt_us.p99") == 34
    assert file.line_of("nowhere") == 1
    assert file.name == "wan-bulk-download"


def test_anchors_aliases_and_merges() -> None:
    text = changed(
        ("  - between: [client, server]\n", "  - &wan\n    between: [client, middle]\n    mtu: 1400\n"),
        ("traffic:", "  - {<<: *wan, between: [middle, server], delay: 20ms}\ntraffic:"),
        ("  server: {}\n", "  server: &host {congestion: bbr}\n  middle: {<<: [*host], router: true}\n"),
    )
    [scenario] = load_text(text, "x.yaml")
    first, second = scenario.links
    assert (first.delay_ns, second.delay_ns) == (10_000_000, 20_000_000)
    assert (second.between, second.mtu, second.rate_bps) == (("middle", "server"), 1400, 100_000_000)
    assert (scenario.hosts["middle"].congestion, scenario.hosts["middle"].router) == ("bbr", True)


@pytest.mark.parametrize("prefix", ["\ufeff", "%YAML 1.1\n---\n", "---\n", "# a comment\n\n"])
def test_harmless_beginnings(prefix: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(prefix + VALID, encoding="utf-8")
    assert load(path)[0].name == "example"
    assert load_text(VALID.replace("\n", "\r\n"), "x.yaml") == load_text(VALID, "x.yaml")


def test_quoted_and_block_scalars_are_text() -> None:
    [scenario] = load_text(
        changed(("scenario: example", 'scenario: example\ntitle: "5"\nreference: |-\n  12')), "x.yaml"
    )
    assert (scenario.title, scenario.reference) == ("5", "12")


# The matrix.


def points(matrix: str, text: str = VALID) -> list[tuple[tuple[str, str], ...]]:
    """Return the points that a matrix makes."""
    return [scenario.point for scenario in load_text(f"{text}matrix:\n{matrix}", "x.yaml")]


def test_the_last_key_varies_fastest() -> None:
    found = points("  links[0].delay: [5ms, 10ms]\n  server.congestion: [cubic, bbr]\n")
    assert found == [
        (("links[0].delay", delay), ("server.congestion", congestion))
        for delay in ("5ms", "10ms")
        for congestion in ("cubic", "bbr")
    ]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("links.0.loss", "links[0].loss"),
        ("links[0].forward.loss", "links[0].forward.loss"),
        ("hosts.server.sysctl.net.ipv4.tcp_rmem", "server.sysctl.net.ipv4.tcp_rmem"),
    ],
)
def test_a_key_has_one_name_however_it_is_written(written: str, name: str) -> None:
    assert points(f"  {written}: [1%]\n") == [((name, "1%"),)]


def test_values_reach_what_the_file_does_not_set() -> None:
    text = VALID + "matrix:\n  links[0].reverse.loss: [2%]\n  client.sysctl.net.ipv4.tcp_sack: [0, 1]\n"
    for number, scenario in enumerate(load_text(text, "x.yaml")):
        loss = scenario.links[0].direction("reverse").loss
        assert loss is not None
        assert loss.mean_pct == 2.0
        assert scenario.links[0].direction("forward").loss is None
        assert scenario.hosts["client"].sysctl == {"net.ipv4.tcp_sack": number}


def test_numbers_and_booleans_vary() -> None:
    text = VALID + "matrix:\n  traffic[0].iperf3.streams: [1, 8]\n  traffic.0.iperf3.nodelay: [false, true]\n"
    found = [scenario.traffic[0].iperf3 for scenario in load_text(text, "x.yaml")]
    assert [(spec.streams, spec.nodelay) for spec in found if spec] == [(1, False), (1, True), (8, False), (8, True)]


def test_a_host_may_be_called_as_a_block() -> None:
    text = changed(("client", "links"), ("client", "links"), ("client", "links"))
    assert points("  hosts.links.congestion: [bbr]\n  links[0].mtu: [1400]\n", text) == [
        (("hosts.links.congestion", "bbr"), ("links[0].mtu", "1400"))
    ]


def test_at_most_64_points() -> None:
    seeds = ", ".join(str(number) for number in range(64))
    assert len(points(f"  links[0].seed: [{seeds}]\n")) == 64
    with pytest.raises(ScenarioError, match="at most 64 combinations, got 65"):
        points(f"  links[0].seed: [{seeds}, 64]\n")


# Files and folders.


def test_what_is_a_scenario(tmp_path: Path) -> None:
    write(
        tmp_path,
        plain=VALID,
        broken="title: x\nscenario: broken\n\tbad: tab\n",
        flow="{scenario: x, hosts: {}}",
        quoted='"scenario": x\n',
        other="name: x\nvalue: {scenario: inner}\n",
        listed="- scenario: x\n",
        text="the scenario: is in a text\n",
        words="a scenario of words",
        empty="",
        broken_other="title: [\n",
        nested="jobs:\n  scenario: x\n",
    )
    (tmp_path / "binary.yaml").write_bytes(b"\x00\xff\xfe" * 50)
    (tmp_path / "latin.yaml").write_bytes("scenario: caf\xe9\n".encode("latin-1"))
    found = {path.stem for path in tmp_path.glob("*.yaml") if is_scenario(path)}
    assert found == {"plain", "broken", "flow", "quoted", "latin"}
    assert not is_scenario(tmp_path)
    assert not is_scenario(tmp_path / "missing.yaml")


def test_finding_files(tmp_path: Path) -> None:
    write(tmp_path, b=VALID, a=VALID, other="name: x\n")
    (tmp_path / "deep" / ".hidden").mkdir(parents=True)
    write(tmp_path / "deep", c=VALID)
    write(tmp_path / "deep" / ".hidden", d=VALID)
    (tmp_path / "e.yml").write_text(VALID, encoding="utf-8")
    names = [str(path.relative_to(tmp_path)) for path in find([tmp_path])]
    assert names == ["a.yaml", "b.yaml", "deep/c.yaml"]
    named = [tmp_path / "other.yaml", tmp_path / "b.yaml", tmp_path]
    assert [path.name for path in find(named)] == ["other.yaml", "b.yaml", "a.yaml", "c.yaml"]
    assert find([tmp_path / "deep" / ".." / "a.yaml", tmp_path / "a.yaml"]) == (tmp_path / "deep" / ".." / "a.yaml",)
    with pytest.raises(UsageError, match=r"no such file or folder: .*missing"):
        find([tmp_path / "missing"])


def test_loading_a_folder_tells_the_mistakes_of_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, a=VALID, b=changed(("10ms", "10")), c=changed(("100mbit", "100")))
    with pytest.raises(ScenarioError) as caught:
        load_all([Path()])
    assert [problem.file for problem in caught.value.problems] == ["b.yaml", "c.yaml"]


def test_a_name_is_used_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, a=VALID, b=f"# second\n{VALID}", c=changed(("example", "another")))
    with pytest.raises(ScenarioError) as caught:
        load_all([Path()])
    assert str(caught.value) == (
        "b.yaml:2:1: scenario: duplicate name 'example', first in a.yaml:1; each scenario needs its own name"
    )
    assert same_names([read(Path("a.yaml")), read(Path("c.yaml"))]) == []


# The shipped scenarios.


def test_the_shipped_scenarios() -> None:
    files = load_all([SCENARIOS])
    names = {file.name for file in files}
    assert {"lan-bulk", "wan-bulk-20ms", "lossy-1pct", "long-fat-pipe"} <= names
    assert {"bufferbloat-fifo", "small-rmem", "many-flows", "udp-voice"} <= names
    for file in files:
        path = Path(file.file)
        # Names of scenarios are unique, so those of a folder begin with the folder's.
        assert file.name == (path.stem if path.parent == SCENARIOS else f"{path.parent.name}-{path.stem}")
    assert any(scenario.reference for file in files for scenario in file.scenarios)


def test_the_shipped_scenarios_are_short_and_within_what_the_relay_carries() -> None:
    traffic_ns = 0
    for file in load_all([SCENARIOS]):
        for scenario in file.scenarios:
            assert scenario.title
            assert scenario.tags
            if scenario.measure.mode == "cost":
                continue
            assert scenario.expect
            # A short connection ends before its warm-up would be over.
            assert scenario.warmup_ns > 0 or {entry.generator for entry in scenario.traffic} == {"connections"}
            durations = [getattr(entry.spec, "duration_ns", None) or 0 for entry in scenario.traffic]
            assert all(durations)
            traffic_ns += scenario.repeat * max(durations)
            assert all(
                (link.direction(way).rate_bps or 0) <= 200_000_000
                for link in scenario.links
                for way in ("forward", "reverse")
            )
            assert all(line.metric in CATALOGUE for line in scenario.expect)
    assert traffic_ns < 130 * 10**9


def test_the_shipped_scenarios_of_cost_are_eight_loads() -> None:
    files = load_all([SCENARIOS / "cost"])
    assert len(files) == 8
    kinds = set()
    for file in files:
        (scenario,) = file.scenarios
        (entry,) = scenario.traffic
        assert scenario.measure.mode == "cost"
        assert scenario.tags == ("cost",)
        assert entry.load is not None
        kinds.add(entry.load.kind)
    assert kinds == {"stream", "requests", "connections", "datagrams"}


def test_a_path_that_never_ends_is_refused() -> None:
    with pytest.raises(ScenarioError, match="not a regular file"):
        read(Path("/dev/zero"))
