"""A link that breaks in the middle of the traffic is named as the reason, at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from perfcheck.errors import LabError
from perfcheck.model.scenario import Scenario
from perfcheck.runner import Runner, RunOptions
from perfcheck.scenario import load_text

SCENARIO = """
scenario: broken-cable
hosts: {client: {}, server: {}}
links: [{between: [client, server], delay: 1ms, rate: 10mbit}]
traffic: [{iperf3: {from: client, to: server, duration: 30s}}]
measure: {layers: [tcp]}
"""


class Breaker:
    """A Progress that kills the relay a moment after the traffic has begun."""

    def stage(self, scenario: Scenario, text: str, done: int, total: int) -> None:
        """Break the link of the first run."""
        if text == "run 1":
            threading.Timer(1.0, kill_relay).start()


def kill_relay() -> None:
    for entry in Path("/proc/self/task").glob("*/children"):
        for child in entry.read_text().split():
            if b"relay" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(int(child), signal.SIGKILL)


def test_a_relay_that_is_killed_is_named_as_the_reason() -> None:
    (scenario,) = load_text(SCENARIO, "broken-cable.yaml")
    began_s = time.monotonic()
    with Runner.create(RunOptions(repeat=1), Breaker()) as runner, pytest.raises(LabError) as caught:
        runner.run(scenario)
    assert "links[0] client-server: the relay process ended (status -9)" in str(caught.value)
    assert time.monotonic() - began_s < 25.0  # the traffic alone takes 30 s
