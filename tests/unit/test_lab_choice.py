"""Which emulator is chosen, and how a link that cannot be had is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from perfcheck.errors import InvalidLink, LabError, Unavailable
from perfcheck.lab import settings
from perfcheck.lab.choice import choose, impaired
from perfcheck.lab.lab import Lab
from perfcheck.lab.links.veth import VethEmulator
from perfcheck.lab.topology import lay_out
from perfcheck.model.scenario import HostSpec, LinkSpec
from perfcheck.model.seams import LinkEmulator
from perfcheck.system.journal import Journal
from perfcheck.testing import FakeEmulator, make_scenario

LACKING = Unavailable("netem", "this kernel has none", "another kernel")


def link(**fields: Any) -> LinkSpec:
    return LinkSpec.model_validate({"between": ["a", "b"], **fields})


def table(**changes: FakeEmulator) -> Mapping[str, LinkEmulator]:
    fakes = {name: FakeEmulator(name=name) for name in ("veth", "netem", "relay")}
    return {**fakes, **changes}


def chosen(spec: LinkSpec, emulators: Mapping[str, LinkEmulator]) -> str:
    topology = lay_out({"a": HostSpec(), "b": HostSpec()}, [spec], ipv6=False)
    (emulator,) = choose(topology.links, emulators)
    return emulator.name


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "veth"),
        ({"delay": "0ms", "loss": "0%", "jitter": "0ms", "ecn": False, "mtu": 9000}, "veth"),
        ({"loss": {"model": "gilbert-elliott", "p": "0%", "r": "5%"}}, "veth"),
        ({"delay": "1ms"}, "netem"),
        ({"reverse": {"loss": "1%"}}, "netem"),
        ({"rate": "1mbit"}, "netem"),
        ({"loss": {"model": "gilbert-elliott", "p": "0%", "r": "5%", "k": "1%"}}, "netem"),
        ({"delay": "1ms", "emulator": "relay"}, "relay"),
        ({"emulator": "relay"}, "relay"),
        ({"emulator": "netem"}, "netem"),
        ({"emulator": "none"}, "veth"),
    ],
)
def test_the_plainest_that_can_is_chosen(fields: dict[str, Any], expected: str) -> None:
    assert chosen(link(**fields), table()) == expected


def test_relay_stands_in_where_netem_is_missing_or_refuses() -> None:
    assert chosen(link(delay="1ms"), table(netem=FakeEmulator(name="netem", unavailable=LACKING))) == "relay"
    assert chosen(link(delay="1ms"), table(netem=FakeEmulator(name="netem", refuses="no traces"))) == "relay"


def test_a_forced_emulator_is_not_replaced() -> None:
    missing = table(netem=FakeEmulator(name="netem", unavailable=LACKING))
    with pytest.raises(InvalidLink, match=r"links\[0\] a-b: netem: netem is not available: this kernel has none"):
        chosen(link(delay="1ms", emulator="netem"), missing)


def test_a_link_that_none_can_carry_names_every_reason() -> None:
    emulators = table(
        netem=FakeEmulator(name="netem", unavailable=LACKING),
        relay=FakeEmulator(name="relay", refuses="10 Gbit/s is too fast"),
    )
    with pytest.raises(InvalidLink, match=r"relay: 10 Gbit/s is too fast; netem: .*this kernel has none"):
        chosen(link(rate="10gbit"), emulators)
    with pytest.raises(InvalidLink, match="relay: unknown emulator"):
        chosen(link(delay="1ms"), {"veth": FakeEmulator(name="veth")})


def test_none_refuses_impairments() -> None:
    veth = VethEmulator()
    assert veth.floor(link(emulator="none")) is None
    assert "has no delay, rate, loss" in str(veth.floor(link(delay="1ms", emulator="none")))
    assert impaired(link(forward={"duplicate": "1%"}))


def test_each_emulator_is_checked_once_a_lab() -> None:
    class Counting(FakeEmulator):
        def check(self) -> None:
            self.calls.append("check")
            super().check()

    netem = Counting(name="netem", unavailable=LACKING)
    spec = link(delay="1ms")
    topology = lay_out({"a": HostSpec(), "b": HostSpec()}, [spec] * 5, ipv6=False)
    assert [emulator.name for emulator in choose(topology.links, table(netem=netem))] == ["relay"] * 5
    assert netem.calls.count("check") == 1


@pytest.mark.parametrize(
    ("client", "text"),
    [
        ({"cpus": [8191]}, "host client: cpus 8191 do not exist; this machine has 0"),
        ({"sysctl": {"kernel.panic": 1}}, r"host client: kernel\.panic applies to the whole machine"),
        ({"sysctl": {"net": 1}}, "host client: expected a sysctl such as"),
    ],
)
def test_settings_that_cannot_be_had_are_refused_before_anything_is_made(
    tmp_path: Path, client: dict[str, Any], text: str
) -> None:
    with Journal.create("ab12cd34", tmp_path) as journal:
        before = journal.path.read_bytes()
        with pytest.raises(LabError, match=text):
            Lab(make_scenario(hosts={"client": client, "server": {}}), journal, table())
        assert journal.path.read_bytes() == before


def test_a_link_that_cannot_be_had_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with Journal.create("ab12cd34", tmp_path) as journal:
        before = journal.path.read_bytes()
        with pytest.raises(InvalidLink, match="too long"):
            Lab(make_scenario(), journal, {"relay": FakeEmulator(name="relay", refuses="too long")})
        assert journal.path.read_bytes() == before


def test_the_record_names_each_links_emulator(tmp_path: Path) -> None:
    with Journal.create("ab12cd34", tmp_path) as journal:
        lab = Lab(make_scenario(), journal, table(netem=FakeEmulator(name="netem", unavailable=LACKING)))
        assert lab.emulators == {"links[0] client-server": "relay"}
        assert (lab.tag, dict(lab.hosts), lab.links) == ("ab12cd34", {}, ())
        lab.close()
        lab.close()


def test_the_sysctl_of_the_congestion_control_wins_over_the_short_form() -> None:
    key = settings.CONGESTION_KEY
    assert settings.wanted_congestion(HostSpec()) is None
    assert settings.wanted_congestion(HostSpec(congestion="reno")) == "reno"
    both = HostSpec(congestion="reno", sysctl={key: "cubic", "net.ipv4.tcp_sack": 0})
    assert settings.wanted_congestion(both) == "cubic"
    assert settings.file_sysctls(both) == {"net.ipv4.tcp_sack": "0"}


def test_routers_forward_and_hosts_do_not() -> None:
    for router, value in ((True, "1"), (False, "0")):
        found = settings.defaults(HostSpec(router=router))
        assert found["net.ipv4.ip_forward"] == found["net.ipv6.conf.all.forwarding"] == value
