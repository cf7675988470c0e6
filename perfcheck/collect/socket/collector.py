"""The socket layer: how full buffers and queues of the lab's sockets are, read 5 times a second.

An iterator (bpf/socket.bpf.c) reads the TCP connections made since the trial started; without BPF, sock_diag
does. sock_diag always reads UDP sockets and listening ones: there are few, and no tracepoint shows their
creation. If a reading takes long, the next one waits.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from perfcheck.collect import declared
from perfcheck.collect.base.programs import LayerPrograms
from perfcheck.collect.base.window import TOO_SHORT
from perfcheck.collect.sockdiag import skmeminfo
from perfcheck.collect.socket.buffers import Looks
from perfcheck.collect.socket.series import BufferSeries
from perfcheck.ebpf.run_stats import RunClock
from perfcheck.errors import CollectError, Unavailable
from perfcheck.model.flow import Protocol
from perfcheck.model.observation import Observation, Overhead, Scope
from perfcheck.system.netns import NetnsThread

_ITERATOR: Final = "bpf_sk_storage_map"
_PERIOD_S: Final = 0.2
_SHARE: Final = 20
"""A look may take one part in so many of the time."""
_LONGEST_S: Final = 0.5
"""One look that was held up says little of the next."""
_ROUND: Final = 3
"""In one look of so many all questions are asked, in the others those that had an answer then."""
_Question = tuple[str, int, int, int]
_MANY: Final = 8
"""From so many listening sockets of a host on, one question about all is the cheaper."""
_QUESTIONS: Final = tuple(
    (family, protocol, states)
    for family in (socket.AF_INET, socket.AF_INET6)
    for protocol, states in (
        (socket.IPPROTO_TCP, skmeminfo.LISTEN), (socket.IPPROTO_UDP, skmeminfo.ANY),
        (socket.IPPROTO_TCP, skmeminfo.CONNECTED),
    )
)  # fmt: skip
_SOCKSTAT: Final = Path("/proc/thread-self/net/sockstat")
_SOCKSTAT6: Final = Path("/proc/thread-self/net/sockstat6")
_SOCKSTAT_BYTES: Final = 1 << 12
_NAMES: Final = {
    (socket.AF_INET, socket.IPPROTO_TCP): b"TCP:", (socket.AF_INET, socket.IPPROTO_UDP): b"UDP:",
    (socket.AF_INET6, socket.IPPROTO_TCP): b"TCP6:", (socket.AF_INET6, socket.IPPROTO_UDP): b"UDP6:",
}  # fmt: skip


class _InUse:
    """Tells of which families and protocols the calling thread's namespace has no socket at all: sockstat."""

    def __init__(self) -> None:
        """Open the files; one that is missing rules nothing out."""
        self._fds: list[int] = []
        for file in (_SOCKSTAT, _SOCKSTAT6):
            with contextlib.suppress(OSError):
                self._fds.append(os.open(file, os.O_RDONLY | os.O_CLOEXEC))

    def none(self) -> frozenset[bytes]:
        """Return the names (of _NAMES) of which there is none."""
        return unused(b"".join(os.pread(fd, _SOCKSTAT_BYTES, 0) for fd in self._fds))

    def close(self) -> None:
        """Close them: an open one keeps the namespace alive."""
        for fd in self._fds:
            os.close(fd)
        self._fds = []


class SocketCollector:
    """Looks at the sockets of the scope's namespaces in equal steps of time, from the end of the warm-up."""

    declared = declared.SOCKET

    def __init__(self) -> None:
        """Nothing is loaded before `open`."""
        self._programs: LayerPrograms | None = LayerPrograms(self.declared, {})
        self._clock = RunClock()
        self._scope: Scope | None = None
        self._diags: dict[str, skmeminfo.DiagSocket] = {}
        self._in_use: dict[str, _InUse] = {}
        self._looks = Looks()
        self._answered: dict[_Question, list[bytes]] = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._problem = ""
        self._time_wait = 0
        self._period_s = _PERIOD_S

    @property
    def clock(self) -> RunClock:
        """The clock that times the programs."""
        return self._clock

    def timed_by(self, clock: RunClock) -> None:
        """Have the programs timed together with other collectors'; before `open`."""
        self._clock = clock
        if self._programs is not None:
            self._programs.timed_by(clock)

    @property
    def name(self) -> str:
        """The collector's name."""
        return self.declared.name

    def check(self) -> None:
        """Raise Unavailable where the kernel does not answer sock_diag."""
        diag = skmeminfo.DiagSocket()
        try:
            list(diag.dump(socket.AF_INET, socket.IPPROTO_TCP, skmeminfo.LISTEN))
        except OSError as error:
            raise Unavailable(
                "sock_diag", str(error), "a kernel with CONFIG_INET_DIAG and CONFIG_INET_TCP_DIAG (modprobe tcp_diag)"
            ) from error
        finally:
            diag.close()

    def open(self) -> None:
        """Load and attach; without BPF all is asked of sock_diag."""
        if self._programs is None:
            return
        try:
            self._programs.open()
        except Unavailable:
            self._programs = None

    def begin(self, scope: Scope) -> None:
        """Follow new connections, and look from the end of the warm-up on."""
        self._stop()
        self._scope, self._looks, self._problem, self._time_wait = scope, Looks(), "", 0
        with NetnsThread() as namespaces:
            for host, path in scope.netns_paths.items():
                self._diags[host] = namespaces.inside(path, skmeminfo.DiagSocket)
                self._in_use[host] = namespaces.inside(path, _InUse)
        if self._programs is not None:
            self._programs.stop()
            self._programs.follow(scope)
        self._ended.clear()
        self._thread = threading.Thread(target=self._watch, args=(scope,), name="sockets", daemon=True)
        self._thread.start()

    def end(self) -> Observation:
        """Look no more and give each socket's buffers."""
        scope = self._scope
        if scope is None or self._thread is None:
            raise CollectError("the socket collector was not begun")
        self._stop()
        if self._problem:
            raise CollectError(f"sockets could not be read: {self._problem}")
        started_s = time.thread_time()
        lost, warnings = 0, [] if self._looks.count else [TOO_SHORT]
        overhead = Overhead()
        if self._programs is not None:
            self._programs.stop()
            overhead, lost = self._programs.overhead(), self._programs.lost()
            warnings += self._programs.warnings()
        seen = self.between(0, self._looks.count)
        ends = {"socket.time_wait.max": float(self._time_wait)} if self._looks.count else {}
        return replace(
            seen, metrics={**seen.metrics, **ends}, lost_events=lost, warnings=tuple(warnings),
            overhead=replace(overhead, user_cpu_s=time.thread_time() - started_s),
        )  # fmt: skip

    def series(self) -> BufferSeries:
        """Return the source of the trial's time series: the looks that are taken anyway."""
        scope = self._scope
        hosts = {inode: host for host, inode in scope.namespaces.items()} if scope is not None else {}
        return BufferSeries(self._looks, hosts)

    def snapshot(self) -> int:
        """Return how often was looked."""
        return self._looks.count

    def between(self, first: object, second: object) -> Observation:
        """Return what the looks between two snapshots saw, and nothing where there was none.

        Connections in TIME_WAIT are counted at the ends of a trial only.
        """
        if not (isinstance(first, int) and isinstance(second, int)):
            raise TypeError("expected two snapshots of the socket collector")
        if first >= second or self._scope is None:
            return Observation(collector=self.name)
        hosts = {inode: host for host, inode in self._scope.namespaces.items()}
        return Observation(
            collector=self.name, metrics=self._looks.metrics(first, second),
            socket_buffers=tuple(self._looks.buffers(hosts, first, second)),
        )  # fmt: skip

    def drop_before(self, snapshot: object) -> None:
        """Let go of what was seen before a snapshot: for who measures without an end."""
        if isinstance(snapshot, int):
            self._looks.forget(snapshot)

    def program_ns(self) -> int:
        """Return the run time of the programs since they were loaded, 0 without BPF."""
        return 0 if self._programs is None else self._programs.run_ns()

    def do_less(self, share: float) -> str | None:
        """Look less often, once: shares of looks stay shares of time, only coarser."""
        del share
        if self._period_s >= _LONGEST_S:
            return None
        done = f"socket buffers were read every {_LONGEST_S:g} s instead of every {self._period_s:g} s"
        self._period_s = _LONGEST_S
        return done

    def close(self) -> None:
        """Look no more and detach; safe to call twice."""
        self._stop()
        if self._programs is not None:
            self._programs.close()

    def _stop(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        for diag in self._diags.values():
            diag.close()
        for one in self._in_use.values():
            one.close()
        self._diags, self._in_use = {}, {}

    # From here on: in the thread.

    def _watch(self, scope: Scope) -> None:
        if self._ended.wait(scope.warmup_ns / 1e9):
            return
        try:
            if self._programs is not None:
                self._programs.count()
            self._count_time_wait(scope.netns_paths)
            while True:
                began_s = time.monotonic()
                self._look()
                took_s = time.monotonic() - began_s
                if self._ended.wait(min(max(self._period_s - took_s, _SHARE * took_s), _LONGEST_S)):
                    break
            self._count_time_wait(scope.netns_paths)
        except (OSError, ValueError) as error:
            self._problem = str(error)

    def _look(self) -> None:
        self._looks.begin()
        if self._programs is not None:
            self._looks.add_lines(self._programs.run_iterator(_ITERATOR), self._programs.view("look").dtype)
        if (self._looks.count - 1) % _ROUND:
            questions = list(self._answered)
        else:
            questions = self._all_questions()
            self._answered.clear()
        for question in questions:
            host, _, protocol, states = question
            found = self._ask(question)
            if states == skmeminfo.LISTEN:
                self._looks.add_listening(found)
            elif found:
                self._looks.add(host, Protocol.TCP if protocol == socket.IPPROTO_TCP else Protocol.UDP, found)

    def _all_questions(self) -> list[_Question]:
        """A question about what there is none of costs as much as another."""
        none = {host: in_use.none() for host, in_use in self._in_use.items()}
        return [
            (host, family, protocol, states) for host in self._diags for family, protocol, states in _QUESTIONS
            if (states != skmeminfo.CONNECTED or self._programs is None)
            and _NAMES[family, protocol] not in none[host]
        ]  # fmt: skip

    def _ask(self, question: _Question) -> list[skmeminfo.DiagLook]:
        """Listening sockets come and go seldom: those that are known are asked for by name, which costs a fourth."""
        host, family, protocol, states = question
        if requests := self._answered.get(question):
            return list(self._diags[host].ask(requests))
        if found := _dump(self._diags[host], family, protocol, states):
            by_name = found if states == skmeminfo.LISTEN and len(found) < _MANY else []
            self._answered[question] = [skmeminfo.request_for(family, protocol, one) for one in by_name]
        return found

    def _count_time_wait(self, paths: Mapping[str, str]) -> None:
        with NetnsThread() as namespaces:
            for path in paths.values():
                found = namespaces.inside(path, lambda: time_wait(_SOCKSTAT.read_text(encoding="ascii")))
                self._time_wait = max(self._time_wait, found)


def _dump(diag: skmeminfo.DiagSocket, family: int, protocol: int, states: int) -> list[skmeminfo.DiagLook]:
    """Ask; a kernel without that family or protocol (ENOENT) has no such sockets."""
    try:
        return list(diag.dump(family, protocol, states))
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.EAFNOSUPPORT}:
            raise
        return []


def unused(sockstat: bytes) -> frozenset[bytes]:
    """Read /proc/net/sockstat and sockstat6: names of lines by which no socket is in use."""
    lines = (line.split() for line in sockstat.splitlines())
    return frozenset(words[0] for words in lines if words[1:3] == [b"inuse", b"0"])


def time_wait(text: str) -> int:
    """Read how many of a namespace's TCP sockets are in TIME_WAIT, from /proc/net/sockstat."""
    words = next((line.split() for line in text.splitlines() if line.startswith("TCP:")), [])
    with contextlib.suppress(ValueError):
        return int(words[words.index("tw") + 1])
    return 0
