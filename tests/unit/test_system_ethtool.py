"""What the kernel says of the loopback device by two of ethtool's commands, and of a device that is not there."""

from __future__ import annotations

import pytest

from perfcheck.errors import LabError
from perfcheck.system import ethtool

LONG = {"tso": "tx-tcp-segmentation", "gso": "tx-generic-segmentation", "gro": "rx-gro"}


def test_both_commands_show_the_same_offloads() -> None:
    active = ethtool.active_features("lo")
    assert active
    assert {name for name in ethtool.offloads_on("lo") if name in LONG} == {
        short for short, long in LONG.items() if long in active
    }


def test_a_device_that_is_not_there_says_nothing_and_cannot_be_set() -> None:
    assert ethtool.driver("none0") is None
    assert ethtool.offloads_on("none0") == ()
    assert ethtool.statistics("none0") is None
    assert ethtool.active_features("none0") is None
    with pytest.raises(LabError, match="none0: turning gro off was refused: No such device"):
        ethtool.turn_offloads_off("none0")
