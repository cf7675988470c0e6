"""Runs a command under a stock Debian kernel: QEMU in software, on this machine's own files, which stay as they are.

    python tests/vm/guest.py [--release 6.1] -- COMMAND...

The guest counts instructions instead of time (one CPU), so that timings repeat to a hundredth of a percent and a
busy machine only makes it slower. The kernel's package is fetched from Debian once and kept under ~/.cache/perfcheck.
Needs root, and on Debian 12: apt-get install qemu-system-x86 qemu-system-common busybox-static kmod
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import initramfs

VIRTIOFSD: Final = "/usr/lib/qemu/virtiofsd"
CACHE: Final = Path.home() / ".cache" / "perfcheck" / "kernels"
MEMORY: Final = "2G"
NEEDED: Final = {
    "qemu-system-x86_64": "qemu-system-x86", VIRTIOFSD: "qemu-system-common", str(initramfs.BUSYBOX): "busybox-static",
    "depmod": "kmod", "dpkg": "dpkg",
}  # fmt: skip
"""Programs, and the Debian packages that have them."""
RUN: Final = """#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LC_ALL=C.UTF-8
export PYTHONDONTWRITEBYTECODE=1
mkdir -p /usr/lib/modules; ln -sfn {modules} /usr/lib/modules/$(uname -r)
modprobe tun
cd {directory}
{command} >/share/stdout 2>/share/stderr </dev/null
echo $? >/share/status
sync; exec {busybox} poweroff -f
"""


def check_programs() -> None:
    """End the program with what to install where something is missing."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [package for program, package in NEEDED.items() if shutil.which(program, path=path) is None]
    if missing:
        raise SystemExit(f"missing: apt-get install {' '.join(missing)}")


def fetched(release: str) -> Path:
    """Give the directory of the newest unpacked Debian cloud kernel of this release, fetched where it is missing."""
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


@contextlib.contextmanager
def shared(folder: Path, tag: str, source: Path, cache: str) -> Iterator[list[str]]:
    """Serve a directory to the guest under this tag, and give QEMU's arguments for it."""
    socket = folder / f"{tag}.socket"
    with (folder / f"{tag}.log").open("wb") as log:
        server = subprocess.Popen(
            [VIRTIOFSD, f"--socket-path={socket}", "-o", f"source={source}", "-o", f"cache={cache}",
             "-o", "sandbox=chroot"],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 5
        while not socket.exists():
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"virtiofsd did not start: {(folder / f'{tag}.log').read_text()}")
            time.sleep(0.01)
        yield [
            "-chardev", f"socket,id={tag},path={socket}", "-device", f"vhost-user-fs-pci,chardev={tag},tag={tag}",
        ]  # fmt: skip
    finally:
        server.terminate()
        server.wait()


def boot(kernel: Path, command: Sequence[str], directory: Path, timeout_s: float) -> int:
    """Run the command in a guest and give its exit status, its output copied to ours."""
    (modules,) = (kernel / "lib" / "modules").iterdir()
    with tempfile.TemporaryDirectory(prefix="guest.") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        share = folder / "share"
        share.mkdir()
        (folder / "initrd").write_bytes(initramfs.build(modules))
        (share / "run").write_text(
            RUN.format(
                modules=shlex.quote(str(modules)), directory=shlex.quote(str(directory)),
                command=shlex.join(command), busybox=initramfs.BUSYBOX,
            ),
            encoding="utf-8",
        )  # fmt: skip
        shares = [
            *stack.enter_context(shared(folder, "root", Path("/"), "always")),
            *stack.enter_context(shared(folder, "share", share, "none")),
        ]
        qemu = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-M", "q35", "-accel", "tcg", "-icount", "shift=2,sleep=off", "-cpu", "max", "-smp", "1", "-m", MEMORY,
            "-object", f"memory-backend-memfd,id=memory,size={MEMORY},share=on", "-numa", "node,memdev=memory",
            "-kernel", str(kernel / "boot" / f"vmlinuz-{modules.name}"), "-initrd", str(folder / "initrd"),
            "-append", "console=ttyS0 panic=-1 quiet loglevel=3",
            "-chardev", f"file,id=console,path={folder}/console", "-serial", "chardev:console", *shares,
        ]  # fmt: skip
        subprocess.run(qemu, stdin=subprocess.DEVNULL, timeout=timeout_s, check=True)
        if not (share / "status").exists():
            raise SystemExit(
                f"the guest did not get as far as the command:\n{(folder / 'console').read_text()[-3000:]}"
            )
        sys.stdout.write((share / "stdout").read_text(encoding="utf-8"))
        sys.stderr.write((share / "stderr").read_text(encoding="utf-8"))
        return int((share / "status").read_text(encoding="ascii"))


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
