"""Interventions: the file that ships, located mistakes, and for each cause what it changes in a scenario."""

from __future__ import annotations

from typing import Any

import pytest

from perfcheck.confirm import CannotRelieve, Relief, read_interventions, relieved, shipped_interventions
from perfcheck.errors import RuleError
from perfcheck.model.causes import CAUSES
from perfcheck.model.scenario import Scenario
from perfcheck.testing import make_scenario

LINK = {"between": ["client", "server"], "delay": "10ms", "rate": "100mbit", "queue": "1bdp"}
BULK = {"iperf3": {"from": "client", "to": "server", "duration": "1s"}}


def relief_of(cause: str, scenario: Scenario, entry: str | None = None) -> Relief:
    return relieved(scenario, shipped_interventions()[cause], entry=entry, line_of=lambda _: 7)


def told(found: Relief) -> list[str]:
    return [f"{change.where}: {change.before} -> {change.after}" for change in found.changes]


def with_link(**keys: Any) -> Scenario:
    return make_scenario(links=[{**LINK, **keys}])


def test_each_cause_that_names_a_limit_has_an_entry() -> None:
    assert set(shipped_interventions()) == set(CAUSES) - {"healthy", "unknown"}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{cause: rain, cannot: it rains}", "x.yaml:2:25: interventions[0].cause: 'rain' is not a cause"),
        ("{cause: jitter, steps: [{link: jitter}], moves: []}", "x.yaml:2:41: interventions[0].steps[0]: a link needs"),
        (
            "{cause: jitter, steps: [{link: loss, to: none, rules: random}], moves: []}",
            "interventions[0].steps[0]: expected exactly one of sysctl, link",
        ),
        ("{cause: jitter, steps: [], moves: [{metric: app.rain, rises_pct: 1}]}", "unknown metric 'app.rain'"),
        ("{cause: jitter, moves: [{metric: app.errors}]}", "expected either rises_pct or falls_pct"),
        ("{cause: jitter}", "expected steps and moves, or cannot"),
        ("{cause: jitter, cannot: a}, {cause: jitter, cannot: b}", "duplicate cause 'jitter'"),
        ("{cause: jitter, cannot: a, colour: red}", "interventions[0].colour"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_told_with_its_place(entry: str, message: str) -> None:
    with pytest.raises(RuleError) as wrong:
        read_interventions("x.yaml", f"schema: 1\ninterventions: [{entry}]\n")
    assert message in str(wrong.value)
    assert str(wrong.value).startswith("x.yaml:2:")


def test_what_is_no_yaml_is_told_with_its_place() -> None:
    with pytest.raises(RuleError, match=r"x\.yaml:1:"):
        read_interventions("x.yaml", "schema: [")


@pytest.mark.parametrize(
    ("cause", "scenario", "changes"),
    [
        ("random_loss", with_link(loss="1%"), ["links[0].loss: 1% -> none"]),
        ("random_loss", with_link(reverse={"loss": "2%"}), ["links[0].reverse.loss: 2% -> none"]),
        ("random_loss", with_link(corrupt="1%"), ["links[0].corrupt: 1 % -> none"]),
        (
            "random_loss", with_link(schedule=[{"at": "1s", "loss": "5%"}]),
            ["links[0].schedule[].loss: changes -> none"],
        ),
        ("random_loss", with_link(), []),
        ("queue_overflow", with_link(queue="10p"), ["links[0].queue: 10p -> 40p"]),
        ("queue_overflow", with_link(), ["links[0].queue: 1bdp -> 4bdp"]),
        ("policer", with_link(policer={"rate": "10mbit", "burst": "64kb"}), ["links[0].policer: set -> none"]),
        ("shaper", with_link(), []),
        (
            "shaper", with_link(schedule=[{"at": "1s", "rate": "5mbit"}, {"at": "2s", "delay": "20ms"}]),
            ["links[0].schedule[].slowdown: changes -> none"],
        ),
        ("bufferbloat", with_link(queue="4bdp"), ["links[0].queue: 4bdp -> 0.4bdp"]),
        ("path_latency", with_link(), ["links[0].delay: 10 ms -> 2.5 ms"]),
        ("bufferbloat", with_link(queue="20p"), ["links[0].queue: 20p -> 3p"]),
        ("bufferbloat", with_link(queue="9000p"), ["links[0].queue: 9000p -> 165p"]),
        ("bufferbloat", with_link(queue="90mb"), ["links[0].queue: 90 MB -> 250 kB"]),
        ("bufferbloat", with_link(queue="20kb"), ["links[0].queue: 20 kB -> 4.542 kB"]),
        ("jitter", with_link(jitter="5ms"), ["links[0].jitter: 5 ms -> none"]),
        ("reordering", with_link(reorder="1%"), ["links[0].reorder: 1 % -> none"]),
    ],
)  # fmt: skip
def test_a_link_is_relieved_of_the_one_thing(cause: str, scenario: Scenario, changes: list[str]) -> None:
    found = relief_of(cause, scenario)
    assert told(found) == changes
    assert found.scenario.traffic == scenario.traffic
    assert found.scenario.hosts == scenario.hosts
    if not changes:
        assert found.scenario == scenario


def test_a_shortened_queue_in_a_host_holds_no_more_than_the_path() -> None:
    assert relief_of("bufferbloat", with_link()).most_queue_bytes == 250_000
    assert relief_of("queue_overflow", with_link()).most_queue_bytes is None
    assert relief_of("bufferbloat", make_scenario(links=[{"between": ["client", "server"]}])).most_queue_bytes is None


def test_the_directions_follow_the_relieved_link() -> None:
    found = relief_of("random_loss", with_link(loss="1%", reverse={"loss": "2%"})).scenario.links[0]
    assert [each.loss_pct for each in found.directions] == [0, 0]
    assert [each.rate_bps for each in found.directions] == [100_000_000] * 2


def test_marks_are_taken_from_links_and_hosts() -> None:
    found = relief_of("ecn_marking", with_link(ecn=True))
    assert told(found)[0] == "links[0].ecn: true -> none"
    assert {spec.sysctl["net.ipv4.tcp_ecn"] for spec in found.scenario.hosts.values()} == {"0"}


def test_a_delay_stays_as_long_as_it_varies() -> None:
    found = relief_of("path_latency", with_link(jitter="8ms")).scenario.links[0].directions[0]
    assert (found.delay_ns, found.jitter_ns) == (8_000_000, 8_000_000)
    found = relief_of("path_latency", with_link(jitter="1ms")).scenario.links[0].directions[0]
    assert (found.delay_ns, found.jitter_ns) == (2_500_000, 1_000_000)


def test_a_queue_in_bdps_stays_as_long_where_the_delay_becomes_shorter() -> None:
    before = with_link(queue="4bdp").links[0].directions
    after = relief_of("path_latency", with_link(queue="4bdp")).scenario.links[0].directions
    assert [each.queue_bytes for each in after] == [each.queue_bytes for each in before] == [1_000_000] * 2
    one = relief_of("path_latency", with_link(reverse={"queue": "2bdp"})).scenario.links[0].directions
    assert [each.queue_bytes for each in one] == [250_000, 500_000]


def test_a_delay_that_goes_up_and_down_varies_and_one_that_only_changes_does_not() -> None:
    up, down = {"at": "500ms", "delay": "30ms"}, {"at": "700ms", "delay": "10ms", "loss": "1%"}
    found = relief_of("jitter", with_link(schedule=[up, down]))
    assert told(found) == ["links[0].schedule[].delay: changes -> none"]
    (left,) = found.scenario.links[0].schedule or ()
    assert (left.delay_ns, left.loss is not None) == (None, True)
    assert told(relief_of("jitter", with_link(schedule=[up]))) == []
    assert relief_of("jitter", with_link(schedule=[up, {**down, "loss": None}])).scenario.links[0].schedule is None


def test_marks_go_with_the_losses_that_they_stand_for() -> None:
    found = relief_of("ecn_marking", with_link(ecn=True, loss="2%"))
    assert told(found)[:2] == ["links[0].ecn: true -> none", "links[0].loss: 2% -> none"]
    assert found.scenario.links[0].directions[0].loss_pct == 0


def test_a_link_that_becomes_slower_stays_as_fast_as_it_begins() -> None:
    slower = [{"at": "1s", "rate": "5mbit"}, {"at": "2s", "rate": "50mbit", "delay": "20ms"}]
    found = relief_of("shaper", with_link(reverse={"schedule": slower}))
    assert told(found) == ["links[0].reverse.schedule[].slowdown: changes -> none"]
    forward, reverse = found.scenario.links[0].directions
    assert (forward.rate_bps, reverse.rate_bps) == (100_000_000, 100_000_000)
    assert [(step.rate_bps, step.delay_ns) for step in reverse.schedule or ()] == [(None, 20_000_000)]


@pytest.mark.parametrize("cause", ["jitter", "reordering"])
def test_what_a_program_on_a_router_does_to_packets_goes_with_it(cause: str) -> None:
    program = {"host": "mid", "run": "sleep 1", "background": True}
    scenario = make_scenario(
        hosts={"client": {}, "mid": {"router": True}, "server": {}},
        links=[{"between": ["client", "mid"]}, {"between": ["mid", "server"]}],
        traffic=[BULK, {"command": program}, {"command": {**program, "host": "server"}}],
    )  # fmt: skip
    assert told(relief_of(cause, scenario)) == ["traffic.command-2: command -> left out"]


def test_only_the_slowest_link_is_changed_where_the_bottleneck_is_meant() -> None:
    scenario = make_scenario(
        hosts={"client": {}, "mid": {"router": True}, "server": {}},
        links=[
            {"between": ["client", "mid"], "rate": "100mbit", "queue": "50p"},
            {"between": ["mid", "server"], "rate": "10mbit", "queue": "50p"},
        ],
    )  # fmt: skip
    assert told(relief_of("queue_overflow", scenario)) == ["links[1].queue: 50p -> 200p"]


def test_a_link_that_none_could_carry_is_told_with_its_line() -> None:
    scenario = make_scenario(links=[{**LINK, "delay": "900ms", "rate": "3gbit", "queue": "200mb"}])
    with pytest.raises(CannotRelieve, match=r"^scenarios/example\.yaml:7:1: links\[0\]\.queue: "):
        relief_of("queue_overflow", scenario)


def test_the_receivers_buffer_is_raised_and_written_again_after_setup() -> None:
    setup = "sysctl -w net.ipv4.tcp_rmem='4096 8192 8192'"
    scenario = make_scenario(hosts={
        "client": {}, "server": {"sysctl": {"net.ipv4.tcp_rmem": "4096 65536 65536"}, "setup": [setup]},
    })  # fmt: skip
    found = relief_of("receive_window", scenario)
    server, client = (found.scenario.hosts[name] for name in ("server", "client"))
    assert told(found)[0] == "hosts.server.sysctl.net.ipv4.tcp_rmem: 4096 65536 65536 -> 4096 8388608 8388608"
    assert server.setup[:2] == (setup, "sysctl -q -w 'net.ipv4.tcp_rmem=4096 8388608 8388608'")
    assert "net.ipv4.tcp_rmem" not in client.sysctl
    assert client.setup == ()


def test_a_buffer_holds_four_times_what_a_long_path_does() -> None:
    scenario = with_link(delay="100ms", rate="1gbit")
    found = relief_of("send_buffer", scenario).scenario
    assert found.hosts["client"].sysctl["net.ipv4.tcp_wmem"] == "4096 100000000 100000000"
    assert "net.ipv4.tcp_wmem" not in found.hosts["server"].sysctl


def test_a_download_has_its_sender_at_the_other_end() -> None:
    scenario = make_scenario(traffic=[{"iperf3": {**BULK["iperf3"], "reverse": True}}])
    assert "net.ipv4.tcp_wmem" in relief_of("send_buffer", scenario).scenario.hosts["server"].sysctl
    assert "net.ipv4.tcp_rmem" in relief_of("receive_window", scenario).scenario.hosts["client"].sysctl


@pytest.mark.parametrize(
    ("cause", "reverse", "kept", "relieved_host"),
    [
        ("receive_window", False, ("client", "net.ipv4.tcp_wmem"), ("server", "net.ipv4.tcp_rmem")),
        ("send_buffer", False, ("server", "net.ipv4.tcp_rmem"), ("client", "net.ipv4.tcp_wmem")),
        ("send_buffer", True, ("client", "net.ipv4.tcp_rmem"), ("server", "net.ipv4.tcp_wmem")),
    ],
)
def test_of_buffers_that_the_traffic_fixes_only_one_sides_are_relieved(
    cause: str, reverse: bool, kept: tuple[str, str], relieved_host: tuple[str, str]
) -> None:
    scenario = make_scenario(traffic=[{"iperf3": {**BULK["iperf3"], "window": "64kb", "reverse": reverse}}])
    found = relief_of(cause, scenario)
    assert told(found)[:2] == [
        "traffic[0].iperf3.window: 64,000 bytes -> none",
        f"hosts.{kept[0]}.sysctl.{kept[1]}: not set -> 4096 128000 128000",
    ]
    assert found.scenario.traffic[0].iperf3 is not None
    assert found.scenario.traffic[0].iperf3.window_bytes is None
    host, key = relieved_host
    assert found.scenario.hosts[host].sysctl[key] == "4096 8388608 8388608"


def test_fixed_buffers_are_not_relieved_where_other_traffic_would_get_what_is_kept() -> None:
    fixed = {"iperf3": {**BULK["iperf3"], "window": "64kb"}}
    other = {"http": {"from": "server", "to": "client", "background": True}}
    scenario = make_scenario(traffic=[fixed, other])
    with pytest.raises(CannotRelieve, match=r"^scenarios/example\.yaml:7:1: traffic\[0\]\.iperf3\.window: fixes both"):
        relief_of("receive_window", scenario)


def test_a_cause_that_cannot_be_relieved_says_why() -> None:
    text = "schema: 1\ninterventions: [{cause: jitter, cannot: it is the weather}]"
    (never,) = read_interventions("x", text).values()
    with pytest.raises(CannotRelieve, match="it is the weather"):
        relieved(make_scenario(), never)


def test_a_transfer_takes_the_place_of_a_program_that_has_a_server() -> None:
    server = {"host": "server", "run": "sink", "port": 9000}
    program = {"host": "client", "run": "source", "family": "ipv4", "server": server}
    other = {"command": {**program, "background": True}}
    scenario = make_scenario(traffic=[{"name": "own", "command": program}, other])
    found = relief_of("slow_reader", scenario)
    assert told(found) == ["traffic[0].command: a program -> iperf3"]
    replaced, left = found.scenario.traffic
    assert (replaced.name, replaced.generator, left.generator) == ("own", "iperf3", "command")
    assert replaced.iperf3 is not None
    assert (replaced.iperf3.from_host, replaced.iperf3.to_host) == ("client", "server")
    alone = make_scenario(traffic=[{"command": {"host": "client", "run": "true"}}])
    assert told(relief_of("slow_reader", alone)) == told(relief_of("slow_reader", make_scenario())) == []


def test_a_transfer_goes_the_way_that_the_programs_data_went() -> None:
    server = {"host": "server", "run": "source", "port": 9000}
    scenario = make_scenario(traffic=[{"name": "own", "command": {"host": "client", "run": "sink", "server": server}}])
    known = shipped_interventions()["slow_reader"]
    up, down = (relieved(scenario, known, downloads=names).scenario.traffic[0].iperf3 for names in ((), ("own",)))
    assert up is not None
    assert down is not None
    assert (up.reverse, down.reverse) == (False, True)
    assert (down.from_host, down.to_host) == ("client", "server")


def test_datagrams_come_twice_as_fast_where_the_path_carries_that() -> None:
    def faster(rate: str | None) -> list[str]:
        asked = {**BULK["iperf3"], "protocol": "udp", **({"rate": rate} if rate else {})}
        return told(relief_of("application_limited", make_scenario(traffic=[{"iperf3": asked}], links=[LINK])))

    assert faster("20mbit") == ["traffic[0].iperf3.rate: 20,000,000 -> 40,000,000"]
    assert faster(None) == ["traffic[0].iperf3.rate: 1,000,000 -> 2,000,000"]
    assert faster("80mbit") == []


def test_other_measured_traffic_competes_with_the_entry_that_is_tested() -> None:
    scenario = make_scenario(traffic=[BULK, BULK])
    assert told(relief_of("cross_traffic", scenario)) == []
    assert told(relief_of("cross_traffic", scenario, "iperf3-1")) == ["traffic.iperf3-2: iperf3 -> left out"]


def test_background_traffic_is_left_out_and_names_are_kept() -> None:
    hog = {"command": {"host": "server", "run": "sleep 1", "background": True}}
    other = {"iperf3": {**BULK["iperf3"], "background": True}}
    scenario = make_scenario(traffic=[hog, BULK, other])
    found = relief_of("cross_traffic", scenario)
    assert [spec.name for spec in found.scenario.traffic] == ["command-1", "iperf3-2"]
    assert told(found) == ["traffic.iperf3-3: iperf3 -> left out"]
    assert told(relief_of("softirq_contention", scenario)) == told(found)
    found = relief_of("cpu_contention", scenario)
    assert [spec.name for spec in found.scenario.traffic] == ["iperf3-2", "iperf3-3"]
    assert [step.priority for step in found.in_hosts] == [-20]


def test_generators_lose_the_rate_that_they_were_asked_for() -> None:
    slow = {"iperf3": {**BULK["iperf3"], "rate": "1mbit"}}
    asked = {"http": {"from": "client", "to": "server", "rate": 20}}
    found = relief_of("application_limited", make_scenario(traffic=[slow, asked]))
    assert told(found) == ["traffic[0].iperf3.rate: 1,000,000 -> none", "traffic[1].http.rate: 20 -> none"]
    assert found.scenario.traffic[0].iperf3 is not None
    assert found.scenario.traffic[0].iperf3.rate_bps is None


def test_only_the_entry_that_has_the_cause_is_changed() -> None:
    slow = {"iperf3": {**BULK["iperf3"], "rate": "1mbit"}}
    found = relief_of("application_limited", make_scenario(traffic=[slow, slow]), entry="iperf3-2")
    assert told(found) == ["traffic[1].iperf3.rate: 1,000,000 -> none"]


def test_a_listener_gets_the_longest_queue_and_accepts_at_once() -> None:
    asked = {"connections": {"from": "client", "to": "server", "backlog": 1, "accept": 5}}
    found = relief_of("accept_backlog", make_scenario(traffic=[asked]))
    assert told(found)[:2] == [
        "traffic[0].connections.backlog: 1 -> 65,535", "traffic[0].connections.accept: 5 -> none",
    ]  # fmt: skip
    assert found.scenario.hosts["server"].sysctl["net.core.somaxconn"] == "65535"


def test_senders_probe_for_a_size_that_passes() -> None:
    found = relief_of("mtu_blackhole", make_scenario())
    assert found.scenario.hosts["client"].sysctl["net.ipv4.tcp_mtu_probing"] == "2"


def test_servers_listen_again_with_a_long_queue() -> None:
    found = relief_of("accept_backlog", make_scenario())
    assert [step.listeners for step in found.in_hosts] == ["backlog"]


@pytest.mark.parametrize("cause", ["syn_loss", "conntrack_full", "connection_reset"])
def test_what_rules_of_hosts_do_is_looked_for_in_the_hosts(cause: str) -> None:
    found = relief_of(cause, make_scenario())
    assert not found.changes
    assert [step.rules is not None for step in found.in_hosts] == [True]


def test_windows_are_relieved_in_the_hosts_routes() -> None:
    found = relief_of("congestion_window", make_scenario())
    assert [(step.routes, step.to) for step in found.in_hosts] == [("initcwnd", 100)]


def test_softirqs_are_relieved_of_the_traffic_that_competes() -> None:
    flood = {"iperf3": {**BULK["iperf3"], "protocol": "udp", "rate": "10mbit", "background": True}}
    assert told(relief_of("softirq_contention", make_scenario(traffic=[BULK, flood]))) == [
        "traffic.iperf3-2: iperf3 -> left out"
    ]
