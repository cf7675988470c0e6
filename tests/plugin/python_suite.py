"""Test modules in Python that use the fixture `perfcheck`, run on the fake runner; imported for its texts only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pytest
    from plugin_suite import Suite

HEAD: Final = """
import pytest
from perfcheck import Scenario, UsageError, kb, mbit, ms, pct
"""
BUILT: Final = """
OFFICE = Scenario(
    "office",
    hosts={"client": {}, "server": {}},
    links=[{"between": ["client", "server"], "delay": ms(10), "rate": mbit(100)}],
    traffic=[{"iperf3": {"from": "client", "to": "server", "duration": "1s"}}],
    expect={"tcp.rtt_us.p99": "<= 60ms", "app.throughput_bps": ">= 85mbit"},
)
"""
SLOW: Final = """
METRICS = {"tcp.rtt_us.p99": (61e3, 61.2e3, 61.4e3), "app.throughput_bps": (91e6, 92e6, 93e6)}
ANSWERS["wan"] = ANSWERS["office"] = answer(
    METRICS, cause="bufferbloat",
    diagnosis=(DiagnosisRecord(cause="bufferbloat", confidence=0.93,
                               evidence_for=("queue delay 41 ms",), chain=("deep queue", "high latency"),
                               advice="Shorten the queue."),),
    warnings=("iperf3 used 97 % of a CPU",))
"""
REGRESSED: Final = """
COMPARED = ("tcp.rtt_us.p99", "app.throughput_bps")
ANSWERS["wan"] = answer(comparisons=[
    compared("tcp.rtt_us.p99", Verdict.REGRESSED, 36e3, 46e3, interval_pct=(24.0, 30.0)),
    compared("app.throughput_bps", Verdict.PASS, 92e6, 92e6),
], changed_conditions={"links[0].queue": ("1bdp", "4bdp")})
"""


def module(suite: Suite, body: str, *arguments: str, answers: str = "") -> pytest.RunResult:
    """Run a test module alone, beside the scenario `wan` that it may load."""
    suite.answers(answers)
    suite.pytester.makepyfile(test_made=HEAD + body)
    return suite.run_at("test_made.py", *arguments)


def text_of(result: pytest.RunResult) -> str:
    """Return what was printed, without pytest's marks at the beginning of a traceback's lines."""
    return "\n".join(line.removeprefix("E       ").rstrip() for line in result.outlines)


def block(text: str, headline: str) -> list[str]:
    """Return the lines of a failure's text from its headline up to the command that reproduces it."""
    lines = text[text.index(headline) :].splitlines()
    end = next(number for number, line in enumerate(lines) if line.strip().startswith("reproduce"))
    return [line.rstrip() for line in lines[: end + 1]]
