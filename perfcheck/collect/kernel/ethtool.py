"""What devices' drivers count for themselves, as far as it can be told without knowing the driver, and offloads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from perfcheck.system import ethtool

_DROPS: Final = ("drop", "discard", "miss", "no_buf", "nobuf", "overrun", "overflow", "ring_full")
OFFLOADS: Final[Mapping[str, frozenset[str]]] = {
    "tso": frozenset({"tx-tcp-segmentation", "tx-tcp6-segmentation"}),
    "gso": frozenset({"tx-generic-segmentation"}),
    "gro": frozenset({"rx-gro"}),
    "tx_csum": frozenset({"tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-ipv6"}),
    "rx_csum": frozenset({"rx-checksum"}),
}
"""What saves the CPU work on each packet, by the kernel's names of the features that do it."""

_ERRORS: Final = ("err", "crc", "bad_", "abort", "timeout", "stall")


def counters(ifnames: Iterable[str]) -> dict[str, Mapping[str, int]]:
    """Return the driver's counters of interfaces of the calling thread's namespace; those without any are left out."""
    read = ((ifname, ethtool.statistics(ifname)) for ifname in ifnames)
    return {ifname: found for ifname, found in read if found is not None}


def offloads(ifnames: Iterable[str]) -> dict[str, dict[str, bool]]:
    """Return which offloads interfaces of the calling thread's namespace have on, by OFFLOADS' keys."""
    read = ((ifname, ethtool.active_features(ifname)) for ifname in ifnames)
    return {
        ifname: {name: not names.isdisjoint(active) for name, names in OFFLOADS.items()}
        for ifname, active in read
        if active is not None
    }


def grew(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Return the counters that grew, by how much; gauges that fell are none."""
    return {name: value - before[name] for name, value in after.items() if value > before.get(name, value)}


def drops(counters: Mapping[str, int]) -> int:
    """Add up what the driver, by the counters' names, dropped."""
    return sum(value for name, value in counters.items() if _names(name, _DROPS))


def errors(counters: Mapping[str, int]) -> int:
    """Add up what went wrong otherwise, by the counters' names."""
    return sum(value for name, value in counters.items() if _names(name, _ERRORS) and not _names(name, _DROPS))


def _names(name: str, words: Iterable[str]) -> bool:
    return any(word in name.lower() for word in words)
