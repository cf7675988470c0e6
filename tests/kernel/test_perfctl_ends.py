"""How perfctl ends: Ctrl-C, SIGTERM, SIGHUP and a closed pipe with all that was seen, SIGKILL without a trace."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest
from collect_lab import Pair
from leftovers import held_bpf, lasting_bpf

from perfcheck.system.clock import wait_until

pytestmark = pytest.mark.kernel

PERFCTL: Final = (sys.executable, "-m", "perfcheck.cli.perfctl")
COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "tcp": (), "observe": (), "diagnose": ("--duration", "60s"), "record": ("--output-file", "a.rec"),
}  # fmt: skip
SUMMARIES: Final = {
    "tcp": r"^watched .* at most 1 connection at a time", "observe": r"^alerts raised: 0$",
    "diagnose": r"^watched .* intervals: 1 conn",
    "record": r"^a\.rec: \d+ intervals?, ",
}  # fmt: skip
STEADY: Final = 10
"""So many looks in a row, 0.1 s apart, at what it holds have to agree."""
Bpf = frozenset[tuple[str, str]]


@contextmanager
def watching(pair: Pair, folder: Path) -> Iterator[dict[str, tuple[subprocess.Popen[bytes], Bpf]]]:
    """Yield each command with what BPF objects it holds, when all have seen something."""
    (folder / "tmp").mkdir()
    with ExitStack() as stack:
        for one in pair.connect():
            stack.enter_context(one)
        started = {}
        for name, words in COMMANDS.items():
            argv = [*PERFCTL, name, "--interval", "100ms", "--cpu-ceiling", "100", *words, "--netns", pair.names[0]]
            # A file, or a full pipe would stop what nobody reads.
            out = stack.enter_context((folder / f"{name}.out").open("w+"))
            environment = {**os.environ, "TMPDIR": str(folder / "tmp")}
            process = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT, cwd=folder, env=environment)
            stack.callback(process.wait)
            stack.callback(process.kill)
            started[name] = process
        assert wait_until(lambda: looks(folder, "observe") > 0, timeout_s=30), said(folder, "observe")
        # Two of them print nothing meanwhile: the ring grows, and diagnose attaches nothing more.
        whole: list[Bpf] = []
        while len(whole) < STEADY or not whole[-1] or len(set(whole[-STEADY:])) > 1:
            time.sleep(0.1)
            whole.append(held_bpf(started["diagnose"].pid))
        assert wait_until(lambda: any((folder / "tmp").glob("perfctl-ring-*/segment-*")), timeout_s=30)
        enough = {name: looks(folder, name) + 10 for name in ("tcp", "observe")}
        assert wait_until(lambda: all(looks(folder, name) >= enough[name] for name in enough), timeout_s=30)
        yield {name: (process, held_bpf(process.pid)) for name, process in started.items()}


def said(folder: Path, name: str) -> str:
    return (folder / f"{name}.out").read_text()


def looks(folder: Path, name: str) -> int:
    return len(re.findall(r"^\d\d:\d\d:\d\d[. ]", said(folder, name), re.MULTILINE))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 3), (signal.SIGHUP, 3)], ids=str)
def test_a_signal_ends_with_a_summary(pair: Pair, tmp_path: Path, number: signal.Signals, status: int) -> None:
    with watching(pair, tmp_path) as running:
        for process, _ in running.values():
            process.send_signal(number)
        ended = {name: process.wait(60) for name, (process, _) in running.items()}
        assert ended == dict.fromkeys(COMMANDS, status), [said(tmp_path, name)[-300:] for name in ended]
        for name, pattern in SUMMARIES.items():
            assert re.search(pattern, said(tmp_path, name), re.MULTILINE), said(tmp_path, name)
            assert (f"stopped by {number.name}" in said(tmp_path, name)) == (status == 3)
        assert not lasting_bpf(frozenset().union(*(held for _, held in running.values())))
    assert not list((tmp_path / "tmp").iterdir())
    assert {path.name for path in tmp_path.glob("*.rec*")} == {"a.rec"}


def test_sigkill_leaves_nothing_attached(pair: Pair, tmp_path: Path) -> None:
    with watching(pair, tmp_path) as running:
        held = frozenset().union(*(each for _, each in running.values()))
        kinds = {kind for kind, _ in held}
        for process, _ in running.values():
            process.kill()
        assert {process.wait(60) for process, _ in running.values()} == {-signal.SIGKILL}
        assert kinds == {"BPF programs", "BPF maps", "BPF links"}
        assert not lasting_bpf(held)
    # The ring is what `perfctl record --recover` reads.
    assert all(path.name.startswith("perfctl-ring-") for path in (tmp_path / "tmp").iterdir())


@pytest.mark.parametrize("name", ["tcp", "observe"])
def test_a_closed_pipe_ends_it(pair: Pair, name: str) -> None:
    one, two = pair.connect()
    with one, two, tempfile.TemporaryFile("w+") as wrong:
        argv = [*PERFCTL, name, "--interval", "100ms", "--netns", pair.names[0]]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=wrong, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline()
            held = held_bpf(process.pid)
            process.stdout.close()
            assert process.wait(60) == 0
        wrong.seek(0)
        assert not wrong.read()
        assert held
        assert not lasting_bpf(held)
