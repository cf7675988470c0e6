"""Bounds of links: each a located error when the file is read, and what is within them is proved in bounded time."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from perfcheck.errors import InvalidLink, ScenarioError
from perfcheck.lab.links.probe import Side, prove
from perfcheck.lab.links.probe.prove import LONGEST_PROBE_NS, asked_of, probe_limit_ns
from perfcheck.model.scenario import LinkSpec
from perfcheck.scenario import load_text

SCENARIO = """
scenario: a
hosts: {client: {}, server: {}}
links: [{between: [client, server], LINK}]
traffic: [{iperf3: {from: client, to: server}}]
"""


@pytest.mark.parametrize(
    ("link", "key", "says"),
    [
        ("delay: 10min", "delay", "expected a duration from 0s to 10s, got '10min'"),
        ("delay: 10.1s", "delay", "expected a duration from 0s to 10s, got '10.1s'"),
        ("rate: 1bit", "rate", "expected a rate from 8kbit to 100gbit, got '1bit'"),
        ("rate: 7999bit", "rate", "expected a rate from 8kbit to 100gbit, got '7999bit'"),
        ("rate: 101gbit", "rate", "expected a rate from 8kbit to 100gbit, got '101gbit'"),
        ("reverse: {rate: 0bit}", "reverse.rate", "expected a rate from 8kbit to 100gbit, got '0bit'"),
        ("delay: 5s, jitter: 2s", "jitter", "expected a duration from 0s to 1s, got '2s'"),
        ("delay: 5s, jitter: {spread: 2s}", "jitter.spread", "expected a duration from 0s to 1s, got '2s'"),
        ("rate: 1mbit, queue: 100001p", "queue", "above 0 and at most 10000bdp, 100000p or 256mb, got"),
        ("rate: 1mbit, queue: 257mb", "queue", "above 0 and at most 10000bdp, 100000p or 256mb, got"),
        ("rate: 1mbit, queue: {size: 1gb}", "queue.size", "above 0 and at most 10000bdp, 100000p or 256mb, got"),
        ("delay: 1s, rate: 1gbit, queue: 9bdp", "", "the queue would hold more than 256mb (forward)"),
        ("rate: 1mbit, mtu: 9000, queue: 99999p", "", "the queue would hold more than 256mb (forward)"),
        ("delay: 9s, rate: 1gbit", "", "at this rate and delay more than 1 GB would be in flight (forward)"),
        ("policer: {rate: 1bit, burst: 64kb}", "policer.rate", "expected a rate from 8kbit to 100gbit, got '1bit'"),
        ("policer: {rate: 1mbit, burst: 1gb}", "policer.burst", "expected a size from 1b to 256mb, got '1gb'"),
        ("schedule: [{at: 61min, loss: 1%}]", "schedule[0].at", "expected a duration from 0s to 3600s, got '61min'"),
        ("rate: 1mbit, schedule: [{at: 1s, rate: 1bit}]", "schedule[0].rate", "expected 0bit, or a rate from 8kbit to"),
        ("schedule: [{at: 1s, delay: 1min}]", "schedule[0].delay", "expected a duration from 0s to 10s, got '1min'"),
        ("rate: 1mbit, queue: {size: 9p, discipline: codel, interval: 1min}", "queue.interval", "expected a duration"),
        ("mtu: 9001", "mtu", "expected at most 9000, such as 1400, got '9001'"),
        ("seed: 4294967296", "seed", "expected at most 4294967295, such as 7, got '4294967296'"),
    ],
)
def test_what_is_beyond_the_bounds_is_told_where_it_stands(link: str, key: str, says: str) -> None:
    text = SCENARIO.replace("LINK", link)
    with pytest.raises(ScenarioError) as caught:
        load_text(text, "a.yaml")
    problem = caught.value.problems[0]
    assert problem.line == 4
    assert problem.path == f"links[0].{key}".rstrip(".")
    assert says in problem.message
    if key:
        assert text.splitlines()[3][problem.column - 1 :].startswith(
            str(problem.message).rpartition("got ")[2].strip("'")
        )


def test_there_are_not_too_many_changes() -> None:
    many = ", ".join(f"{{at: {number}ms, loss: 1%}}" for number in range(1, 1002))
    with pytest.raises(ScenarioError, match=r"a.yaml:4:\d+: links\[0\].schedule: expected at most 1000 entries"):
        load_text(SCENARIO.replace("LINK", f"schedule: [{many}]"), "a.yaml")


RATES = st.floats(3.9031, 9.0).map(lambda power: f"{int(10**power)}bit")
SHARES = st.sampled_from(["0%", "0.1%", "10%", "49%", "90%"])


@st.composite
def links(draw: st.DrawFn) -> dict[str, Any]:
    delay_us = draw(st.sampled_from([0, 1000, 100_000, 10_000_000]))
    fields: dict[str, Any] = {"delay": f"{delay_us}us", "mtu": draw(st.sampled_from([1280, 1500, 9000]))}
    fields |= {name: draw(SHARES) for name in ("loss", "duplicate", "corrupt")}
    if delay_us:
        fields["reorder"] = draw(SHARES)
        distribution = draw(st.sampled_from(["uniform", "normal", "pareto"]))
        fields["jitter"] = {"spread": f"{min(10**6, delay_us // 3)}us", "distribution": distribution}
    if draw(st.booleans()):
        fields["policer"] = {"rate": draw(RATES), "burst": draw(st.sampled_from(["10kb", "1mb", "256mb"]))}
    if draw(st.booleans()):
        fields["rate"] = draw(RATES)
        size = draw(st.sampled_from(["1p", "5p", "9p", "1000p", "20000p", "1bdp", "100bdp", "1b", "256mb"]))
        fields["queue"] = {"size": size, "discipline": draw(st.sampled_from(["drop-tail", "codel"]))}
        if draw(st.booleans()):
            fields["schedule"] = [{"at": "2s", "rate": draw(st.one_of(RATES, st.just("0bit")))}]
    return fields


@settings(max_examples=400, deadline=None)
@given(links(), links())
def test_whatever_is_within_the_bounds_is_proved_in_bounded_time(
    forward: dict[str, Any], reverse: dict[str, Any]
) -> None:
    mtu = forward["mtu"]
    directions = {"forward": {**forward}, "reverse": {**reverse}}
    for direction in directions.values():
        direction.pop("mtu")
    try:
        spec = LinkSpec.model_validate({"between": ("a", "b"), "mtu": mtu, **directions})
    except ValidationError:
        return
    assert probe_limit_ns(asked_of(spec)) <= LONGEST_PROBE_NS


def test_a_proof_that_would_take_too_long_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[probe_limit_ns.__module__], "LONGEST_PROBE_NS", 10**8)
    spec = LinkSpec.model_validate({"between": ("a", "b"), "rate": "8kbit"})
    sides = (Side(netns_path="/nowhere", address=""), Side(netns_path="/nowhere", address=""))
    nothing: Any = None
    with pytest.raises(InvalidLink, match=r"links\[0\] a-b \(relay\): its check would take .* more than 100 ms"):
        prove(0, "relay", spec, nothing, sides, nothing)


def test_a_change_that_comes_while_a_slow_link_is_proved_is_left_out() -> None:
    """At 8 kbit/s the probe takes longer than a second, after which a change would not matter to others."""
    slow = {"between": ("a", "b"), "rate": "8kbit"}
    assert probe_limit_ns(asked_of(LinkSpec.model_validate(slow))) > 12 * 10**8
    for rate, varies in (("8kbit", True), ("8mbit", False)):
        schedule = [{"at": "1.2s", "loss": "50%"}]
        spec = LinkSpec.model_validate({**slow, "rate": rate, "schedule": schedule})
        assert asked_of(spec)[0].loss_varies is varies
