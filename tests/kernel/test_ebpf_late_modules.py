"""What a run lacks until its own lab has had the kernel load a module: for a guest that has it as one (`make vm`)."""

from __future__ import annotations

import pytest

from perfcheck.ebpf import functions
from perfcheck.errors import Unavailable
from perfcheck.runner import Runner, RunOptions
from perfcheck.scenario import load_text
from perfcheck.system.modules import loaded_modules

TRACKING = """
scenario: tracking
hosts:
  client: {}
  server:
    setup:
      - nft add table inet t
      - nft 'add chain inet t c { type filter hook input priority 0; }'
      - nft add rule inet t c ct state invalid counter
links: [{between: [client, server], delay: 1ms}]
traffic: [{iperf3: {from: client, to: server, duration: 1s, rate: 10mbit}}]
measure: {layers: [ip]}
repeat: 1
expect: {ip.conntrack_us.p50: "<= 1ms"}
"""


def test_what_the_labs_own_setup_loads_is_measured_in_the_same_run() -> None:
    try:
        functions.attachment_to("fib_table_lookup")
    except Unavailable as lacking:
        pytest.skip(str(lacking))
    if "nf_conntrack" in loaded_modules():
        pytest.skip("nf_conntrack is loaded already")
    try:
        functions.attachment_to("nf_conntrack_in")
    except Unavailable as lacking:
        assert "modprobe" in lacking.fix  # noqa: PT017 - that it is missing is where the test begins
    else:
        pytest.skip("nf_conntrack is built into this kernel")
    (scenario,) = load_text(TRACKING, "tracking.yaml")
    with Runner.create(RunOptions()) as runner:
        record = runner.run(scenario)
    assert "nf_conntrack" in loaded_modules()
    assert record.metrics["ip.conntrack_us.p50"].value > 0
    assert record.metrics["ip.conntrack_us.max"].value >= record.metrics["ip.conntrack_us.p50"].value
