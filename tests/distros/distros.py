"""Runs `make demo` and `make test` of the committed HEAD in a fresh chroot of each Debian: `make distros`.

    DISTROS="bookworm trixie" TARGETS="demo test" python tests/distros/distros.py

CACHE names a folder for a tarball of each base system; WORK a folder for the chroots (default: the folder for
temporary files); OUTPUT a folder for logs and records (default: results/distros). Needs root and debootstrap. Exits
with 0 if each target did, and if both distributions had the same verdicts on metrics that the emulated path decides.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import verdicts
from chroot import Chroot, in_private_mounts

TREE: Final = Path(__file__).resolve().parents[2]
CLONE: Final = "/root/perfcheck"
RECORDS: Final = f"{CLONE}/results/demo.jsonl"
LOCK: Final = Path("/run/perfcheck/measuring.lock")
KNOWN: Final = ("bookworm", "trixie")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one target ended."""

    distro: str
    target: str
    status: int
    seconds: float
    last: str


def main() -> int:
    """Run all that was asked for and print what came of it."""
    distros, targets = os.environ.get("DISTROS", "").split(), os.environ.get("TARGETS", "").split()
    distros, targets = distros or list(KNOWN), targets or ["demo", "test"]
    _check(distros)
    in_private_mounts()
    # A way out like any other: all is undone.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    output = Path(os.environ.get("OUTPUT") or TREE / "results" / "distros").resolve()
    output.mkdir(parents=True, exist_ok=True)
    outcomes = [one for distro in distros for one in _try(distro, targets, output)]
    print("\n" + _summary(outcomes))
    alike = _compare(distros, output) if "demo" in targets else True
    return 0 if alike and not any(one.status for one in outcomes) else 1


def _leave(number: int, frame: object) -> NoReturn:
    del frame
    raise SystemExit(128 + number)


def _check(distros: list[str]) -> None:
    if unknown := sorted(set(distros) - set(KNOWN)):
        raise SystemExit(f"make distros: DISTROS: {', '.join(unknown)} is not one of {', '.join(KNOWN)}")
    if os.geteuid():
        raise SystemExit("make distros: run as root")
    if shutil.which("debootstrap", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        raise SystemExit("make distros: missing: apt-get install debootstrap")


def _try(distro: str, targets: list[str], output: Path) -> list[Outcome]:
    work = Path(tempfile.mkdtemp(prefix=f"perfcheck-{distro}-", dir=os.environ.get("WORK") or None)).resolve()
    chroot = Chroot(suite=distro, root=work / "root")
    try:
        print(f"{distro}: base system", flush=True)
        chroot.unpack(Path(os.environ["CACHE"]).resolve() if os.environ.get("CACHE") else None)
        chroot.configure()
        _clone(chroot.root / CLONE[1:])
        chroot.mount()
        LOCK.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        LOCK.touch(mode=0o600)
        chroot.share_file(LOCK)
        return [_make(chroot, target, output) for target in targets]
    finally:
        chroot.remove()
        shutil.rmtree(work)


def _clone(target: Path) -> None:
    if subprocess.run(["git", "-C", TREE, "status", "--porcelain"], check=True, capture_output=True).stdout:
        print("note: what is not committed is not tried")
    source = f"file://{TREE}"
    subprocess.run(["git", "clone", "-q", "--depth", "1", source, target], check=True, stdin=subprocess.DEVNULL)
    # A name of this machine's own, which the clone in the chroot does not have.
    subprocess.run(["git", "-C", target, "remote", "remove", "origin"], check=True)


def _make(chroot: Chroot, target: str, output: Path) -> Outcome:
    log, records = output / f"{chroot.suite}-{target}.log", output / f"{chroot.suite}-{target}.jsonl"
    print(f"{chroot.suite}: make {target} (see {log})", flush=True)
    options = {"PYTEST_ADDOPTS": f"--perfcheck-json={RECORDS}"} if target == "demo" else {}
    began = time.monotonic()
    status = chroot.run(["make", target], CLONE, log, options)
    seconds = time.monotonic() - began
    made = chroot.root / RECORDS[1:]
    records.unlink(missing_ok=True)
    if target == "demo" and made.exists():
        shutil.copyfile(made, records)
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = lines[-1] if lines else ""
    print(f"{chroot.suite}: make {target}: exit status {status}, {seconds:.0f} s: {last}", flush=True)
    return Outcome(distro=chroot.suite, target=target, status=status, seconds=seconds, last=last)


def _summary(outcomes: list[Outcome]) -> str:
    lines = [f"{'Debian':10}  {'target':6}  {'exit':>4}  {'time':>7}  last line"]
    lines += [
        f"{one.distro:10}  {one.target:6}  {one.status:>4}  {one.seconds:>5.0f} s  {one.last}" for one in outcomes
    ]
    return "\n".join(lines)


def _compare(distros: list[str], output: Path) -> bool:
    """Print what was decided, and whether it was decided alike."""
    columns = {distro: verdicts.read(output / f"{distro}-demo.jsonl") for distro in distros}
    print("\n" + verdicts.table(columns))
    first, *others = distros
    found = [
        f"{first} and {other}: {line}"
        for other in others
        for line in verdicts.differences(columns[first], columns[other])
    ]
    for line in found:
        print(f"decided differently: {line}")
    if others and not found:
        print("the same verdicts for all that the emulated path decides")
    return not found


if __name__ == "__main__":
    sys.exit(main())
