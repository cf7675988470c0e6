"""Whether BPF can be used here at all; imports little, so that compilation can begin at once."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from perfcheck.ebpf import bcc as bcc_package
from perfcheck.ebpf import cache
from perfcheck.ebpf.libbpf import Libbpf
from perfcheck.errors import Unavailable

_CAP_SYS_ADMIN: Final = 21
_CAP_PERFMON: Final = 38
_CAP_BPF: Final = 39


def check_bpf() -> None:
    """Raise Unavailable without the kernel's BTF, the right to use BPF, libbpf, or BCC where it is to compile."""
    if not cache.VMLINUX.exists():
        raise Unavailable(
            "the kernel's BTF", f"{cache.VMLINUX} is missing", "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y"
        )
    require_bpf_rights()
    Libbpf()
    if not cache.is_complete():
        bcc_package.find()


def require_bpf_rights() -> None:
    """Raise Unavailable unless this process holds CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, which includes both."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    held = int(status.split("CapEff:", 1)[1].split()[0], 16)
    if not (held >> _CAP_SYS_ADMIN & 1 or (held >> _CAP_BPF & 1 and held >> _CAP_PERFMON & 1)):
        raise Unavailable("BPF", "this process lacks CAP_BPF and CAP_PERFMON", "run as root (sudo)")
