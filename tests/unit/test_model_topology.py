"""The ways of a scenario's traffic: round trips and bottlenecks on paths that are, or are not, the same both ways."""

from __future__ import annotations

from perfcheck.model.scenario import Scenario
from perfcheck.model.topology import Hop, base_rtt_ns, bottleneck, measured_paths
from perfcheck.scenario import load_text

MS = 1_000_000
ROUND = """
scenario: round
hosts:
  client: {via: {server: up}}
  up: {router: true}
  down: {router: true}
  server: {via: {client: down}}
links:
  - {between: [client, up], delay: 3ms, rate: 50mbit}
  - {between: [server, up], delay: 1ms, forward: {rate: 1mbit}, reverse: {rate: 20mbit}}
  - {between: [server, down], delay: 20ms, rate: 2mbit}
  - {between: [down, client], forward: {delay: 7ms}, reverse: {delay: 500ms}}
traffic:
  - TRAFFIC
"""


def scenario(traffic: str, text: str = ROUND) -> Scenario:
    (found,) = load_text(text.replace("TRAFFIC", traffic), "x.yaml")
    return found


def test_the_round_trip_goes_over_both_ways() -> None:
    found = scenario("iperf3: {from: client, to: server}")
    (path,) = measured_paths(found)
    assert path.hops == (Hop(link=0, directions=("forward",)), Hop(link=1, directions=("reverse",)))
    assert path.back == (Hop(link=2, directions=("forward",)), Hop(link=3, directions=("forward",)))
    assert base_rtt_ns(found, path) == (3 + 1 + 20 + 7) * MS
    slowest = bottleneck(found, path)
    assert slowest is not None
    assert (slowest.link, slowest.direction, slowest.rate_bps) == (1, "reverse", 20_000_000)


def test_a_download_has_its_data_on_the_other_way() -> None:
    found = scenario("iperf3: {from: client, to: server, reverse: true}")
    (path,) = measured_paths(found)
    slowest = bottleneck(found, path)
    assert slowest is not None
    assert (slowest.link, slowest.rate_bps) == (2, 2_000_000)
    assert base_rtt_ns(found, path) == 31 * MS


def test_a_path_that_is_the_same_both_ways_has_no_way_back_of_its_own() -> None:
    text = ROUND.replace("{via: {server: up}}", "{}").replace("{via: {client: down}}", "{}")
    found = scenario("iperf3: {from: client, to: server}", text)
    (path,) = measured_paths(found)
    assert (path.hops, path.back) == ((Hop(link=0, directions=("forward",)), Hop(link=1, directions=("reverse",))), ())
    assert base_rtt_ns(found, path) == 8 * MS


def test_a_commands_way_carries_data_both_ways() -> None:
    text = ROUND.replace("{via: {server: up}}", "{}").replace("{via: {client: down}}", "{}")
    command = "command: {host: client, run: 'true', server: {host: server, run: 'true', port: 80}}"
    (path,) = measured_paths(scenario(command, text))
    assert path.hops == tuple(Hop(link=index, directions=("forward", "reverse")) for index in (0, 1))


def test_a_policer_is_a_bottleneck_and_a_rate_that_changes_is_none() -> None:
    text = ROUND.replace("{via: {server: up}}", "{}").replace("{via: {client: down}}", "{}")
    upload = "iperf3: {from: client, to: server}"

    def found(change: str) -> int | None:
        made = scenario(upload, text.replace("delay: 3ms, rate: 50mbit", f"delay: 3ms, rate: 50mbit, {change}"))
        (path,) = measured_paths(made)
        slowest = bottleneck(made, path)
        return None if slowest is None else slowest.rate_bps

    assert found("policer: {rate: 8mbit, burst: 64kb}") == 8_000_000
    assert found("schedule: [{at: 0s, rate: 5mbit}, {at: 1s, delay: 9ms}]") == 5_000_000
    assert found("schedule: [{at: 1s, rate: 5mbit}]") is None
    assert found("reverse: {schedule: [{at: 1s, rate: 5mbit}]}") == 20_000_000
    assert found("trace: lte.trace") is None
