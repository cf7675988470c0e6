"""What runs may leave on a machine, looked up without perfcheck's own code: for tests that kill them."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

KINDS: Final = (
    "namespaces", "links", "qdiscs", "BPF programs", "BPF maps", "BPF links", "processes", "control groups",
    "files", "sysctls", "locks", "mounts", "partial files",
)  # fmt: skip
SETTLING_S: Final = 5.0
"""The kernel frees programs and namespaces a moment after their last holder is gone."""

_BPF: Final = {"x86_64": 321, "aarch64": 280}
_NEXT_ID: Final = {"BPF programs": 11, "BPF maps": 12, "BPF links": 31}
"""Commands of bpf(2): BPF_PROG_GET_NEXT_ID, BPF_MAP_GET_NEXT_ID, BPF_LINK_GET_NEXT_ID."""
_HELD: Final = re.compile(rb"^(prog|map|link)_id:\s*(\d+)$", re.MULTILINE)
_WORDS: Final = {"prog": "programs", "map": "maps", "link": "links"}
_NO_SETTING: Final = re.compile(r"nf_conntrack_count$|/(nf_conntrack_)?(buckets|max)$|route/gc_|/random/|inode|dentry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Where to look: the folder of a test with its run directory and output files, and the word in its processes."""

    folder: Path
    run_dir: Path
    word: str

    def now(self) -> Mapping[str, frozenset[str]]:
        """Return everything of each kind that is there now."""
        looks: Mapping[str, Callable[[], Iterator[str]]] = {
            "namespaces": _namespaces,
            "links": lambda: (link["ifname"] for link in json.loads(_output("ip", "-j", "link"))),
            "qdiscs": lambda: iter(re.sub(r"refcnt \d+", "", _output("tc", "qdisc", "show")).splitlines()),
            "processes": self._processes,
            "control groups": _groups,
            "files": self._files,
            "sysctls": _sysctls,
            "locks": self._locks,
            "mounts": lambda: iter(Path("/proc/self/mountinfo").read_text().splitlines()),
            "partial files": self._partial_files,
        }
        found = {kind: frozenset(look()) for kind, look in looks.items()}
        others = _bpf_of_others()
        return found | {kind: frozenset(_bpf_ids(number)) - others[kind] for kind, number in _NEXT_ID.items()}

    def differing(
        self, before: Mapping[str, frozenset[str]], settling_s: float = SETTLING_S
    ) -> Mapping[str, frozenset[str]]:
        """Return what is there and was not before, or was and is not, at every look until things have settled."""
        deadline = time.monotonic() + settling_s
        lasting: dict[str, frozenset[str]] | None = None
        while True:
            now = self.now()
            differing = {kind: now[kind] ^ before[kind] for kind in KINDS}
            lasting = {kind: differing[kind] & (lasting[kind] if lasting else differing[kind]) for kind in KINDS}
            if not any(lasting.values()) or time.monotonic() > deadline:
                return lasting
            time.sleep(0.05)

    def _processes(self) -> Iterator[str]:
        """Yield processes with the word in their arguments, a lab's tag or group, or another network namespace."""
        mine = _inode("self", "net")
        for pid in _pids():
            folder = Path("/proc", pid)
            words = _bytes(folder / "cmdline").split(b"\0")
            tagged = b"PERFCHECK_TAG=" in _bytes(folder / "environ") or b"/pc-" in _bytes(folder / "cgroup")
            apart = _inode(pid, "net") not in {mine, 0}
            ours = self.word.encode() in b" ".join(words) or (_near(pid) and (tagged or apart))
            if ours and not _ended(pid):
                yield f"{pid} {b' '.join(words).decode(errors='replace')}"

    def _files(self) -> Iterator[str]:
        for root in (Path("/run"), self.run_dir, self.folder / "tmp"):
            for folder, folders, files in os.walk(root):
                yield from (str(Path(folder, name)) for name in (*folders, *files))

    def _locks(self) -> Iterator[str]:
        inodes = {str(path.stat().st_ino) for path in (self.run_dir, *self.run_dir.glob("*"))}
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] in inodes:
                yield line.partition(":")[2]

    def _partial_files(self) -> Iterator[str]:
        yield from (str(path) for path in (self.folder / "output").rglob("*") if path.is_file() and not _whole(path))


def held_bpf(pid: int) -> frozenset[tuple[str, str]]:
    """Return kinds (of KINDS) and ids of the BPF programs, maps and links that a process holds."""
    found = set()
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
            for kind, number in _HELD.findall(_bytes(entry)):
                found.add((f"BPF {_WORDS[kind.decode()]}", number.decode()))
    return frozenset(found)


def lasting_bpf(held: frozenset[tuple[str, str]], settling_s: float = SETTLING_S) -> frozenset[tuple[str, str]]:
    """Return which of these are still in the kernel when things have settled, whoever holds them."""
    deadline = time.monotonic() + settling_s
    while True:
        there = {kind: set(_bpf_ids(command)) for kind, command in _NEXT_ID.items()}
        lasting = frozenset((kind, number) for kind, number in held if number in there[kind])
        if not lasting or time.monotonic() > deadline:
            return lasting
        time.sleep(0.05)


def _whole(path: Path) -> bool:
    """Whether a file is what a writer that nobody killed leaves: a baseline, records, or a part of a history."""
    if path.name.startswith(".unfinished-"):
        return False
    data = path.read_bytes()
    ends: Mapping[str, tuple[bytes, bytes]] = {".yaml": (b"", b"...\n"), ".parquet": (b"PAR1", b"PAR1")}
    if path.suffix == ".jsonl":
        return _whole_lines(path)
    begin, end = ends.get(path.suffix, (b"", b""))
    return data.startswith(begin) and data.endswith(end)


def _whole_lines(path: Path) -> bool:
    text = path.read_text()
    try:
        records = [json.loads(line) for line in text.splitlines()]
    except ValueError:
        return False
    return text.endswith("\n") or not records


def _namespaces() -> Iterator[str]:
    """Yield names under /run/netns and the inodes of those that processes are in."""
    yield from (path.name for path in Path("/run/netns").glob("*"))
    yield from {str(_inode(pid, "net")) for pid in _pids() if _near(pid)} - {"0"}


def _groups() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if " - cgroup2 " in line:
            yield from (folder for folder, _, _ in os.walk(line.split()[4]) if not _of_others(folder))


def _of_others(group: str) -> bool:
    """Whether processes of another mount namespace run in a group: another campaign's, or a run beside this one."""
    threads = _bytes(Path(group, "cgroup.threads")).decode().split()
    return "/pc-" in group and bool(threads) and not any(_near(thread) for thread in threads)


def _sysctls() -> Iterator[str]:
    for folder, _, files in os.walk("/proc/sys/net"):
        for name in files:
            path = Path(folder, name)
            if not _NO_SETTING.search(str(path)):
                yield f"{path}={_bytes(path).decode(errors='replace').strip()}"


def _bpf_ids(command: int) -> Iterator[str]:
    """Yield the ids of all programs, maps or links of the kernel."""
    number = _BPF[os.uname().machine]
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = (ctypes.c_uint32 * 16)()
    while libc.syscall(number, command, ctypes.byref(attributes), ctypes.sizeof(attributes)) == 0:
        yield str(attributes[1])
        attributes[0] = attributes[1]


def _pids() -> Iterator[str]:
    return (name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid())  # noqa: PTH208


def _bpf_of_others() -> Mapping[str, frozenset[str]]:
    """Return the ids of what processes of other mount namespaces hold."""
    found: dict[bytes, set[str]] = {b"prog": set(), b"map": set(), b"link": set()}
    for pid in _pids():
        if not _near(pid):
            with contextlib.suppress(OSError):
                for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
                    for kind, number in _HELD.findall(_bytes(entry)):
                        found[kind].add(number.decode())
    return {f"BPF {name}s": frozenset(found[kind]) for kind, name in
            ((b"prog", "program"), (b"map", "map"), (b"link", "link"))}  # fmt: skip


def _near(pid: str) -> bool:
    """Whether a process is in this one's mount namespace, as all are that it has started."""
    return _inode(pid, "mnt") == _inode("self", "mnt")


def _inode(pid: str, kind: str) -> int:
    try:
        return Path(f"/proc/{pid}/ns/{kind}").stat().st_ino
    except OSError:
        return 0


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _ended(pid: str) -> bool:
    return _bytes(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()[:1] in ([], [b"Z"], [b"X"])


def _output(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=20.0).stdout
