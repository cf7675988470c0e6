"""The seams between parts: one small Protocol each. A literal table lists the implementations.

Every implementation has `name` and `check()`. It raises `errors.Unavailable(what, why, fix)` if this machine
cannot do it, and returns None if it can.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    # The agent on another machine has these seams without the library that validates files.
    from perfcheck.model.budget import Spending
    from perfcheck.model.link import LinkSpec
    from perfcheck.model.names import Family
    from perfcheck.model.observation import LinkReport, Observation, QueueLook, Scope, TrafficReport
    from perfcheck.model.proof import LinkProof, RealLinkProof
    from perfcheck.model.record import RunRecord
    from perfcheck.model.scenario import Scenario, TrafficSpec
    from perfcheck.model.series import Samples


class Seam(Protocol):
    """What every implementation of every seam has."""

    @property
    def name(self) -> str:
        """Name under which records and messages speak of it."""

    def check(self) -> None:
        """Raise Unavailable where this machine cannot do it; cheap and without side effects."""


class Process(Protocol):
    """A process that runs in a host, with its output in pipes; subprocess.Popen is one."""

    @property
    def pid(self) -> int:
        """Its number on its own machine."""

    @property
    def stdin(self) -> IO[bytes] | None:
        """Its standard input, where it is piped."""

    @property
    def stdout(self) -> IO[bytes] | None:
        """The reading end of its standard output."""

    @property
    def stderr(self) -> IO[bytes] | None:
        """The reading end of its standard error."""

    def poll(self) -> int | None:
        """Return its exit status, minus the signal's number where a signal ended it; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the status; subprocess.TimeoutExpired past the time."""

    def terminate(self) -> None:
        """Send it SIGTERM."""

    def kill(self) -> None:
        """Send it SIGKILL."""


@runtime_checkable
class Told(Protocol):
    """A process of another machine, which tells its times: this machine's /proc does not know it."""

    @property
    def start_ns(self) -> int:
        """When it was started, by this machine's CLOCK_MONOTONIC."""

    @property
    def end_ns(self) -> int:
        """When it ended, by this machine's CLOCK_MONOTONIC; 0 while it runs."""

    @property
    def ahead_ns(self) -> int:
        """How far its machine's CLOCK_MONOTONIC is ahead of this one's."""

    def cpu_s(self) -> float:
        """Return its CPU time, known when it has ended."""


class HostFile(Protocol):
    """A file in a host's machine, without a name in any folder, which the host's processes open by its path."""

    @property
    def folder(self) -> str:
        """The folder that it is in."""

    @property
    def name(self) -> str:
        """Its name in that folder."""

    @property
    def path(self) -> Path:
        """Folder and name."""

    def content(self) -> bytes:
        """Read all of it."""

    def close(self) -> None:
        """Free it; safe to call twice."""


class Host(Protocol):
    """One host of the lab that is up."""

    @property
    def name(self) -> str:
        """The scenario's name of the host."""

    @property
    def netns_path(self) -> str:
        """Path of its network namespace, for setns(2)."""

    @property
    def netns_inode(self) -> int:
        """Inode number of its network namespace."""

    @property
    def addresses(self) -> Sequence[str]:
        """Its IP addresses, the first link's first."""

    def address_towards(self, peer: str, family: Family = "ipv4") -> str:
        """Return the address under which `peer` (another host's name) reaches this host."""

    def require(self, program: str) -> None:
        """Raise Unavailable where the program is not installed on the host's machine."""

    def popen(self, argv: Sequence[str], *, stdin: int | None = None) -> Process:
        """Start a journalled process in the host, pinned as the file says, stdout and stderr piped."""

    def run(self, argv: Sequence[str], *, timeout_s: float = 30.0) -> subprocess.CompletedProcess[bytes]:
        """Run a command in the host to its end, output captured; the status is not judged."""

    def listening(self, port: int, protocol: str = "tcp") -> bool:
        """Whether something listens on the port in this host (by sock_diag, no connection is made)."""

    def file(self, label: str, content: bytes = b"") -> HostFile:
        """Make a file in the memory of the host's machine, to be closed by the caller."""

    def own_program(self, name: str) -> Sequence[str]:
        """Return the words that run a program of perfcheck's own there, such as `traffic/connections/client.py`."""

    def compiled_program(self, source: Path) -> str:
        """Return the path, on the host's machine, of what a C source of perfcheck's own is compiled to."""


class EmulatedLink(Protocol):
    """A link that is up."""

    def begin_trial(self, index: int) -> None:
        """Start a trial: counters to 0 and the loss pattern back to its seed."""

    def end_trial(self) -> tuple[LinkReport, ...]:
        """Return the reports of both directions since begin_trial, forward first."""

    def close(self) -> None:
        """Take the link down; safe to call twice."""


@runtime_checkable
class WatchedLink(Protocol):
    """A link whose queues can be looked at while it carries, at no cost to what it carries."""

    def watch_queues(self, every_ns: int) -> None:
        """Have the queues noted so often in all trials from the next one on; 0: not at all."""

    def queues(self) -> tuple[QueueLook, QueueLook]:
        """Return the queues of both directions as they were noted last, forward first."""


class UndoLog(Protocol):
    """The lab's journal, as link emulators use it: everything is noted before it is made."""

    @property
    def tag(self) -> str:
        """Random tag of this lab; names of all that it makes begin with it."""

    def note(self, kind: str, name: str, **detail: str) -> None:
        """Write durably that `name` of `kind` (`netns`, `process`, `sysctl`, `cgroup`) is about to be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkEnd:
    """One end of a link: the host, its network namespace and the interface name that the emulator shall make."""

    host: str
    netns_path: str
    ifname: str


class LinkEmulator(Seam, Protocol):
    """Makes links with impairments on a middle hop."""

    def up(self, index: int, link: LinkSpec, ends: tuple[LinkEnd, LinkEnd], undo: UndoLog) -> EmulatedLink:
        """Make both interfaces (MTU and offloads set, still without addresses, down) and the hop between them."""

    def floor(self, link: LinkSpec) -> str | None:
        """Say why this emulator cannot carry this link (too fast, too short a delay), or None where it can."""


class TrafficSession(Protocol):
    """One generator's traffic of one trial: prepared, then started, then waited for."""

    def start(self) -> None:
        """Start the traffic; returns at once."""

    def wait(self) -> TrafficReport:
        """Wait for its end (bounded by the spec) and report; TrafficError carries the generator's own message."""

    def stop(self) -> None:
        """End every process of it; safe to call twice, at any time and from any thread."""


class TrafficGenerator(Seam, Protocol):
    """Drives traffic between hosts of the lab."""

    def prepare(self, spec: TrafficSpec, hosts: Mapping[str, Host], warmup_ns: int) -> TrafficSession:
        """Start the servers and return once they listen."""


class Collector(Seam, Protocol):
    """Measures one layer; opened once a session, begun and ended once a trial."""

    def open(self) -> None:
        """Load and attach."""

    def begin(self, scope: Scope) -> None:
        """Forget what was seen and count from now on for this scope."""

    def end(self) -> Observation:
        """Return what was seen since `begin`."""

    def close(self) -> None:
        """Detach; safe to call twice."""


@runtime_checkable
class Frugal(Protocol):
    """A collector whose cost while it measures is known, and that can do with less; both from any thread."""

    def program_ns(self) -> int:
        """Return the run time of its BPF programs since they were loaded."""

    def do_less(self, share: float) -> str | None:
        """Do less, so as to take about `share` (0..1) of what it takes; gives what it does now, None: it cannot."""


@runtime_checkable
class Keeping(Protocol):
    """A collector that keeps every look of a trial, which has an end; who measures without one lets it drop them."""

    def drop_before(self, snapshot: object) -> None:
        """Let go of what was seen before a snapshot, of which nothing is asked any more."""


@runtime_checkable
class Sampled(Protocol):
    """A collector that can be read while it measures: an interval or a phase is the difference of two snapshots."""

    def snapshot(self) -> object:
        """Return a copy of what it has counted since `begin`, cheap and opaque; from any thread, one at a time."""

    def between(self, first: object, second: object) -> Observation:
        """Return what happened between two snapshots of one trial.

        Counters and histograms are differences, gauges are the later snapshot's. From a snapshot right after `begin` to
        one right before `end` it is what `end` returns, apart from what measuring cost and warnings.
        """


class MeasuringCore(Protocol):
    """All collectors of a session as one, on this machine or on several."""

    @property
    def spending(self) -> Spending:
        """What was spent and shed in the last trial that ended."""

    @property
    def by_phase(self) -> Mapping[str, tuple[Observation, ...]]:
        """What was seen in each phase of the last trial that ended."""

    @property
    def queues_by_phase(self) -> Mapping[str, tuple[tuple[QueueLook, ...], tuple[QueueLook, ...]]]:
        """The links' queues when each phase of the last trial that ended began, and when it ended."""

    @property
    def shed_collectors(self) -> frozenset[str]:
        """Names of the collectors that do less than they could."""

    @property
    def samples(self) -> Samples | None:
        """What was sampled in the last trial that ended."""

    def join(self, collectors: Iterable[Collector]) -> None:
        """Have these measure as well, from the next trial on."""

    def begin(
        self, scope: Scope, sampling: Any = None, queues: Callable[[], tuple[QueueLook, ...]] | None = None
    ) -> None:  # fmt: skip
        """Begin a trial."""

    def end(self) -> tuple[Observation, ...]:
        """Return what was seen since `begin`."""

    def drop_samples(self) -> None:
        """Remove what was sampled; safe to call twice."""

    def abandon(self) -> None:
        """End a trial that failed."""


class Testbed(Protocol):
    """Hosts and links of one scenario: a lab of this machine, or real ones."""

    @property
    def hosts(self) -> Mapping[str, Host]:
        """The hosts by the file's names."""

    @property
    def links(self) -> tuple[EmulatedLink, ...]:
        """The links in the file's order."""

    @property
    def directions(self) -> Mapping[tuple[str, str], str]:
        """The link's direction that each host's interface sends into, by host and interface name."""

    @property
    def emulators(self) -> Mapping[str, str]:
        """For the record: what makes each link, by its label."""

    @property
    def carriers(self) -> tuple[int, ...]:
        """Processes of this machine without which a link or a host is gone."""

    def fingerprint(self) -> Mapping[str, str]:
        """Describe the machine, or the machines, that hosts run on."""

    def interfaces(self) -> Mapping[str, str]:
        """For the fingerprint: driver, offloads and qdisc of the hosts' interfaces."""

    def check_generator(self, generator: TrafficGenerator) -> None:
        """Raise Unavailable where this machine lacks the generator, and its hosts run here."""

    def prove(self) -> Sequence[LinkProof | RealLinkProof]:
        """Measure the links; InvalidLink where one is not what the file asks for."""

    def apply_settings(self) -> None:
        """Set the hosts up as the file says."""

    def favour(self, nice: int) -> None:
        """Start the hosts' processes with this nice value from now on."""

    def lengthen_backlogs(self) -> None:
        """Have every server listen with the longest accept queue."""

    def begin_trial(self, index: int) -> None:
        """Start a trial."""

    def end_trial(self) -> tuple[LinkReport, ...]:
        """Return the reports of both directions of each link."""


class Output(Protocol):
    """Writes records somewhere."""

    @property
    def name(self) -> str:
        """Name of the format."""

    def open(self) -> None:
        """Begin."""

    def write(self, record: RunRecord) -> None:
        """Write one record; one without trials tells of a scenario that could not be measured."""

    def close(self) -> None:
        """Finish; safe to call twice."""


class Progress(Protocol):
    """Told what the runner does, for progress bars and logs."""

    def stage(self, scenario: Scenario, text: str, done: int, total: int) -> None:
        """Say that `text` begins; `done` of `total` steps of the scenario are behind."""
