"""What a device's driver counts for itself (`ethtool -S`), as far as it can be told without knowing the driver."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

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


def counters(ifnames: Iterable[str]) -> dict[str, dict[str, int]]:
    """Read the driver's counters of interfaces of the calling thread's namespace; those without any are left out."""
    from pyroute2.ethtool.ioctl import IoctlEthtool, NotSupportedError

    found = {}
    for ifname in ifnames:
        device = IoctlEthtool(ifname)
        try:
            found[ifname] = dict(device.get_statistics())
        except (NotSupportedError, OSError):
            continue
        finally:
            device.close()
    return found


def offloads(ifnames: Iterable[str]) -> dict[str, dict[str, bool]]:
    """Read which offloads interfaces of the calling thread's namespace have on (`ethtool -k`), by OFFLOADS' keys."""
    from pyroute2.ethtool.ioctl import IoctlEthtool, NotSupportedError

    found = {}
    for ifname in ifnames:
        device = IoctlEthtool(ifname)
        try:
            features = device.get_features()
            found[ifname] = {
                name: any(one in features and features.is_active(one) for one in names)
                for name, names in OFFLOADS.items()
            }
        except (NotSupportedError, OSError):
            continue
        finally:
            device.close()
    return found


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
