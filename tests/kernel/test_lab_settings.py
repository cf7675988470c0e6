"""A host's own settings may shape, police and drop: links are proved before they come up."""

from __future__ import annotations

from typing import Final

import pytest
from lab_building import do_without

from perfcheck.errors import Unavailable
from perfcheck.model.verdict import Verdict
from perfcheck.runner import Runner
from perfcheck.scenario import load_text
from perfcheck.system import commands

pytestmark = pytest.mark.kernel

SCENARIO: Final = """
scenario: device-under-test
hosts:
  client: {SETTINGS}
  server: {}
links: [{between: [client, server], delay: 2ms, rate: 50mbit, queue: 100p, emulator: relay}]
traffic: [{iperf3: {from: client, to: server, duration: 2s}}]
measure: {layers: [app, tcp]}
repeat: 1
"""
SHAPES: Final = 'setup: ["tc qdisc add dev eth0 root tbf rate 5mbit burst 10kb latency 50ms"]'
POLICES: Final = """setup:
      - nft add table inet t
      - "nft add chain inet t out { type filter hook output priority 0; }"
      - "nft add rule inet t out udp dport 9 drop"
      - "nft add rule inet t out tcp dport 5201 limit rate over 1000 kbytes/second burst 20 kbytes drop"
"""


@pytest.mark.parametrize(("settings", "most_bps", "tool"), [(SHAPES, 5.3e6, "tc"), (POLICES, 12e6, "nft")])
def test_a_host_that_shapes_or_polices_is_measured_behind_links_that_are_as_asked(
    runner: Runner, settings: str, most_bps: float, tool: str
) -> None:
    try:
        commands.find(tool)
    except Unavailable as lacking:
        do_without(lacking)
    block = settings.replace("\n", "\n    ")
    (scenario,) = load_text(SCENARIO.replace("{SETTINGS}", f"\n    {block}"), "device.yaml")
    record = runner.run(scenario)
    assert record.verdict is Verdict.PASS, record.invalid_reason
    (link,) = record.emulators.values()
    forward = link["proof"]["ways"][0]
    assert forward["rate_bps"] == pytest.approx(50e6, rel=0.05)
    assert forward["lost"] == 0
    assert 1e6 < record.metrics["app.throughput_bps"].value < most_bps
