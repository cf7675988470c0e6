"""The alerting rules: Prometheus's own tool says when each of them fires, on series that are made up."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from grafana_boards import FOLDER
from prometheus_programs import program

RULES: Final = FOLDER / "alerts.yaml"
MACHINE: Final = 'job="perfctl", instance="a:9435"'
HALF_AN_HOUR: Final = 30


def counter(per_s: float) -> str:
    """Return a counter that is scraped each minute, as promtool writes series."""
    return f"0+{per_s * 60:g}x{HALF_AN_HOUR}"


def constant(value: float) -> str:
    return f"{value:g}x{HALF_AN_HOUR}"


def series(name: str, labels: str = "") -> str:
    return f"{name}{{{', '.join(filter(None, (MACHINE, labels)))}}}"


def histogram(name: str, per_s: Mapping[str, float]) -> dict[str, str]:
    """Return the buckets of a histogram: how many values per second are at most each bound."""
    return {series(f"{name}_bucket", f'le="{bound}"'): counter(value) for bound, value in per_s.items()}


RTT: Final = "perfctl_tcp_rtt_seconds"
CONNECT: Final = "perfctl_tcp_handshake_seconds"
SENT: Final = series("perfctl_tcp_data_segments_out_total")
AGAIN: Final = series("perfctl_tcp_retrans_segments_total")
SUMMARIES: Final = {
    "PerfctlAlert": "perfctl on a:9435 raised rtt-tail",
    "PerfctlRetransmissions": "a:9435 sends 2% of its data again",
    "PerfctlConnectTime": "a:9435 connects in 190ms (p99)",
    "PerfctlRttTail": "a:9435 has round trips of 180ms (p99)",
    "PerfctlSilent": "perfctl on a:9435 has measured nothing for 20m 0s",
    "PerfctlDown": "perfctl on a:9435 cannot be scraped",
    "PerfctlLosesEvents": "perfctl on a:9435 does not count 3 events a second",
}
"""What is told in the case below that fires the rule."""
DROPPED: Final = {
    "full queues": "a:9435 drops 150 packets a second",
    "other drops of queues": "a:9435 drops 1k packets a second",
}
CASES: Final[Mapping[str, tuple[Mapping[str, str], str]]] = {
    "an alert of perfctl": ({series("perfctl_alert_active", 'rule="rtt-tail"'): constant(1)}, "PerfctlAlert"),
    "no alert": ({series("perfctl_alert_active", 'rule="rtt-tail"'): constant(0)}, ""),
    "2 % sent again": ({SENT: counter(100), AGAIN: counter(2)}, "PerfctlRetransmissions"),
    "0.5 % sent again": ({SENT: counter(100), AGAIN: counter(0.5)}, ""),
    "slow handshakes": (histogram(CONNECT, {"0.1": 90, "0.2": 100, "+Inf": 100}), "PerfctlConnectTime"),
    "fast handshakes": (histogram(CONNECT, {"0.1": 100, "0.2": 100, "+Inf": 100}), ""),
    "a long tail": (histogram(RTT, {"0.002": 90, "0.1": 95, "0.2": 100, "+Inf": 100}), "PerfctlRttTail"),
    "a long tail of a short path": (histogram(RTT, {"0.001": 90, "0.02": 95, "0.04": 100, "+Inf": 100}), ""),
    "a long way": (histogram(RTT, {"0.1": 10, "0.2": 100, "+Inf": 100}), ""),
    "full queues": ({series("perfctl_drops_total", 'layer="qdisc", reason="full"'): counter(150)}, "PerfctlDrops"),
    "few drops": ({series("perfctl_drops_total", 'layer="qdisc", reason="full"'): counter(50)}, ""),
    "a packet filter": ({series("perfctl_drops_total", 'layer="ip", reason="netfilter"'): counter(1000)}, ""),
    "other drops of queues": (
        {series("perfctl_drops_total", 'layer="qdisc", reason="other"'): counter(1000)}, "PerfctlDrops",
    ),
    "intervals": ({series("perfctl_last_interval_timestamp_seconds"): f"0+60x{HALF_AN_HOUR}"}, ""),
    "no intervals": ({series("perfctl_last_interval_timestamp_seconds"): constant(0)}, "PerfctlSilent"),
    "an end": ({series("up"): constant(0), series("perfctl_up"): "1x3"}, "PerfctlDown"),
    "another job's end": ({series("up"): constant(0)}, ""),
    "lost events": ({series("perfctl_lost_events_total"): counter(3)}, "PerfctlLosesEvents"),
}  # fmt: skip


def _test(case: str) -> dict[str, Any]:
    given, expected = CASES[case]
    (rules,) = _groups()
    return {
        "name": case,
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in given.items()],
        "alert_rule_test": [
            {
                "alertname": name,
                "eval_time": "20m",
                "exp_alerts": [_alert(rules[name], case)] if name == expected else [],
            }
            for name in rules
        ],
    }


def _groups() -> list[dict[str, dict[str, Any]]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [{rule["alert"]: rule for rule in group["rules"]} for group in groups]


def _alert(rule: Mapping[str, Any], case: str) -> dict[str, Any]:
    labels = {"job": "perfctl", "instance": "a:9435", **rule["labels"]}
    summary = DROPPED.get(case) or SUMMARIES[rule["alert"]]
    return {
        "exp_labels": labels | ({"rule": "rtt-tail"} if rule["alert"] == "PerfctlAlert" else {}),
        "exp_annotations": {"summary": summary, "description": rule["annotations"]["description"]},
    }


@pytest.mark.parametrize("case", CASES)
def test_a_rule_fires_when_it_must_and_no_other(case: str, tmp_path: Path) -> None:
    tests = tmp_path / "tests.json"
    tests.write_text(json.dumps({"rule_files": [str(RULES)], "tests": [_test(case)]}), encoding="utf-8")
    done = subprocess.run(
        [program("promtool"), "test", "rules", str(tests)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_rule_is_seen_to_fire() -> None:
    (rules,) = _groups()
    assert set(rules) == {expected for _, expected in CASES.values() if expected}
