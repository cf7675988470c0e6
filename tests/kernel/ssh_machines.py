"""Two machines with a real sshd each, and a desk to measure from: network, mount and process namespaces of this one.

Each has its own /run, its own processes and its own host key. The desk reaches each over a link of its own, and the
two are joined by another one, `eth1` to `eth1`. Everything ends with the first process of each machine.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PERFCHECK: Final = (sys.executable, "-c", "import sys; from perfcheck.cli import main; sys.exit(main())")
START_S: Final = 10.0
SETTLING_S: Final = 20.0
"""How long what has ended may take to be gone: sshd waits for its children when it is scheduled next."""
SSHD: Final = "/usr/sbin/sshd"
_FIRST: Final = """\
import os, shutil, subprocess, sys
folder, *words = sys.argv[1:]
def run(*argv): subprocess.run(argv, check=True)
# As Debian mounts it.
run("mount", "-t", "tmpfs", "-o", "nosuid,nodev,noexec", "tmpfs", "/run")
run("mount", "--bind", folder + "/passwd", "/etc/passwd")
os.mkdir("/run/sshd", 0o755)
# Where every user may read it, as sshd does by the user's own rights.
run("install", "-m", "644", folder + "/authorized_keys", "/run/authorized_keys")
# `ip netns exec` has mounted a /sys without it.
run("mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup")
if "no-bpf" in words:
    run("mount", "-t", "tmpfs", "tmpfs", "/sys/kernel/btf")
if "no-gcc" in words and shutil.which("gcc"):
    run("mount", "--bind", "/dev/null", shutil.which("gcc"))
if words and words[0].startswith("hostname="):
    run("hostname", words[0].partition("=")[2])
os.execv("/usr/sbin/sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", folder + "/sshd_config"])
"""
_CONFIG: Final = """\
Port 22
HostKey {folder}/host_key
AuthorizedKeysFile /run/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PidFile none
PrintMotd no
AcceptEnv LANG
"""


def lacking() -> str | None:
    """Return what is not installed, or None."""
    missing = [program for program in ("ssh", "ssh-keygen", "ip", "unshare") if shutil.which(program) is None]
    missing += [] if Path(SSHD).exists() else ["sshd"]
    return f"not installed: {', '.join(missing)}" if missing else None


@dataclass(kw_only=True)
class Machine:
    """One machine: `address` is where the desk reaches it, `link_address` that of its interface eth1."""

    name: str
    netns: str
    folder: Path
    address: str
    link_address: str
    process: subprocess.Popen[bytes] = field(init=False)

    def inside(self, *argv: str, check: bool = True) -> str:
        """Return what a command prints in all of the machine's namespaces."""
        pid = self._first()
        done = subprocess.run(
            ["nsenter", "--target", pid, "--net", "--mount", "--pid", "--uts", "--", *argv],
            check=check, capture_output=True, text=True, timeout=20.0,
        )  # fmt: skip
        return done.stdout

    def processes(self) -> list[str]:
        """Return the command lines of all its processes but sshd's listening one."""
        lines = self.inside("ps", "-eo", "args", "--no-headers").splitlines()
        return [line for line in lines if not line.startswith(("ps ", "sshd: /usr/sbin/sshd"))]

    def run_files(self) -> list[str]:
        """Return what is in its run directory of perfcheck, but for the lock's file."""
        found = self.inside("find", "/run/perfcheck", "-mindepth", "1", check=False).split()
        return [path for path in found if not path.endswith("/measuring.lock")]

    def left(self) -> list[str]:
        """Return which processes and files of perfcheck are left once all have had the time to go."""
        deadline = time.monotonic() + SETTLING_S
        while (found := [*self.processes(), *self.run_files()]) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def features(self) -> str:
        """Return the features of eth1."""
        return self.inside("ethtool", "-k", "eth1")

    def sysctl(self, key: str) -> str:
        """Return a sysctl's value."""
        return self.inside("sysctl", "-n", key).strip()

    def _first(self) -> str:
        """Return the pid of its first process, which unshare has started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return children[0]


@dataclass(kw_only=True)
class Desk:
    """Where perfcheck runs, and the machines that it reaches."""

    netns: str
    folder: Path
    machines: Mapping[str, Machine]

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a command at the desk: its ssh has the test's config, key and known hosts."""
        path = f"{self.folder}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "PERFCHECK_RUN_DIR": str(self.folder / "run"), **more}

    def popen(self, *argv: str) -> subprocess.Popen[bytes]:
        """Start a command at the desk."""
        return subprocess.Popen(
            [*self._there(), *argv], cwd=self.folder, env=self.environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def perfcheck(self, *arguments: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run perfcheck at the desk to its end."""
        return subprocess.run(
            [*self._there(), *PERFCHECK, *arguments], cwd=self.folder, env=self.environment(), text=True,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False,
        )  # fmt: skip

    def _there(self) -> Sequence[str]:
        return ("ip", "netns", "exec", self.netns)


@contextlib.contextmanager
def two_machines(folder: Path, *words: str) -> Iterator[Desk]:
    """Make the desk and the machines `a` and `b`; `words` say what is special of machine b.

    `no-bpf`: it has no BTF. `no-gcc`: it has no compiler. `ahead=SECONDS`: its CLOCK_MONOTONIC is so far ahead.
    """
    tag = secrets.token_hex(3)
    names = {name: f"t{tag}-{name}" for name in ("desk", "a", "b")}
    machines: dict[str, Machine] = {}
    with contextlib.ExitStack() as stack:
        for netns in names.values():
            _ip("netns", "add", netns)
            stack.callback(_ip, "netns", "del", netns)
            _ip("-n", netns, "link", "set", "lo", "up")
        _wire(names)
        _keys(folder)
        for number, name in enumerate(("a", "b"), start=1):
            machine = Machine(
                name=name, netns=names[name], folder=folder / name, address=f"192.0.2.{4 * number + 2}",
                link_address=f"198.51.100.{number}",
            )  # fmt: skip
            _prepare(machine, folder)
            machine.process = _started(machine, words if name == "b" else ())
            stack.callback(_ended, machine.process)
            machines[name] = machine
        desk = Desk(netns=names["desk"], folder=folder, machines=machines)
        _write_client(folder, names["desk"], machines)
        for machine in machines.values():
            _await_sshd(machine)
        yield desk


def _wire(names: Mapping[str, str]) -> None:
    for number, name in enumerate(("a", "b"), start=1):
        near, far = f"192.0.2.{4 * number + 1}", f"192.0.2.{4 * number + 2}"
        _ip("-n", names["desk"], "link", "add", f"to-{name}", "type", "veth",
            "peer", "name", "eth0", "netns", names[name])  # fmt: skip
        for netns, device, address in ((names["desk"], f"to-{name}", near), (names[name], "eth0", far)):
            _ip("-n", netns, "addr", "add", f"{address}/30", "dev", device)
            _ip("-n", netns, "link", "set", device, "up")
    _ip("-n", names["a"], "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", names["b"])
    for number, name in enumerate(("a", "b"), start=1):
        _ip("-n", names[name], "addr", "add", f"198.51.100.{number}/24", "dev", "eth1")
        _ip("-n", names[name], "link", "set", "eth1", "up")


def _keys(folder: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)


def _prepare(machine: Machine, folder: Path) -> None:
    machine.folder.mkdir(parents=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(machine.folder / "host_key")], check=True)
    shutil.copy(folder / "key.pub", machine.folder / "authorized_keys")
    (machine.folder / "sshd_config").write_text(_CONFIG.format(folder=machine.folder))
    passwd = Path("/etc/passwd").read_text() + f"plain:x:4321:65534:a plain user:{machine.folder}:/bin/sh\n"
    (machine.folder / "passwd").write_text(passwd)


def _started(machine: Machine, words: Sequence[str]) -> subprocess.Popen[bytes]:
    log = (machine.folder / "sshd.log").open("wb")
    ahead = [word.removeprefix("ahead=") for word in words if word.startswith("ahead=")]
    clock = ["--time", "--monotonic", *ahead] if ahead else []
    argv = [
        "ip", "netns", "exec", machine.netns, "unshare", "--mount", "--pid", "--uts", "--fork", "--mount-proc",
        "--kill-child", "--propagation", "private", *clock, "--", sys.executable, "-c", _FIRST, str(machine.folder),
        f"hostname={machine.name}", *words,
    ]  # fmt: skip
    with log:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _write_client(folder: Path, netns: str, machines: Mapping[str, Machine]) -> None:
    """Write what the desk's ssh knows: a config, the key, and the machines' host keys; it runs at the desk."""
    known = folder / "known_hosts"
    lines = []
    for machine in machines.values():
        kind, key, *_ = (machine.folder / "host_key.pub").read_text().split()
        lines.append(f"{machine.address} {kind} {key}\n")
    known.write_text("".join(lines))
    config = folder / "ssh_config"
    options = (
        f"UserKnownHostsFile {known}", "GlobalKnownHostsFile none", f"IdentityFile {folder}/key", "IdentitiesOnly yes",
        "IdentityAgent none",
    )  # fmt: skip
    config.write_text("".join(["Host *\n", *(f"  {option}\n" for option in options)]))
    wrapper = folder / "ssh"
    wrapper.write_text(
        f'#!/bin/sh\nexec {shutil.which("ip")} netns exec {netns} {shutil.which("ssh")} -F {config} "$@"\n'
    )
    wrapper.chmod(0o755)


def _await_sshd(machine: Machine) -> None:
    deadline = time.monotonic() + START_S
    while "Server listening" not in (said := (machine.folder / "sshd.log").read_text()):
        if machine.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"sshd of machine {machine.name} does not start: {said}")
        time.sleep(0.01)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=20.0)
