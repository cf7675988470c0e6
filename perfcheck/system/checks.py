"""What this machine can do, as `perfcheck doctor` shows it. Each check tries the feature; none compares versions."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perfcheck.errors import PerfcheckError, Unavailable
from perfcheck.system import commands, netns

TOOLS: Final = ("ip", "tc", "nft", "ethtool", "bpftool")

NEEDED: Final = ("privileges", "network namespaces")
"""Names of the checks without which nothing at all can be measured."""

_CAPABILITIES: Final = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_ADMIN": 21}
_LOOPBACK_INDEX: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that perfcheck can use: whether it is there, why not, and how to get it.

    `hook` says what is used for it where there is a choice. `parts` are what it gives (by metric, with or without
    the stat) that is not as it is elsewhere: missing, or by another hook.
    """

    name: str
    ok: bool
    why: str = ""
    fix: str = ""
    hook: str = ""
    parts: tuple[Check, ...] = ()


def system_checks() -> tuple[Check, ...]:
    """Check privileges, namespaces, emulators' ground, BTF and tools."""
    return (
        checked("privileges", require_privileges),
        checked("network namespaces", require_namespaces),
        checked("TUN/TAP (emulator relay)", require_tun),
        checked("netem (emulator netem)", lambda: require_qdisc("netem", delay=1000)),
        checked("kernel BTF", require_btf),
        *(checked(tool, functools.partial(commands.find, tool)) for tool in TOOLS),
    )


def checked(name: str, require: Callable[[], object]) -> Check:
    """Make a Check of a function that raises Unavailable where something is missing, and may give a tuple of parts."""
    try:
        found = require()
    except Unavailable as lacking:
        return Check(name=name, ok=False, why=lacking.why, fix=lacking.fix)
    except PerfcheckError as problem:
        return Check(name=name, ok=False, why=str(problem))
    parts = tuple(one for one in found if isinstance(one, Check)) if isinstance(found, tuple) else ()
    return Check(name=name, ok=True, parts=parts)


def require_privileges() -> None:
    """Raise Unavailable unless this process may make namespaces and change networking."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    effective = int(status.split("CapEff:", 1)[1].split()[0], 16)
    lacking = [name for name, bit in _CAPABILITIES.items() if not effective >> bit & 1]
    if lacking:
        who = "root without them" if os.geteuid() == 0 else f"user {os.geteuid()}"
        fix = "start the container with --privileged" if os.geteuid() == 0 else "run as root (sudo)"
        raise Unavailable("privileges", f"{', '.join(lacking)} missing: this is {who}", fix)


def require_namespaces() -> None:
    """Raise Unavailable unless a network namespace can be made."""
    try:
        netns.scratch(lambda: None)
    except OSError as refused:
        raise Unavailable(
            "network namespaces", f"the kernel refuses to create one: {refused.strerror}", "run as root (CAP_SYS_ADMIN)"
        ) from None


def require_qdisc(kind: str, **options: object) -> None:
    """Raise Unavailable unless the kernel takes this qdisc; it is added to the loopback of a scratch namespace.

    `options` are pyroute2's, for the qdiscs that do not go without.
    """
    require_namespaces()
    refused = netns.scratch(lambda: _try_qdisc(kind, options))
    if refused:
        raise Unavailable(
            kind,
            f"this kernel refuses the qdisc: {os.strerror(refused)}",
            f"use a kernel with CONFIG_NET_SCH_{kind.upper()}, such as Debian's (Ubuntu: linux-modules-extra)",
        )


def require_tun() -> None:
    """Raise Unavailable unless /dev/net/tun can be opened."""
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
    except OSError as refused:
        raise Unavailable(
            "/dev/net/tun", f"it cannot be opened: {refused.strerror}",
            "run modprobe tun as root; for a container: --device /dev/net/tun",
        ) from None  # fmt: skip


def require_btf() -> None:
    """Raise Unavailable unless the kernel describes its own types (/sys/kernel/btf/vmlinux)."""
    if not Path("/sys/kernel/btf/vmlinux").exists():
        raise Unavailable(
            "kernel BTF",
            "/sys/kernel/btf/vmlinux is missing",
            "use a kernel with CONFIG_DEBUG_INFO_BTF (Debian has it)",
        )


def _try_qdisc(kind: str, options: Mapping[str, object]) -> int:
    """Return 0 where the kernel takes the qdisc, else its errno."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    with IPRoute() as ip:
        try:
            ip.tc("add", kind, index=_LOOPBACK_INDEX, handle=0x10000, **options)
        except NetlinkError as refused:
            return int(refused.code) or errno.EINVAL
    return 0
