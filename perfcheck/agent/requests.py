"""What the machine that measures asks of an agent, and what it is answered; `ANSWERS` has each request's answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from perfcheck.model.budget import Budget, Spending
from perfcheck.model.observation import Observation, Scope

PROTOCOL: Final = 1
MARK: Final = b"perfcheck-agent "
"""Begins the line with which an agent announces itself: a login shell may print other lines before."""
OUTPUT: Final = "output"
EXIT: Final = "exit"
NOTE: Final = "note"
"""Kinds of messages that answer nothing: a process's output, its end, and what a request waits for."""
SILENCE_S: Final = 30.0
"""Without a word for so long, each side takes the other for lost."""
BEAT_S: Final = 5.0
"""How often the measuring machine says a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """Who the agent is: its lab's tag, its kernel, and what tells its machine's measuring lock from others."""

    tag: str
    python: tuple[str, ...]
    """The words that start its Python."""
    folder: str
    """Where its copy of perfcheck is."""
    hostname: str
    release: str
    lock: str
    kernel_types: str | None
    """Digest of the kernel's BTF; None where it has none."""
    undone: tuple[str, ...] = ()
    """What agents that were killed had left there and is undone now, a line each."""
    failed: tuple[str, ...] = ()
    """What could not be undone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Asks for the agent's CLOCK_MONOTONIC; `count` numbers the questions."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockLook:
    """When the question came and when the answer went, by the agent's CLOCK_MONOTONIC."""

    received_ns: int
    sent_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Describe:
    """Asks what the machine and the interface are: that of this name, or that has this address."""

    interface: str | None
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceFacts:
    """An interface as it is; `speed_mbit` is None where its driver does not say."""

    name: str
    up: bool
    carrier: bool
    mtu: int
    mac: str
    driver: str
    offloads: str
    qdisc: str
    speed_mbit: int | None
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A machine's fingerprint, and its interface on the link."""

    environment: Mapping[str, str]
    interface: InterfaceFacts
    cpus: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """Asks for the machine's measuring lock, however long that takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlock:
    """Gives the measuring lock back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Require:
    """Asks whether a program is installed."""

    program: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Runs a command to its end."""

    argv: tuple[str, ...]
    timeout_s: float
    cpus: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What became of a command: the last MiB of each of its streams."""

    status: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Starts a process, whose output and end come as messages with its `number`."""

    number: int
    argv: tuple[str, ...]
    cpus: tuple[int, ...] | None = None
    nice: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A process that runs; `start_ns` is the agent's CLOCK_MONOTONIC right before."""

    pid: int
    start_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Sends a signal to a process that was started."""

    number: int
    signal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Asks whether something listens on a port."""

    port: int
    protocol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeFile:
    """Makes a file in memory; its content is the request's payload."""

    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeFile:
    """A file in memory: the folder that it is in, and its number there."""

    folder: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFile:
    """Asks for a file's content, which is the answer's payload."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseFile:
    """Frees a file in memory."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceProgram:
    """Has the agent keep a small C program of perfcheck's own, which is the request's payload."""

    name: str
    digest: str | None
    """What the payload has to be; None: the agent compiles it from its own copy of the source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Where the program is there; it was run once."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """Sets the machine up, after what was set up before is undone: sysctls, settings, then the commands of `setup`.

    `teardown` are the commands that undo `setup`.
    """

    interface: str
    sysctls: Mapping[str, str]
    settings: tuple[str, ...]
    setup: tuple[str, ...]
    teardown: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """Undoes what was set up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What could not be put back, in a line each."""

    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Asks for the interface's counters."""

    interface: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetRoutes:
    """Has the kernel forget what its routes have learned in earlier trials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Answers datagrams and takes connections on one address, for a probe; the ports are the answer."""

    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """Where probes are answered."""

    udp: int
    tcp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAnswering:
    """Answers probes no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Sends datagrams from one address to a port that answers, one after the other."""

    source: str
    target: str
    port: int
    count: int
    size_bytes: int
    unfragmented: bool = False
    most_ns: int = 0
    """End after so long, however many were sent; 0: after all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """One answered datagram: when it was sent and its answer came here, when it came and was answered there."""

    sent_ns: int
    there_ns: int
    back_ns: int
    received_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Echoes:
    """What came back of how many."""

    sent: int
    echoes: tuple[Echo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """Sends over one TCP connection for a moment."""

    source: str
    target: str
    port: int
    duration_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What arrived there, and in which time from its first to its last byte."""

    size_bytes: int
    took_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedImages:
    """Asks which compiled BPF programs the collectors of these layers need and lack."""

    layers: tuple[str, ...] | None
    mode: str
    events: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Compiled BPF programs by their names in the cache; or, of those that are wanted, the files they are made of."""

    texts: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTypes:
    """Asks for the kernel's BTF, which is the answer's payload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attach:
    """Attaches the collectors of these layers (None: of all)."""

    layers: tuple[str, ...] | None
    mode: str
    events: bool
    budget: Budget
    bpf: bool = True
    """Whether collectors with BPF programs are wanted; where another host lacks BPF they are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """The collectors that are attached, and why others are not."""

    names: tuple[str, ...]
    unavailable: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Begins a trial: the scope's times are the agent's, its namespaces the agent's own under `host`."""

    host: str
    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Ends a trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What the collectors saw in a trial, and in each of its phases; times are the agent's."""

    observations: tuple[Observation, ...]
    by_phase: Mapping[str, tuple[Observation, ...]]
    spending: Spending


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandon:
    """Ends a trial that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detach:
    """Detaches all collectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """Undoes everything; the agent ends once the connection does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """The answer where there is nothing to say."""


ANSWERS: Final[Mapping[type[Any], type[Any]]] = {
    Clock: ClockLook, Describe: Description, Lock: Nothing, Unlock: Nothing, Require: Nothing, Run: Ran,
    Start: Started, Signal: Nothing, Listening: bool, MakeFile: MadeFile, ReadFile: Nothing, CloseFile: Nothing,
    PlaceProgram: Program, Apply: Nothing, Restore: Restored, Counters: Mapping[str, int], ForgetRoutes: Nothing,
    Answer: Answering, StopAnswering: Nothing, Probe: Echoes, Push: Pushed, WantedImages: Images, Images: Nothing,
    KernelTypes: Nothing, Attach: Attached, Begin: Nothing, End: Ended, Abandon: Nothing, Detach: Nothing,
    Leave: Restored,
}  # fmt: skip
"""The type of each request's answer."""
