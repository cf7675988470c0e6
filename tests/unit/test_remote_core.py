"""What is refused of real machines, before any of them is connected to."""

from __future__ import annotations

import pytest

from perfcheck.errors import UsageError
from perfcheck.remote.core import refuse_what_only_a_lab_has
from perfcheck.scenario import load_text

TEXT = """\
scenario: real
hosts: {a: {ssh: root@192.0.2.7, interface: eth1}, b: {ssh: root@192.0.2.8, interface: eth1}}
links: [{between: [a, b]}]
traffic: [{command: {host: a, run: "true"}}]
measure: {layers: [app], mode: MODE}
"""


def test_summary_mode_alone_is_measured() -> None:
    (scenario,) = load_text(TEXT.replace("MODE", "summary"), "real.yaml")
    refuse_what_only_a_lab_has(scenario, series=False)
    (detailed,) = load_text(TEXT.replace("MODE", "detail"), "real.yaml")
    with pytest.raises(UsageError, match="real: mode detail follows packets from host to host by one clock"):
        refuse_what_only_a_lab_has(detailed, series=False)


def test_series_are_refused() -> None:
    (scenario,) = load_text(TEXT.replace("MODE", "summary"), "real.yaml")
    with pytest.raises(UsageError, match="real: --series samples all hosts at the same moments"):
        refuse_what_only_a_lab_has(scenario, series=True)
