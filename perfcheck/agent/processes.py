"""Processes that an agent starts: journalled, in the lab's control group, their output sent on as it comes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from perfcheck.agent.requests import Ran, Run, Start, Started
from perfcheck.errors import LabError
from perfcheck.system import cgroup, commands, processes
from perfcheck.system.calling_thread import at_priority, on_cpus
from perfcheck.system.clock import now_ns

if TYPE_CHECKING:
    from perfcheck.model.seams import UndoLog

LINGER_S: Final = 0.5
"""How long output is still read after the end: a child of the process may hold the pipe open for ever."""
LARGEST_OUTPUT: Final = 1 << 20
_CHUNK: Final = 1 << 16

AGENTS_OWN: Final = frozenset({"PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "XDG_CACHE_HOME"})
"""Variables by which the agent finds its copy, and which none of its processes is to have."""

TellOutput = Callable[[int, int, bytes], None]
"""Is told a process's number, the stream (1, 2) and what was written."""
TellExit = Callable[[int, int, int, float], None]
"""Is told a process's number, its status, when it ended (CLOCK_MONOTONIC) and its CPU seconds."""


class Processes:
    """The processes of one agent; one thread starts them all, so that they are born in the lab's group."""

    def __init__(self, undo: UndoLog, tell_output: TellOutput, tell_exit: TellExit) -> None:
        """Start nothing yet."""
        self._undo = undo
        self._tell_output, self._tell_exit = tell_output, tell_exit
        own = commands.tagged_environment(undo.tag)
        self._environment = {name: value for name, value in own.items() if name not in AGENTS_OWN}
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        group = cgroup.make(undo)
        self._group: Path | None = None
        if group is not None:
            self._group = self._starter.submit(cgroup.enter, group).result()

    def start(self, request: Start) -> Started:
        """Start a process; its output and its end are told."""
        start_ns = now_ns()
        process = self._popen(request.argv, request.cpus, request.nice)
        self._running[request.number] = process
        threading.Thread(target=self._supervise, args=(request.number, process), daemon=True).start()
        return Started(pid=process.pid, start_ns=start_ns)

    def run(self, request: Run) -> Ran:
        """Run a command to its end; LabError past the time."""
        process = self._popen(request.argv, request.cpus, 0)
        done = commands.finish(process, request.argv, timeout_s=request.timeout_s, error=LabError)
        return Ran(
            status=done.returncode, stdout=done.stdout[-LARGEST_OUTPUT:], stderr=done.stderr[-LARGEST_OUTPUT:]
        )  # fmt: skip

    def signal(self, number: int, which: int) -> None:
        """Send a signal to a process that was started; one that has ended is passed over."""
        process = self._running.get(number)
        if process is not None:
            process.send_signal(signal.Signals(which))

    def close(self) -> None:
        """Leave the group; what still runs is ended by the journal's undo."""
        if self._group is not None:
            self._starter.submit(cgroup.leave, self._group).result()
            self._group = None
        self._starter.shutdown()

    def _popen(self, argv: Sequence[str], cpus: Sequence[int] | None, nice: int) -> subprocess.Popen[bytes]:
        if not argv:
            raise LabError("there is no command to run")
        self._undo.note("process", argv[0])
        process = self._starter.submit(partial(_started, argv, cpus, nice, self._environment)).result()
        if (running := processes.identify(process.pid)) is not None:
            self._undo.note("process", argv[0], pid=str(running.pid), start=str(running.start_ticks))
        return process

    def _supervise(self, number: int, process: subprocess.Popen[bytes]) -> None:
        pumps = [
            threading.Thread(target=self._pump, args=(number, stream, pipe), daemon=True)
            for stream, pipe in ((1, process.stdout), (2, process.stderr))
            if pipe is not None
        ]
        for pump in pumps:
            pump.start()
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        ended_ns, used_s = now_ns(), _cpu_s(process.pid)
        status = process.wait()
        for pump in pumps:
            pump.join(LINGER_S)
        self._running.pop(number, None)
        self._tell_exit(number, status, ended_ns, used_s)

    def _pump(self, number: int, stream: int, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError), pipe:
            while chunk := os.read(pipe.fileno(), _CHUNK):
                self._tell_output(number, stream, chunk)


def _started(
    argv: Sequence[str], cpus: Sequence[int] | None, nice: int, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    with on_cpus(cpus), at_priority(nice):
        return commands.popen(argv, env=environment)


def _cpu_s(pid: int) -> float:
    """Return user and system time of a process that has ended and was not waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
