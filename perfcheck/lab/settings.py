"""Settings of one host: sysctls and the congestion control, written inside its network namespace.

All functions here that touch /proc/sys run in the host's namespace (see
system.netns.NetnsThread.inside), except where they say otherwise.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from perfcheck.errors import LabError
from perfcheck.model.scenario import HostSpec
from perfcheck.system import sysctl

CONGESTION_KEY: Final = "net.ipv4.tcp_congestion_control"
AVAILABLE_KEY: Final = "net.ipv4.tcp_available_congestion_control"

_MAF_TIMER_RUNNING: Final = 0x01
"""include/net/if_inet6.h"""

Inside = Callable[[Callable[[], object]], object]
"""Calls a function inside a host's namespace."""


def defaults(spec: HostSpec) -> Mapping[str, str]:
    """Return what every host of a lab starts with; keys that this kernel does not have are passed over.

    A new namespace takes the IPv4 forwarding and rp_filter settings over from the machine, so they
    are set in any case. What IPv6 sends of its own accord (duplicate address detection, router
    solicitations, MLD reports) is kept off the links or made quick (`quiet` tells when it is over):
    it would be lost, delayed and counted like traffic. MLD version 1 sends its two reports at once.
    """
    forward = "1" if spec.router else "0"
    return {
        "net.ipv4.ip_forward": forward,
        "net.ipv4.conf.all.rp_filter": "0",
        "net.ipv4.conf.default.rp_filter": "0",
        "net.ipv4.tcp_no_metrics_save": "1",
        "net.ipv6.conf.all.disable_ipv6": "0",
        "net.ipv6.conf.default.disable_ipv6": "0",
        "net.ipv6.conf.all.forwarding": forward,
        "net.ipv6.conf.all.accept_dad": "0",
        "net.ipv6.conf.default.accept_dad": "0",
        "net.ipv6.conf.default.accept_ra": "0",
        "net.ipv6.conf.default.addr_gen_mode": "1",
        "net.ipv6.conf.default.force_mld_version": "1",
        "net.ipv6.conf.default.mldv1_unsolicited_report_interval": "1",
        "net.ipv6.conf.default.router_solicitations": "0",
    }


def write_defaults(spec: HostSpec) -> None:
    """Write the defaults that this kernel knows."""
    for key, value in defaults(spec).items():
        if is_own(key):
            sysctl.write(key, value)


def quiet() -> bool:
    """Whether the kernel has no report of a multicast group left to send (/proc/net/igmp6, flags in field 5)."""
    try:
        groups = Path("/proc/thread-self/net/igmp6").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return True
    return not any(int(group.split()[4], 16) & _MAF_TIMER_RUNNING for group in groups)


def wanted_congestion(spec: HostSpec) -> str | None:
    """Return the congestion control that the file asks for; the sysctl, being the kernel's own name, wins."""
    asked = spec.sysctl.get(CONGESTION_KEY, spec.congestion)
    return None if asked is None else str(asked)


def set_congestion(host: str, name: str) -> bool:
    """Set the host's default congestion control; False where the kernel lets only routes choose this one.

    Outside the first network namespace the sysctl takes only what is listed in
    net.ipv4.tcp_allowed_congestion_control; a route's `congctl` metric takes all that are there.
    """
    try:
        sysctl.write(CONGESTION_KEY, name)
    except PermissionError:
        return False
    except OSError as refused:
        raise _no_such_congestion(host, name, refused) from None
    return True


def _no_such_congestion(host: str, name: str, refused: OSError) -> LabError:
    available = ", ".join(sysctl.read(AVAILABLE_KEY) or ())
    why = "is not available" if refused.errno == errno.ENOENT else f"was refused ({refused.strerror})"
    return LabError(
        f"host {host}: congestion control {name} {why}; this kernel has {available}."
        f" Choose one of them, or load it: modprobe tcp_{name}"
    )


def file_sysctls(spec: HostSpec) -> Mapping[str, str]:
    """Return the file's sysctls, without the congestion control, which is set in its own way."""
    return {key: str(value) for key, value in spec.sysctl.items() if key != CONGESTION_KEY}


def is_inherited(key: str) -> bool:
    """Whether interfaces take this sysctl's value over when they are made, so that it has to be set before them."""
    return "default" in key.replace("/", ".").split(".")


def check_key(host: str, key: str) -> None:
    """Raise LabError for a key that cannot be a host's own."""
    try:
        path = sysctl.path_of(key)
    except ValueError as wrong:
        raise LabError(f"host {host}: {wrong}") from None
    if path.relative_to(sysctl.ROOT).parts[0] != "net":
        raise LabError(
            f"host {host}: {key} applies to the whole machine, not to a host of the lab: only net.* can be set"
        )


def is_own(key: str) -> bool:
    """Whether the namespace has a sysctl of its own under this key that may be written.

    The kernel hides what is not per namespace, or shows it read-only (since Linux 5.12).
    """
    try:
        return bool(sysctl.path_of(key).stat().st_mode & 0o200)
    except OSError:
        return False


def set_own(host: str, key: str, value: str, inside: Inside) -> None:
    """Write one sysctl of the host; LabError where the kernel refuses it, changes it, or it leaks to the machine.

    Called outside the host, with the way into it. A leak, which kernels before 5.12 allowed, is
    put right at once.
    """
    before = sysctl.read(key)
    try:
        inside(lambda: sysctl.write(key, value))
    except OSError as refused:
        raise LabError(f"host {host}: {key}={value} was refused by the kernel: {refused.strerror}") from None
    if before is not None and sysctl.read(key) != before:
        sysctl.write(key, " ".join(before))
        raise LabError(f"host {host}: {key} is not per network namespace on this kernel; the machine's value was kept")
    now: list[tuple[str, ...] | None] = []
    inside(lambda: now.append(sysctl.read(key)))
    if now[0] is not None and not _same(now[0], sysctl.tokens(value)):
        raise LabError(f"host {host}: {key}={value} was changed by the kernel to {' '.join(now[0])}")


def _same(now: tuple[str, ...], asked: tuple[str, ...]) -> bool:
    return len(now) == len(asked) and all(_number(one) == _number(other) for one, other in zip(now, asked, strict=True))


def _number(word: str) -> int | str:
    try:
        return int(word, 0)
    except ValueError:
        return word


def flush_routes() -> None:
    """Forget path MTUs and redirects learned by earlier trials."""
    for key in ("net.ipv4.route.flush", "net.ipv6.route.flush"):
        if os.access(sysctl.path_of(key), os.W_OK):
            sysctl.write(key, "1")
