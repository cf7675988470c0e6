"""What ethtool -K, -G, -C and -L set, by the same ioctl; all in the calling thread's namespace."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final

from perfcheck.errors import LabError
from perfcheck.model.setting import CHANNELS, COALESCE, RINGS
from perfcheck.system import ethtool

_GET_STRINGS_INFO: Final = 0x37
_GET_STRINGS: Final = 0x1B
_FEATURES: Final = 4
_STRING_BYTES: Final = 32
_GET_FEATURES: Final = 0x3A
_SET_FEATURES: Final = 0x3B
_BLOCK: Final = 32

_STRUCTS: Final[Mapping[str, tuple[int, int, int, Sequence[str]]]] = {
    "rings": (0x10, 0x11, 4, RINGS),
    "coalesce": (0x0E, 0x0F, 0, COALESCE),
    "channels": (0x3C, 0x3D, 4, CHANNELS),
}
"""ETHTOOL_G*, ETHTOOL_S* (linux/ethtool.h), how many maxima stand before the values, and the values' names."""

ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "rx": ("rx-checksum",),
    "tx": ("tx-checksum-ipv4", "tx-checksum-ip-generic", "tx-checksum-ipv6", "tx-checksum-fcoe-crc",
           "tx-checksum-sctp"),
    "sg": ("tx-scatter-gather", "tx-scatter-gather-fraglist"),
    "tso": ("tx-tcp-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp-mangleid-segmentation",
            "tx-tcp6-segmentation"),
    "gso": ("tx-generic-segmentation",), "gro": ("rx-gro",), "lro": ("rx-lro",), "rxvlan": ("rx-vlan-hw-parse",),
    "txvlan": ("tx-vlan-hw-insert",), "ntuple": ("rx-ntuple-filter",), "rxhash": ("rx-hashing",),
}  # fmt: skip
"""ethtool(8)'s short names, with the kernel's names of what each stands for."""
LONG_NAMES: Final[Mapping[str, str]] = {
    "rx-checksumming": "rx", "tx-checksumming": "tx", "scatter-gather": "sg", "tcp-segmentation-offload": "tso",
    "generic-segmentation-offload": "gso", "generic-receive-offload": "gro", "large-receive-offload": "lro",
    "rx-vlan-offload": "rxvlan", "tx-vlan-offload": "txvlan", "ntuple-filters": "ntuple", "receive-hashing": "rxhash",
}  # fmt: skip


def numbers(kind: str, ifname: str) -> dict[str, int]:
    """Return the values of `rings`, `coalesce` or `channels` by ethtool's names; LabError where there are none."""
    get, _, maxima, names = _STRUCTS[kind]
    answer = _asked(ifname, get, maxima + len(names), kind)
    return dict(zip(names, answer[maxima:], strict=True))


def set_numbers(kind: str, ifname: str, values: Mapping[str, int]) -> None:
    """Set these values and leave the others; LabError with the driver's answer where it refuses."""
    get, put, maxima, names = _STRUCTS[kind]
    answer = _asked(ifname, get, maxima + len(names), kind)
    now = dict(zip(names, answer[maxima:], strict=True))
    wanted = {**now, **values}
    if wanted == now:
        return
    most = dict(zip(names, answer[:maxima], strict=True)) if maxima else {}
    for name, value in values.items():
        if maxima and value > most[name]:
            raise LabError(f"{ifname}: {name} {value} is more than the device has: {most[name]}")
    words = struct.pack(f"{1 + maxima + len(names)}I", put, *answer[:maxima], *(wanted[name] for name in names))
    try:
        ethtool.ask(ifname, words)
    except OSError as refused:
        raise LabError(f"{ifname}: {kind} {_shown(values)} was refused: {refused.strerror}") from None


def features(ifname: str) -> dict[str, tuple[bool, bool]]:
    """Return each feature by the kernel's name: whether it is on, and whether it can be changed."""
    names, blocks = _feature_blocks(ifname)
    found = {}
    for index, name in enumerate(names):
        available, _, active, never_changed = blocks[index // _BLOCK]
        bit = 1 << index % _BLOCK
        if name:
            found[name] = (bool(active & bit), bool(available & bit and not never_changed & bit))
    return found


def wanted_features(ifname: str) -> dict[str, bool]:
    """Return what is asked of each feature that can be changed, by the kernel's name; another may keep it from it."""
    names, blocks = _feature_blocks(ifname)
    found = {}
    for index, name in enumerate(names):
        available, requested, _, never_changed = blocks[index // _BLOCK]
        bit = 1 << index % _BLOCK
        if name and available & bit and not never_changed & bit:
            found[name] = bool(requested & bit)
    return found


def set_features(ifname: str, values: Mapping[str, bool]) -> None:
    """Ask features of these kernel's names to be on or off; LabError with the driver's answer where it refuses."""
    names, blocks = _feature_blocks(ifname)
    valid, requested = [0] * len(blocks), [0] * len(blocks)
    for index, name in enumerate(names):
        if name in values:
            valid[index // _BLOCK] |= 1 << index % _BLOCK
            requested[index // _BLOCK] |= values[name] << index % _BLOCK
    pairs = [word for pair in zip(valid, requested, strict=True) for word in pair]
    try:
        ethtool.ask(ifname, struct.pack(f"2I{len(pairs)}I", _SET_FEATURES, len(blocks), *pairs))
    except OSError as refused:
        raise LabError(f"{ifname}: a feature was refused: {refused.strerror}") from None


def meant(ifname: str, name: str) -> tuple[str, ...]:
    """Return the kernel's names of the changeable features that a name of ethtool stands for, or raise LabError."""
    known = features(ifname)
    short = LONG_NAMES.get(name, name)
    asked = [each for each in ALIASES.get(short, (name,)) if each in known]
    if not asked:
        raise LabError(f"{ifname} has no feature {name}: `ethtool -k {ifname}` lists those that it has")
    changeable = tuple(each for each in asked if known[each][1])
    if not changeable:
        raise LabError(f"{ifname}: the feature {name} is fixed: the device cannot change it")
    return changeable


def speed_mbit(ifname: str) -> int | None:
    """Return the link's speed as the driver tells it; None where it does not."""
    try:
        answer = ethtool.ask(ifname, struct.pack("I40x", 0x01))
    except OSError:
        return None
    low, high = struct.unpack_from("H", answer, 12)[0], struct.unpack_from("H", answer, 28)[0]
    speed = high << 16 | low
    return speed if 0 < speed < 0xFFFFFFFF and speed != 0xFFFF else None


def _asked(ifname: str, command: int, count: int, kind: str) -> tuple[int, ...]:
    try:
        answer = ethtool.ask(ifname, struct.pack(f"{1 + count}I", command, *[0] * count))
    except OSError as refused:
        raise LabError(f"{ifname}: its driver tells no {kind}: {refused.strerror}") from None
    return struct.unpack(f"{1 + count}I", answer)[1:]


def _feature_blocks(ifname: str) -> tuple[list[str], list[tuple[int, int, int, int]]]:
    try:
        info = ethtool.ask(ifname, struct.pack("IIQI", _GET_STRINGS_INFO, 0, 1 << _FEATURES, 0))
        count = struct.unpack_from("I", info, 16)[0]
        head = struct.pack("III", _GET_STRINGS, _FEATURES, count)
        raw = ethtool.ask(ifname, head + bytes(count * _STRING_BYTES))[len(head) :]
        size = -(-count // _BLOCK)
        answer = ethtool.ask(ifname, struct.pack("II", _GET_FEATURES, size) + bytes(16 * size))
    except OSError as refused:
        raise LabError(f"{ifname}: its features cannot be read: {refused.strerror}") from None
    names = [
        raw[at : at + _STRING_BYTES].split(b"\0", 1)[0].decode(errors="replace")
        for at in range(0, len(raw), _STRING_BYTES)
    ]
    return names, [struct.unpack_from("4I", answer, 8 + 16 * index) for index in range(size)]


def _shown(values: Mapping[str, int]) -> str:
    return " ".join(f"{name} {value}" for name, value in values.items())
