"""What tc is told and how its statistics are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perfcheck.lab.links.qdiscs import DirectionCounts, commands_for, counts, floor, removal
from perfcheck.model.scenario import LinkSpec


def link(**fields: Any) -> LinkSpec:
    return LinkSpec.model_validate({"between": ("a", "b")} | fields)


def told(**fields: Any) -> list[str]:
    return [" ".join(words) for words in commands_for(link(**fields), ("x", "y"))]


def test_each_way_has_its_own_impairments_at_the_device_where_it_leaves() -> None:
    lines = told(delay="10ms", rate="100mbit", queue="1bdp", reverse={"delay": "20ms", "loss": "0.5%", "queue": "50p"})
    assert lines[0] == "qdisc add dev x ingress"
    assert "dev x parent ffff: protocol all matchall action mirred egress redirect dev y" in lines[1]
    assert lines[2] == "qdisc add dev y root handle 1: netem limit 1000000 delay 10000.000us"
    assert lines[3] == "qdisc add dev y parent 1:1 handle 10: tbf rate 100000000bit burst 1516b limit 375000b"
    assert lines[6] == "qdisc add dev x root handle 1: netem limit 1000000 delay 20000.000us loss random 0.500000%"
    assert lines[7].startswith("qdisc add dev x parent 1:1 handle 10: tbf rate 100000000bit")
    assert lines[8] == "qdisc add dev x parent 10:1 handle 20: pfifo limit 50"


def test_jitter_keeps_order_unless_overtaking_is_asked() -> None:
    assert told(delay="10ms", jitter="1ms")[2].endswith("delay 10000.000us 1000.000us rate 100gbit")
    assert "100gbit" not in told(delay="10ms", jitter="1ms", reorder="1%")[2]


def test_the_other_impairments_are_told() -> None:
    line = told(delay="1ms", duplicate="1%", corrupt="0.25%", reorder="2%")[2]
    assert line.endswith("duplicate 1.000000% corrupt 0.250000% reorder 2.000000%")
    line = told(loss={"model": "gilbert-elliott", "p": "1%", "r": "30%", "h": "90%", "k": "0.1%"})[2]
    assert line.endswith("loss gemodel 1.000000% 30.000000% 90.000000% 0.100000%")
    assert told()[2] == "qdisc add dev y root handle 1: netem limit 1000000"


def test_a_rate_without_a_queue_has_a_thousand_packets() -> None:
    assert told(rate="10mbit")[4] == "qdisc add dev y parent 10:1 handle 20: pfifo limit 1000"


def test_all_that_was_added_is_removed() -> None:
    roots = {
        tuple(words[2:5]) for words in commands_for(link(rate="1mbit"), ("x", "y")) if words[4] in {"ingress", "root"}
    }
    assert {tuple(words[2:5]) for words in removal(("x", "y"))} == roots


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"ecn": True}, "ecn (forward)"),
        ({"trace": "x"}, "trace (forward)"),
        ({"rate": "20gbit"}, "20 Gbit/s (forward) is more than netem supports"),
        ({"rate": "1mbit", "schedule": [{"at": "1s", "rate": "2mbit"}]}, "schedule (forward)"),
        ({"rate": "1mbit", "queue": {"size": "9kb", "discipline": "codel"}}, "codel counts packets"),
        ({"rate": "1mbit", "queue": {"size": "9p", "discipline": "codel"}, "ecn": True, "loss": "1%"}, "and no loss"),
    ],
)
def test_what_it_cannot_do_it_refuses(fields: dict[str, Any], text: str) -> None:
    assert text in str(floor(link(**fields)))


def test_statistics_are_told_apart() -> None:
    entering = json.dumps([{"kind": "noqueue"}, {"kind": "ingress", "packets": 1000, "drops": 3}])
    leaving = json.dumps(
        [{"kind": "netem", "packets": 900, "drops": 100}, {"kind": "tbf", "drops": 40}, {"kind": "pfifo", "drops": 40}]
    )
    assert counts(entering, leaving) == DirectionCounts(
        entered=1000, dropped_loss=60, dropped_queue=40, dropped_policer=3
    )
    assert counts("[]", "[]") == DirectionCounts(entered=0, dropped_loss=0, dropped_queue=0)


def test_a_policer_stands_in_front_and_counts_the_ethernet_header() -> None:
    line = told(policer={"rate": "10mbit", "burst": "64kb"})[1]
    assert line.endswith(
        "matchall action police rate 10000000bit burst 64000b mtu 1514b overhead 14 conform-exceed drop/pipe"
        " action mirred egress redirect dev y"
    )


def test_codel_takes_the_place_of_the_drop_tail() -> None:
    lines = told(rate="10mbit", queue={"size": "100p", "discipline": "codel", "target": "10ms"}, ecn=True)
    assert lines[4] == "qdisc add dev y parent 10:1 handle 20: codel target 10000us interval 100000us ecn limit 100"


def test_distributions_are_netems_own() -> None:
    line = told(delay="20ms", jitter={"spread": "1ms", "distribution": "pareto"})[2]
    assert line.endswith("delay 20000.000us 1000.000us distribution pareto rate 100gbit")
