"""Runs a command under a stock Debian kernel: QEMU in software, on copies of this machine's programs and this folder.

    python tests/vm/guest.py [--release 6.1] -- COMMAND...

The guest counts instructions instead of time, on one CPU, and has all files in its memory. It waits only for its own
timers, so each run is the same, and a busy machine only makes it slower. What the command writes to the folder is lost
at the end. The kernel's package is fetched from Debian once and kept under
~/.cache/perfcheck. Needs root, and on Debian 12: apt-get install qemu-system-x86 busybox-static kmod
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import rootfs

CACHE: Final = Path.home() / ".cache" / "perfcheck" / "kernels"
MEMORY: Final = "4G"
NEEDED: Final = {
    "qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "depmod": "kmod", "dpkg": "dpkg",
}  # fmt: skip
"""Programs, and the Debian packages that have them."""
INIT: Final = """#!/bin/busybox sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LC_ALL=C.UTF-8
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs tmpfs /dev/shm; ln -s /proc/self/fd /dev/fd
mount -t tmpfs tmpfs /run; mkdir /run/netns
mount -t bpf bpf /sys/fs/bpf; mount -t tracefs tracefs /sys/kernel/tracing; mount -t cgroup2 cgroup /sys/fs/cgroup
ip link set lo up
modprobe tun
stty -F /dev/ttyS1 raw -echo
cd {directory}
{command} >/dev/ttyS1 2>&1 </dev/null
echo "{ended}$?"
exec busybox poweroff -f
"""
ENDED: Final = "the command's exit status: "
"""What the guest writes to its console in the end."""


def check_programs() -> None:
    """End the program with what to install where something is missing."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [package for program, package in NEEDED.items() if shutil.which(program, path=path) is None]
    if missing:
        raise SystemExit(f"missing: apt-get install {' '.join(missing)}")


def fetched(release: str) -> Path:
    """Return the directory of the newest unpacked Debian cloud kernel of this release, fetched where it is missing."""
    have = sorted(CACHE.glob(f"linux-image-{release}.*"))
    if have:
        return have[-1]
    CACHE.mkdir(parents=True, exist_ok=True)
    found = subprocess.run(
        ["apt-cache", "search", "--names-only", rf"^linux-image-{re.escape(release)}\.[0-9].*-cloud-amd64$"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    packages = [line.split()[0] for line in found.stdout.splitlines()]
    if not packages:
        raise SystemExit(f"apt knows no cloud kernel of release {release}: apt-get update?")
    package = max(packages, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        subprocess.run(["apt-get", "download", package], cwd=folder, check=True)
        (archive,) = Path(folder).glob("*.deb")
        unpacked = Path(folder) / package
        subprocess.run(["dpkg", "-x", archive, unpacked], check=True)
        (modules,) = (unpacked / "lib" / "modules").iterdir()
        subprocess.run(["depmod", "-b", unpacked, modules.name], check=True)
        unpacked.rename(CACHE / package)
    return CACHE / package


def boot(kernel: Path, command: Sequence[str], directory: Path, timeout_s: float) -> int:
    """Run the command in a guest and give its exit status; what it writes is written to standard output at once."""
    (modules,) = (kernel / "lib" / "modules").iterdir()
    init = INIT.format(directory=shlex.quote(str(directory)), command=shlex.join(command), ended=ENDED)
    with tempfile.TemporaryDirectory(prefix="guest.") as name:
        initrd, console = Path(name) / "initrd", Path(name) / "console"
        with initrd.open("wb") as out:
            rootfs.write(out, init=init, modules=modules, tree=directory)
        qemu = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-M", "q35",
            "-accel", "tcg", "-icount", "shift=2,sleep=off", "-seed", "1", "-rtc", "clock=vm",
            "-cpu", "max", "-smp", "1", "-m", MEMORY,
            "-kernel", str(kernel / "boot" / f"vmlinuz-{modules.name}"), "-initrd", str(initrd),
            "-append", "console=ttyS0 panic=-1 quiet loglevel=3 nokaslr",
            "-chardev", f"file,id=console,path={console}", "-serial", "chardev:console",
            "-chardev", "stdio,id=output,signal=off", "-serial", "chardev:output",
        ]  # fmt: skip
        subprocess.run(qemu, stdin=subprocess.DEVNULL, timeout=timeout_s, check=True)
        told = console.read_text(encoding="utf-8", errors="replace")
    status = re.search(rf"{ENDED}(\d+)", told)
    if status is None:
        raise SystemExit(f"the guest did not get to the end of the command:\n{told[-3000:]}")
    return int(status[1])


def main() -> int:
    """Run the command line's command in a guest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", default="6.1", help="Debian's kernel: 6.1, or 6.12 from its backports and updates")
    parser.add_argument("--timeout", type=float, default=900.0, metavar="S")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    check_programs()
    return boot(fetched(arguments.release), arguments.command, Path.cwd(), arguments.timeout)


if __name__ == "__main__":
    sys.exit(main())
