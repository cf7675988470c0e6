"""Relief inside hosts: which rules, queue disciplines and routes are meant, and the commands that change them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from perfcheck.confirm import HostRelief
from perfcheck.confirm.hosts import queueless_classes, scaled_qdisc
from perfcheck.confirm.intervention import Step
from perfcheck.errors import LabError
from perfcheck.model.seams import Host

RANDOM: dict[str, Any] = {"match": {"op": "<", "left": {"numgen": {"mode": "random", "mod": 100}}, "right": 2}}
UP_TO: dict[str, Any] = {"limit": {"rate": 1, "per": "second"}}


def rule(handle: int, *expressions: dict[str, Any]) -> dict[str, Any]:
    return {"rule": {"family": "inet", "table": "t", "chain": "f", "handle": handle, "expr": list(expressions)}}


DROPS: dict[str, Any] = {"drop": None}
LOSSY = rule(7, RANDOM, DROPS)


@pytest.mark.parametrize(
    ("qdisc", "words", "before", "after"),
    [
        (
            {"kind": "tbf", "handle": "8015:", "dev": "e0", "root": True,
             "options": {"rate": 1250000, "burst": 32767, "lat": 50000}},
            "dev e0 root handle 8015: tbf rate 10000000bit burst 32767 limit 282767", 95267, 282767,
        ),
        ({"kind": "bfifo", "handle": "8016:", "dev": "e0", "root": True, "options": {"limit": 30000}},
         "dev e0 root handle 8016: bfifo limit 120000", 30000, 120000),
        ({"kind": "pfifo", "handle": "0:", "dev": "e0", "parent": "1:1", "options": {"limit": 10}},
         "dev e0 parent 1:1 pfifo limit 40", 10, 40),
    ],
)  # fmt: skip
def test_a_limit_is_scaled_with_all_else_as_it_was(qdisc: dict[str, Any], words: str, before: int, after: int) -> None:
    found = scaled_qdisc(qdisc, 4)
    assert found is not None
    assert (" ".join(found.words), found.before, found.after) == (words, before, after)


@pytest.mark.parametrize(
    ("kind", "limit", "expected"), [("bfifo", 30000, 4542), ("pfifo", 10, 3), ("pfifo", 2, 2), ("pfifo", 100, 10)]
)
def test_a_shortened_queue_still_takes_a_few_packets(kind: str, limit: int, expected: int) -> None:
    found = scaled_qdisc({"kind": kind, "dev": "e0", "root": True, "options": {"limit": limit}}, 0.1)
    assert found is not None
    assert found.after == expected


@pytest.mark.parametrize(
    ("kind", "limit", "expected"), [("bfifo", 900_000, 25_000), ("pfifo", 1000, 17), ("pfifo", 100, 10)]
)
def test_a_shortened_queue_holds_no_more_than_it_may(kind: str, limit: int, expected: int) -> None:
    found = scaled_qdisc({"kind": kind, "dev": "e0", "root": True, "options": {"limit": limit}}, 0.1, 25_000)
    assert found is not None
    assert found.after == expected
    tbf = {"rate": 125_000, "burst": 5_000, "limit": 1_005_000}
    shortened = scaled_qdisc({"kind": "tbf", "dev": "e0", "root": True, "options": tbf}, 0.1, 25_000)
    assert shortened is not None
    assert (shortened.before, shortened.after) == (1_005_000, 30_000)


def test_a_discipline_that_tells_no_limit_stays() -> None:
    assert scaled_qdisc({"kind": "sfq", "dev": "e0", "root": True, "options": {}}, 4) is None


def test_a_route_keeps_where_it_leads_and_loses_its_clamp() -> None:
    route = {"dst": "198.18.1.0/24", "gateway": "198.18.0.2", "dev": "eth0", "flags": [],
             "metrics": [{"cwnd": 4, "congestion": "bbr"}]}  # fmt: skip
    host = FakeHost({"ip": [route, {"dst": "fe80::/64", "dev": "eth0"}]})
    relief = act(host, routes="initcwnd", to=100)
    assert host.done[0] == (
        "ip -4 route replace 198.18.1.0/24 via 198.18.0.2 dev eth0 congctl bbr initcwnd 100 initrwnd 100"
    )
    assert len(host.done) == len(relief.changes) == 2


def test_a_route_loses_its_receive_window_alone() -> None:
    route = {"dst": "198.18.1.0/24", "dev": "eth0", "flags": [],
             "metrics": [{"window": 8192, "cwnd": 4, "rtt": 30, "congestion": "bbr"}]}  # fmt: skip
    host = FakeHost({"ip": [route, {"dst": "198.18.2.0/24", "dev": "eth0", "metrics": [{"cwnd": 4}]}]})
    relief = act(host, routes="window")
    assert host.done[0] == "ip -4 route replace 198.18.1.0/24 dev eth0 cwnd lock 4 rtt 30 congctl bbr"
    assert len(host.done) == 2
    assert relief.changes[0].after == "not set"


@dataclass
class FakeHost:
    """Answers listings, and notes the commands that change something."""

    answers: dict[str, object]
    name: str = "router"
    status: int = 0
    done: list[str] = field(default_factory=list)
    legacy: bytes = b""
    classes: bytes = b""
    netns_inode: int = 0

    def run(self, argv: Sequence[str], *, timeout_s: float = 30.0) -> subprocess.CompletedProcess[bytes]:
        if argv[0] == "cat":
            self.done.append(" ".join(argv))
            return subprocess.CompletedProcess(list(argv), 1, self.legacy, b"no such file")
        listing = "-j" in argv and ("list" in argv or "show" in argv)
        answer = self.answers.get(argv[0], {}) if listing else None
        if answer is None:
            self.done.append(" ".join(argv))
        status = self.status if answer is None else 0
        said = self.classes if argv[:3] == ["tc", "class", "show"] else json.dumps(answer).encode()
        return subprocess.CompletedProcess(list(argv), status, said, b"no such rule\nmore")


def act(host: FakeHost, **step: Any) -> HostRelief:
    relief = HostRelief([Step(**step)])
    relief.act({"router": cast("Host", host)})
    return relief


def test_rules_are_deleted_by_their_handles() -> None:
    host = FakeHost({"nft": {"nftables": [{"metainfo": {}}, LOSSY, rule(8, DROPS)]}, "tc": [], "ip": []})
    relief = act(host, rules="random")
    assert host.done == [
        "cat /proc/net/ip_tables_names /proc/net/ip6_tables_names",
        "nft delete rule inet t f handle 7",
    ]
    assert [(each.where, each.after) for each in relief.changes] == [("router: nft inet t f", "deleted")]
    assert not relief.opaque


def test_a_rule_that_accepts_up_to_a_rate_is_replaced_by_one_that_accepts_all() -> None:
    accepts = {"accept": None}
    host = FakeHost({"nft": {"nftables": [rule(3, UP_TO, accepts), rule(4, DROPS)]}})
    relief = act(host, rules="limit")
    words, _, replacing = host.done[-1].partition(" -j ")
    assert words == "nft"
    assert json.loads(replacing) == {"nftables": [{"replace": rule(3, accepts)}]}
    assert [each.after for each in relief.changes] == ["accepts all"]


def test_what_is_not_looked_into_is_named() -> None:
    xt = {"xt": {"type": "match", "name": "string"}}
    plain = {"xt": {"type": "match", "name": "comment"}}
    listed = [{"ifname": "lo"}, {"ifname": "eth0", "xdp": {"mode": 2}}]
    host = FakeHost(
        {
            "nft": {"nftables": [rule(1, xt, DROPS), rule(2, plain, DROPS)]},
            "tc": [{"kind": "clsact", "dev": "eth0"}],
            "ip": listed,
        }
    )
    host.legacy = b"filter\nfilter\n"
    relief = act(host, rules="random")
    assert not relief.changes
    assert relief.opaque == [
        "router has clsact on eth0, which is not looked into",
        "router has a program (XDP) on eth0, which is not looked into",
        "router has tables of iptables-legacy (filter)",
        "router has rules with extensions of iptables (string)",
    ]


def test_an_iptables_rule_that_drops_at_random_is_understood() -> None:
    statistic = {"xt": {"type": "match", "name": "statistic"}}
    host = FakeHost({"nft": {"nftables": [rule(5, statistic, DROPS)]}})
    relief = act(host, rules="random")
    assert host.done[-1] == "nft delete rule inet t f handle 5"
    assert not relief.opaque


def test_looking_changes_nothing_and_names_what_may_act_on_packets() -> None:
    host = FakeHost({"nft": {"nftables": [LOSSY]}, "tc": [{"kind": "netem", "dev": "eth0", "root": True}]})
    relief = act(host, look="hosts")
    assert relief.opaque == ["router has netem on eth0, which is not looked into"]
    assert relief.changes == []
    assert not any("delete" in words for words in host.done)


def test_a_shaper_is_taken_away_with_what_hangs_below_it() -> None:
    listed = [
        {"kind": "tbf", "dev": "eth0", "parent": "1:3"},
        {"kind": "prio", "dev": "eth0", "root": True},
        {"kind": "tbf", "dev": "eth1", "parent": "1:1"},
        {"kind": "htb", "dev": "eth1", "root": True},
    ]
    host = FakeHost({"tc": listed})
    relief = act(host, qdisc="rate")
    assert host.done == ["tc qdisc del dev eth1 root", "tc qdisc del dev eth0 parent 1:3"]
    assert [each.where for each in relief.changes] == ["router: tc qdisc eth1 htb", "router: tc qdisc eth0 tbf"]


CLASSES = """class htb 1:1 root rate 10Mbit ceil 10Mbit burst 1600b cburst 1600b
class htb 1:10 parent 1:1 prio 0 rate 10Mbit ceil 10Mbit burst 1600b cburst 1600b
class htb 1:20 parent 1:1 leaf 8035: prio 0 rate 10Mbit ceil 10Mbit burst 1600b cburst 1600b
"""


def test_a_class_with_the_kernels_own_queue_gets_a_longer_one() -> None:
    assert queueless_classes(CLASSES) == ("1:10",)
    assert queueless_classes("") == ()
    htb = {"kind": "htb", "dev": "eth1", "root": True, "options": {}}
    host = FakeHost({"tc": [htb], "ip": [{"ifname": "eth1", "txqlen": 5}]}, classes=CLASSES.encode())
    relief = act(host, qdisc="limit", times=4)
    assert host.done == ["tc class show dev eth1", "tc qdisc add dev eth1 parent 1:10 pfifo limit 20"]
    assert [(each.before, each.after) for each in relief.changes] == [("5 packets", "20 packets")]


def test_programs_that_setup_left_running_are_named() -> None:
    namespace = Path("/proc/self/ns/net").stat().st_ino
    with subprocess.Popen(["sleep", "60"]) as left:
        relief = act(FakeHost({}, netns_inode=namespace), look="programs")
        left.kill()
    (said,) = relief.opaque
    assert said.startswith("router has programs that its setup left running (")
    assert "sleep" in said
    assert act(FakeHost({}, netns_inode=1), look="programs").opaque == []


def test_what_the_kernel_refuses_is_told() -> None:
    host = FakeHost({"nft": {"nftables": [LOSSY]}, "tc": []}, status=1)
    with pytest.raises(LabError, match=r"^host router: `nft delete rule inet t f handle 7`: no such rule$"):
        act(host, rules="random")
