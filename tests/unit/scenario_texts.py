"""Texts of scenario files for the tests of perfcheck.scenario, and generators of valid ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import yaml
from hypothesis import strategies as st

from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.metric import Phased
from perfcheck.model.printable import is_printable

METRICS: Final = sorted(
    name for name, spec in CATALOGUE.items() if spec.layer.value in ("app", "tcp") and spec.phased is not Phased.ONLY
)
"""What a file without phases may expect something of."""

VALID: Final = """\
scenario: example
hosts:
  client: {}
  server: {}
links:
  - between: [client, server]
    delay: 10ms
    rate: 100mbit
    queue: 1bdp
traffic:
  - iperf3: {from: client, to: server, duration: 2s}
expect:
  tcp.rtt_us.p50: "<= 60ms"
  diagnosis: none
"""


def changed(*replacements: tuple[str, str], text: str = VALID) -> str:
    """Return the text with each first occurrence replaced; the old text must be there."""
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One value as a file writes it, and what it must be read to."""

    text: str
    value: float


def _quantities(units: dict[str, int], low: int, high: int) -> st.SearchStrategy[Quantity]:
    return st.builds(
        lambda number, unit, space: Quantity(text=f"{number}{space}{unit}", value=number * units[unit]),
        st.integers(low, high),
        st.sampled_from(sorted(units)),
        st.sampled_from(["", " "]),
    )


durations: Final = _quantities({"ns": 1, "us": 10**3, "ms": 10**6}, 0, 10_000)
traffic_times: Final = _quantities({"ms": 10**6, "s": 10**9}, 100, 600)
rates: Final = st.one_of(_quantities({"kbit": 10**3}, 8, 10_000), _quantities({"mbit": 10**6}, 1, 700))
percentages: Final = st.integers(0, 1000).map(lambda tenths: Quantity(text=f"{tenths / 10}%", value=tenths / 10))
names: Final = st.from_regex(r"[a-z][a-z0-9-]{0,14}", fullmatch=True).filter(
    lambda name: name not in ("hosts", "links", "traffic")
)
scenario_names: Final = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True).filter(
    lambda name: not re.fullmatch(r"[0-9._]+e[0-9_-]+", name)
)
"""Without `0e0`, which is text to PyYAML (YAML 1.1) and so stays unquoted, but a number to YAML 1.2."""
plain_texts: Final = st.text(st.characters(exclude_categories=["C"]).filter(is_printable), min_size=1, max_size=30)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Draw a valid file's text, and the plain values that reading it must give, by name."""
    hosts = draw(st.lists(names, min_size=2, max_size=4, unique=True))
    delay, rate, loss = draw(durations), draw(rates), draw(percentages)
    duration = draw(traffic_times)
    streams, seed, repeat = draw(st.integers(1, 128)), draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 100))
    metric = draw(st.sampled_from(METRICS))
    threshold, operator = draw(st.integers(0, 10**6)), draw(st.sampled_from(["<=", ">=", "<", ">", "==", "!="]))
    title, congestion = draw(plain_texts), draw(st.sampled_from(["cubic", "bbr", "reno"]))
    rmem = draw(st.one_of(st.integers(0, 10**9), st.just("4096 131072 6291456")))
    background = draw(st.booleans())
    content: dict[str, Any] = {
        "scenario": draw(scenario_names),
        "title": title,
        "hosts": {name: {} for name in hosts}
        | {hosts[0]: {"congestion": congestion, "sysctl": {"net.ipv4.tcp_rmem": rmem}}},
        "links": [
            {"between": [name, hosts[0]], "delay": delay.text, "rate": rate.text, "loss": loss.text, "seed": seed}
            for name in hosts[1:]
        ],
        "traffic": [
            {"iperf3": {"from": hosts[1], "to": hosts[0], "duration": duration.text, "streams": streams}},
            {"iperf3": {"from": hosts[0], "to": hosts[-1], "reverse": True, "background": background}},
        ],
        "repeat": repeat,
        "expect": {metric: f"{operator} {threshold}", "diagnosis": "none"},
        "tolerance": {metric: "7.5%"},
    }
    order = draw(st.permutations(list(content)))
    text = yaml.safe_dump(
        {key: content[key] for key in order},
        sort_keys=False,
        allow_unicode=draw(st.booleans()),
        default_flow_style=draw(st.sampled_from([None, True, False])),
        width=draw(st.sampled_from([40, 10_000])),
    )
    values = {
        "name": content["scenario"], "title": title.strip(), "hosts": hosts, "delay_ns": delay.value,
        "rate_bps": rate.value, "loss_pct": loss.value, "duration_ns": duration.value, "streams": streams, "seed": seed,
        "repeat": repeat, "metric": metric, "operator": operator, "threshold": threshold, "congestion": congestion,
        "rmem": rmem, "background": background,
    }  # fmt: skip
    return text, values


COST = """
scenario: cost
hosts: {client: {}, server: {}}
links: [{between: [client, server]}]
traffic: [{load: {from: client, to: server, kind: requests, count: 8000, size: 100b}}]
measure: {mode: cost}
"""
