"""Relief inside hosts: which rules, queue disciplines and routes are meant, and the commands that change them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from perfcheck.confirm import HostRelief
from perfcheck.confirm.hosts import doomed, scaled_qdisc
from perfcheck.confirm.intervention import Step
from perfcheck.errors import LabError
from perfcheck.model.seams import Host

EXPRESSIONS: dict[str, list[dict[str, Any]]] = {
    "random": [{"match": {"op": "<", "left": {"numgen": {"mode": "random", "mod": 100}}, "right": 2}}, {"drop": None}],
    "over": [{"limit": {"rate": 1, "per": "second", "inv": True}}, {"drop": None}],
    "up-to": [{"limit": {"rate": 1, "per": "second"}}, {"accept": None}],
    "syn": [
        {"match": {"op": "==", "left": {"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, ["syn", "ack"]]},
                   "right": "syn"}},
        {"drop": None},
    ],
    "large": [{"match": {"op": ">", "left": {"meta": {"key": "length"}}, "right": 1000}}, {"drop": None}],
    "count": [{"ct count": {"val": 5, "inv": True}}, {"reject": {"type": "tcp reset"}}],
    "reset": [{"reject": {"type": "tcp reset"}}],
    "counted": [{"counter": {"packets": 0, "bytes": 0}}, {"accept": None}],
    "rest": [{"drop": None}],
}  # fmt: skip


def rule(name: str, handle: int, chain: str = "f") -> dict[str, Any]:
    return {"family": "inet", "table": "t", "chain": chain, "handle": handle, "expr": EXPRESSIONS[name]}


RULES = [rule(name, handle) for handle, name in enumerate(EXPRESSIONS)]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("random", ["random"]),
        ("syn", ["syn"]),
        ("connections", ["count"]),
        ("reset", ["reset"]),
    ],
)
def test_only_rules_of_the_kind_are_deleted(kind: str, names: list[str]) -> None:
    assert [list(EXPRESSIONS)[each["handle"]] for each in doomed(RULES, kind)] == names


def test_what_drops_the_rest_goes_with_the_rule_that_accepts_up_to_a_rate() -> None:
    rules = [rule("up-to", 1), rule("counted", 2), rule("rest", 3), rule("rest", 4, chain="other")]
    assert [each["handle"] for each in doomed(rules, "limit")] == [1, 3]
    assert [each["handle"] for each in doomed([rule("over", 1), rule("rest", 2)], "limit")] == [1]


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

    def run(self, argv: Sequence[str], *, timeout_s: float = 30.0) -> subprocess.CompletedProcess[bytes]:
        answer = self.answers.get(argv[0], {}) if "-j" in argv else None
        if answer is None:
            self.done.append(" ".join(argv))
        status = self.status if answer is None else 0
        return subprocess.CompletedProcess(list(argv), status, json.dumps(answer).encode(), b"no such rule\nmore")


def act(host: FakeHost, **step: Any) -> HostRelief:
    relief = HostRelief([Step(**step)])
    relief.act({"router": cast("Host", host)})
    return relief


def test_rules_are_deleted_by_their_handles() -> None:
    host = FakeHost({"nft": {"nftables": [{"metainfo": {}}, *({"rule": each} for each in RULES)]}, "tc": []})
    relief = act(host, rules="random")
    assert host.done == ["nft delete rule inet t f handle 0"]
    assert [(each.where, each.after) for each in relief.changes] == [("router: nft inet t f", "deleted")]
    assert not relief.opaque


def test_what_is_not_looked_into_is_named() -> None:
    xt = {"rule": {**rule("rest", 1), "expr": [{"xt": {"type": "match", "name": "statistic"}}]}}
    host = FakeHost({"nft": {"nftables": [xt]}, "tc": [{"kind": "clsact", "dev": "eth0"}]})
    relief = act(host, rules="random")
    assert not relief.changes
    assert relief.opaque == [
        "router has clsact on eth0, which is not looked into", "router has rules of iptables extensions",
    ]  # fmt: skip


def test_looking_changes_nothing_and_names_what_may_act_on_packets() -> None:
    host = FakeHost({"nft": {"nftables": [{"rule": RULES[0]}]}, "tc": [{"kind": "netem", "dev": "eth0", "root": True}]})
    relief = act(host, look="hosts")
    assert relief.opaque == ["router has netem on eth0, which is not looked into"]
    assert (relief.changes, host.done) == ([], [])


def test_a_shaper_at_the_root_is_taken_away() -> None:
    host = FakeHost(
        {"tc": [{"kind": "htb", "dev": "eth1", "root": True}, {"kind": "tbf", "dev": "eth0", "parent": "1:"}]}
    )
    relief = act(host, qdisc="rate")
    assert host.done == ["tc qdisc del dev eth1 root"]
    assert [each.where for each in relief.changes] == ["router: tc qdisc eth1 htb"]


def test_what_the_kernel_refuses_is_told() -> None:
    host = FakeHost({"nft": {"nftables": [{"rule": RULES[0]}]}, "tc": []}, status=1)
    with pytest.raises(LabError, match=r"^host router: `nft delete rule inet t f handle 0`: no such rule$"):
        act(host, rules="random")
