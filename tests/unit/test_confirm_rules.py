"""Rules of nftables by what they do to packets; the expressions are what `nft -j list ruleset` prints (nft 1.0.6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from perfcheck.confirm.rules import KINDS, rule_changes, unread_extensions


def match(left: object, right: object, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


FLAGS = {"payload": {"protocol": "tcp", "field": "flags"}}
EVERY_TENTH = match({"numgen": {"mode": "inc", "mod": 10, "offset": 0}}, 0)
A_SHARE = match({"numgen": {"mode": "random", "mod": 100, "offset": 0}}, 98, "<")
META_RANDOM = match({"meta": {"key": "random"}}, 42949673, "<=")
SYN = match({"&": [FLAGS, ["fin", "syn", "rst", "ack"]]}, "syn")
SYN_ACK = match({"&": [FLAGS, ["syn", "ack"]]}, ["syn", "ack"])
NO_SYN = match(FLAGS, "syn", "!")
NEW = match({"ct": {"key": "state"}}, "new", "in")
NEW_OR_KNOWN = match({"ct": {"key": "state"}}, {"set": ["new", "established"]})
OVER = {"limit": {"rate": 1, "per": "second", "inv": True}}
UP_TO = {"limit": {"rate": 10, "burst": 0, "per": "second", "rate_unit": "mbytes", "burst_unit": "bytes"}}
COUNT = {"ct count": {"val": 5, "inv": True}}
PER_PORT = {"set": {"op": "add", "elem": FLAGS, "set": "@ports", "stmt": [COUNT]}}
SHARES = {
    "vmap": {
        "key": {"numgen": {"mode": "random", "mod": 100, "offset": 0}},
        "data": {"set": [[{"range": [0, 2]}, {"drop": None}], [{"range": [3, 99]}, {"accept": None}]]},
    }
}
TO_CLASS = {"mangle": {"key": {"meta": {"key": "priority"}}, "value": "1:2"}}
TO_MARKS = {"mangle": {"key": {"payload": {"protocol": "ip", "field": "ecn"}}, "value": "ce"}}
RESET = {"reject": {"type": "tcp reset"}}
DROP: dict[str, Any] = {"drop": None}
ACCEPT: dict[str, Any] = {"accept": None}
JUMP = {"jump": {"target": "away"}}
COUNTER = {"counter": {"packets": 0, "bytes": 0}}
LARGE = match({"meta": {"key": "length"}}, 1000, ">")


def xt(*names: str) -> list[dict[str, Any]]:
    return [{"xt": {"type": "match", "name": name}} for name in names]


def rule(handle: int, expressions: Sequence[object], chain: str = "f") -> dict[str, Any]:
    return {"rule": {"family": "inet", "table": "t", "chain": chain, "handle": handle, "expr": list(expressions)}}


AWAY = [rule(900, [COUNTER, DROP], "away")]


@pytest.mark.parametrize(
    ("expressions", "kind"),
    [
        ([META_RANDOM, DROP], "random"),
        ([EVERY_TENTH, DROP], "random"),
        ([NO_SYN, EVERY_TENTH, DROP], "random"),
        ([NEW_OR_KNOWN, EVERY_TENTH, DROP], "random"),
        ([A_SHARE, JUMP], "random"),
        ([*xt("statistic"), DROP], "random"),
        ([OVER, DROP], "limit"),
        ([{"limit": "slow"}, DROP], "limit"),
        ([*xt("hashlimit"), DROP], "limit"),
        ([SYN, EVERY_TENTH, DROP], "syn"),
        ([SYN_ACK, META_RANDOM, DROP], "syn"),
        ([SYN, OVER, DROP], "syn"),
        ([match(FLAGS, "syn", "in"), DROP], "syn"),
        ([NEW, EVERY_TENTH, DROP], "syn"),
        ([NEW, COUNT, DROP], "connections"),
        ([NEW, PER_PORT, DROP], "connections"),
        ([COUNT, RESET], "connections"),
        ([*xt("connlimit"), DROP], "connections"),
        ([NO_SYN, EVERY_TENTH, RESET], "reset"),
        ([SYN, EVERY_TENTH, RESET], "reset"),
        ([EVERY_TENTH, TO_CLASS], "spread"),
        ([EVERY_TENTH, {"fwd": {"dev": "eth1"}}], "spread"),
        ([LARGE, DROP], "large"),
        ([match({"payload": {"protocol": "ip6", "field": "length"}}, 1200, ">="), COUNTER, DROP], "large"),
        ([match({"payload": {"protocol": "icmp", "field": "type"}}, "destination-unreachable"), DROP], "large"),
        ([match({"payload": {"protocol": "icmpv6", "field": "type"}}, "echo-request"), DROP], None),
        ([LARGE, ACCEPT], None),
        ([match({"meta": {"key": "length"}}, 100, "<"), DROP], None),
        ([COUNTER, ACCEPT], None),
        ([TO_CLASS], None),
        ([EVERY_TENTH, TO_MARKS], None),
        ([EVERY_TENTH, COUNTER], None),
        ([SYN, ACCEPT], None),
        ([DROP], None),
    ],
)
def test_a_rule_makes_one_kind_of_limit_at_most_and_is_deleted(expressions: list[object], kind: str | None) -> None:
    listed = [*AWAY, rule(1, expressions)]
    found = {each: [(one.rule["handle"], one.instead) for one in rule_changes(listed, each)] for each in KINDS}
    assert {name: changes for name, changes in found.items() if changes} == ({kind: [(1, None)]} if kind else {})


def test_a_rule_that_accepts_up_to_a_rate_accepts_all_where_the_rest_is_dropped() -> None:
    limited = rule(1, [LARGE, UP_TO, COUNTER, ACCEPT])
    dropping = {"chain": {"family": "inet", "table": "t", "name": "f", "policy": "drop"}}
    for behind in ([rule(2, [DROP])], [rule(2, [JUMP]), *AWAY]):
        (change,) = rule_changes([limited, *behind], "limit")
        assert (change.rule["handle"], change.instead) == (1, (LARGE, COUNTER, ACCEPT))
    (change,) = rule_changes([dropping, limited], "limit")
    assert change.instead == (LARGE, COUNTER, ACCEPT)
    assert rule_changes([limited, rule(2, [DROP], chain="other")], "limit") == []


def test_a_share_that_is_accepted_becomes_all() -> None:
    (change,) = rule_changes([rule(1, [A_SHARE, ACCEPT]), rule(2, [DROP])], "random")
    assert change.instead == (ACCEPT,)


def test_a_map_that_drops_a_share_accepts_all() -> None:
    (change,) = rule_changes([rule(1, [SHARES])], "random")
    assert change.instead == (ACCEPT,)


def test_extensions_whose_doing_nobody_can_tell_are_named() -> None:
    listed = [
        rule(1, [*xt("statistic"), DROP]),
        rule(2, [*xt("comment", "tcp"), ACCEPT]),
        rule(3, [*xt("limit"), ACCEPT]),
        rule(4, [*xt("string", "comment"), DROP]),
        rule(5, [*xt("hashlimit"), DROP]),
    ]
    assert unread_extensions(listed) == ("limit", "string")


def test_chains_that_lead_to_each_other_end() -> None:
    circle = [rule(1, [A_SHARE, JUMP]), rule(2, [{"goto": {"target": "f"}}], "away")]
    assert rule_changes(circle, "random") == []
