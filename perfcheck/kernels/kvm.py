"""Whether guests run in real time here: KVM boots one, which is tried."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Final

from perfcheck.errors import GuestDied, LabError, Unavailable
from perfcheck.kernels.archive import Archive
from perfcheck.kernels.guest import GuestOptions, boot
from perfcheck.kernels.programs import program
from perfcheck.kernels.store import Kernel

DEVICE: Final = Path("/dev/kvm")
BOOT_S: Final = 20.0
"""Within which a guest with KVM boots on any machine; one that cannot run stands still."""
FOLDERS: Final = ("dev", "proc", "sys", "run", "tmp")
_FIX: Final = "use --time virtual, which needs no KVM"


def require_kvm(kernel: Kernel) -> None:
    """Raise Unavailable where KVM cannot boot this kernel: a device alone says little, such as in a virtual machine."""
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        why = f"{DEVICE} is missing" if not DEVICE.exists() else f"this user may not use {DEVICE}"
        raise Unavailable("KVM", why, _FIX)
    try:
        boot(kernel, _write, (), GuestOptions(time="real", memory_mb=512, boot_limit_s=BOOT_S, limit_s=BOOT_S))
    except (GuestDied, LabError) as error:
        raise Unavailable("KVM", f"a guest with it does not boot here: {error}", _FIX) from error


def _write(out: BinaryIO) -> None:
    """Write an image of nothing but init, which ends at once."""
    archive = Archive(out)
    archive.folders(FOLDERS)
    archive.file("init", program("init"), 0o755)
    archive.finish()
