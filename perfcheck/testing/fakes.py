"""Scripted fakes of the seams; `perfcheck.testing` says how they behave."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar, cast

from perfcheck.errors import Unavailable
from perfcheck.model.link import DIRECTIONS, LinkSpec
from perfcheck.model.names import Family
from perfcheck.model.observation import LinkReport, Observation, Scope, TrafficReport
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import Scenario, TrafficSpec
from perfcheck.model.seams import EmulatedLink, Host, LinkEnd, TrafficSession, UndoLog
from perfcheck.system.memory_file import MemoryFile
from perfcheck.testing.values import make_traffic_report

Answer = TypeVar("Answer")


def _answer(script: Sequence[Answer | BaseException], turn: int) -> Answer:
    answer = script[min(turn, len(script) - 1)]
    if isinstance(answer, BaseException):
        raise answer
    return answer


@dataclass(kw_only=True)
class _Fake:
    name: str = "fake"
    unavailable: Unavailable | None = None
    calls: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raise `unavailable` if one was given."""
        if self.unavailable is not None:
            raise self.unavailable


class FakeProcess:
    """A process that is none: scripted output and exit status, with the parts of Popen that generators use.

    `exit_status` None stands for a process that runs until it is signalled; it then ends with minus
    the signal's number, as Popen reports it.
    """

    def __init__(self, argv: Sequence[str] = (), *, stdout: bytes = b"", stderr: bytes = b"",
                 exit_status: int | None = 0) -> None:  # fmt: skip
        """Fill both streams; they are real files, so that select(2) and poll(2) take them."""
        self.args = list(argv)
        self.pid = 0
        self.returncode: int | None = None
        self.stdin = None
        self.stdout = self._stream(stdout)
        self.stderr = self._stream(stderr)
        self.signals: list[int] = []
        self._status = exit_status
        self._ended = threading.Event()
        if exit_status is not None:
            self._ended.set()

    @staticmethod
    def _stream(content: bytes) -> IO[bytes]:
        stream = tempfile.TemporaryFile()  # noqa: SIM115 - the process's user closes it, as with Popen
        stream.write(content)
        stream.seek(0)
        return stream

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""
        if self._ended.is_set():
            self.returncode = self._status
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; TimeoutExpired as Popen raises it."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        self.returncode = self._status
        return cast("int", self._status)

    def communicate(self, input: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:  # noqa: A002
        """Wait for the end and give both streams."""
        del input
        self.wait(timeout)
        with self.stdout, self.stderr:
            return self.stdout.read(), self.stderr.read()

    def send_signal(self, sig: int) -> None:
        """Note the signal; a process without an exit status of its own ends by it."""
        self.signals.append(sig)
        if not self._ended.is_set():
            self._status = -sig
            self._ended.set()

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(15)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(9)


@dataclass(kw_only=True)
class FakeHost:
    """A host that starts nothing: `processes` makes the FakeProcess for each argv, `commands` keeps the argvs.

    `ports` are the (port, protocol) pairs on which something listens; `listening` may instead be
    given a callable through `listens`.
    """

    name: str = "client"
    addresses: Sequence[str] = ("198.18.0.1",)
    towards: Mapping[str, str] = field(default_factory=dict)
    netns_path: str = "/run/netns/fake"
    netns_inode: int = 4026532001
    ports: set[tuple[int, str]] = field(default_factory=set)
    listens: Callable[[int, str], bool] | None = None
    processes: Callable[[Sequence[str]], FakeProcess] = FakeProcess
    commands: list[tuple[str, ...]] = field(default_factory=list)
    started: list[FakeProcess] = field(default_factory=list)

    def address_towards(self, peer: str, family: Family = "ipv4") -> str:
        """Return `towards[peer]`, else the first address, whatever the family."""
        del family
        return self.towards.get(peer, self.addresses[0])

    def require(self, program: str) -> None:
        """Have everything."""
        del program

    def file(self, label: str, content: bytes = b"") -> MemoryFile:
        """Make a real file in memory: scripted processes may write to it."""
        return MemoryFile(label, content)

    def own_program(self, name: str) -> Sequence[str]:
        """Return words of that shape."""
        return ("python", "-I", "-S", name)

    def compiled_program(self, source: Path) -> str:
        """Return a path that tells which one was asked for."""
        return f"/programs/{source.stem}"

    def popen(self, argv: Sequence[str], *, stdin: int | None = None) -> subprocess.Popen[bytes]:
        """Make the scripted process."""
        del stdin
        self.commands.append(tuple(argv))
        process = self.processes(argv)
        self.started.append(process)
        return cast("subprocess.Popen[bytes]", process)

    def run(self, argv: Sequence[str], *, timeout_s: float = 30.0) -> subprocess.CompletedProcess[bytes]:
        """Return the scripted process's output and status."""
        self.commands.append(tuple(argv))
        process = self.processes(argv)
        stdout, stderr = process.communicate(timeout=timeout_s)
        return subprocess.CompletedProcess(list(argv), process.returncode or 0, stdout, stderr)

    def listening(self, port: int, protocol: str = "tcp") -> bool:
        """Whether the script says that something listens."""
        if self.listens is not None:
            return self.listens(port, protocol)
        return (port, protocol) in self.ports


@dataclass(kw_only=True)
class FakeUndoLog:
    """A journal in memory."""

    tag: str = "pf0000"
    notes: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def note(self, kind: str, name: str, **detail: str) -> None:
        """Keep the note."""
        self.notes.append((kind, name, detail))


@dataclass(kw_only=True)
class FakeLink:
    """A link that is up only in the script: one pair of reports (forward, reverse) a trial."""

    script: Sequence[tuple[LinkReport, ...] | BaseException]
    calls: list[str] = field(default_factory=list)
    trials: int = 0

    def begin_trial(self, index: int) -> None:
        """Note the trial."""
        self.calls.append(f"begin_trial {index}")

    def end_trial(self) -> tuple[LinkReport, ...]:
        """Return the next reports of the script."""
        self.calls.append("end_trial")
        self.trials += 1
        return _answer(self.script, self.trials - 1)

    def close(self) -> None:
        """Note the close."""
        self.calls.append("close")


@dataclass(kw_only=True)
class FakeEmulator(_Fake):
    """Makes FakeLinks, kept in `links`; `refuses` is what `floor` answers."""

    name: str = "fake"
    script: Sequence[tuple[LinkReport, ...] | BaseException] = ()
    refuses: str | None = None
    links: list[FakeLink] = field(default_factory=list)

    def up(self, index: int, link: LinkSpec, ends: tuple[LinkEnd, LinkEnd], undo: UndoLog) -> EmulatedLink:
        """Make a link; without a script its reports say that nothing passed and nothing was lost."""
        del ends, undo
        self.calls.append(f"up {index} {'-'.join(link.between)}")
        quiet = tuple(
            LinkReport(link=index, way=name, emulator=self.name, received=0, delivered=0) for name in DIRECTIONS
        )
        made = FakeLink(script=self.script or (quiet,))
        self.links.append(made)
        return made

    def floor(self, link: LinkSpec) -> str | None:
        """Return `refuses`."""
        del link
        return self.refuses


@dataclass(kw_only=True)
class FakeSession:
    """One generator's scripted traffic of one trial."""

    answer: TrafficReport | BaseException
    calls: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Note the start."""
        self.calls.append("start")

    def wait(self) -> TrafficReport:
        """Return the report or raise what the script holds."""
        self.calls.append("wait")
        return _answer((self.answer,), 0)

    def stop(self) -> None:
        """Note the stop."""
        self.calls.append("stop")


@dataclass(kw_only=True)
class FakeGenerator(_Fake):
    """Scripted traffic; without a script each trial reports one flow between the spec's hosts."""

    name: str = "iperf3"
    script: Sequence[TrafficReport | BaseException] = ()
    sessions: list[FakeSession] = field(default_factory=list)

    def prepare(self, spec: TrafficSpec, hosts: Mapping[str, Host], warmup_ns: int) -> TrafficSession:
        """Make the next session of the script; a Unavailable in it is raised here, as real generators do."""
        self.calls.append(f"prepare {spec.generator} warmup_ns={warmup_ns}")
        script = self.script or (make_traffic_report(spec, hosts),)
        answer = script[min(len(self.sessions), len(script) - 1)]
        if isinstance(answer, Unavailable):
            raise answer
        session = FakeSession(answer=answer)
        self.sessions.append(session)
        return session


@dataclass(kw_only=True)
class FakeCollector(_Fake):
    """Scripted observations; without a script each trial is empty. `scopes` keeps what `begin` was given."""

    name: str = "tcp"
    script: Sequence[Observation | BaseException] = ()
    scopes: list[Scope] = field(default_factory=list)

    def open(self) -> None:
        """Note it."""
        self.calls.append("open")

    def begin(self, scope: Scope) -> None:
        """Keep the scope."""
        self.calls.append("begin")
        self.scopes.append(scope)

    def end(self) -> Observation:
        """Return the next observation of the script."""
        self.calls.append("end")
        return _answer(self.script or (Observation(collector=self.name),), len(self.scopes) - 1)

    def close(self) -> None:
        """Note it."""
        self.calls.append("close")


@dataclass(kw_only=True)
class ListOutput:
    """An output that keeps the records."""

    name: str = "list"
    records: list[RunRecord] = field(default_factory=list)
    is_open: bool = False

    def open(self) -> None:
        """Begin to take records."""
        self.is_open = True

    def write(self, record: RunRecord) -> None:
        """Keep one; AssertionError if it is not open, since a writer of files would fail there too."""
        assert self.is_open, "write() outside open() and close()"  # noqa: S101
        self.records.append(record)

    def close(self) -> None:
        """Take no more."""
        self.is_open = False


@dataclass(kw_only=True)
class ListProgress:
    """A progress listener that keeps `(scenario label, text, done, total)`."""

    stages: list[tuple[str, str, int, int]] = field(default_factory=list)

    def stage(self, scenario: Scenario, text: str, done: int, total: int) -> None:
        """Keep one stage."""
        self.stages.append((scenario.label, text, done, total))


def make_hosts(scenario: Scenario) -> dict[str, Host]:
    """Make a FakeHost for each host of the scenario, with an address of 198.18.0.0/15 each."""
    return {
        name: FakeHost(
            name=name,
            addresses=(f"198.18.0.{number}",),
            netns_inode=4026532000 + number,
            netns_path=f"/run/netns/{name}",
        )
        for number, name in enumerate(scenario.hosts, start=1)
    }
