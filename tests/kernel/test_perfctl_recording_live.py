"""`perfctl record` on live traffic and on small disks: what was recorded is what `perfctl tcp --from` tells."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

PERFCTL: Final = (sys.executable, "-c", "import sys; from perfcheck.cli.perfctl import main; sys.exit(main())")
SENT: Final = 50_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def transfer() -> Iterator[int]:
    """A server's port, to which a connection sends some bytes each 50 ms."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def send() -> None:
            with socket.create_connection(("127.0.0.1", port)) as client, server.accept()[0] as peer:
                while not over.wait(0.05):
                    client.sendall(bytes(SENT))
                    received = 0
                    while received < SENT:
                        received += len(peer.recv(1 << 16))

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield port
        finally:
            over.set()
            thread.join(10)


def perfctl(*words: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PERFCTL, *map(str, words)], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **(env or {})},
    )  # fmt: skip


def test_a_recording_of_live_traffic_tells_what_was_sent(tmp_path: Path, transfer: int) -> None:
    path = tmp_path / "a.rec"
    done = perfctl("record", "--duration", "2s", "--interval", "500ms", "--rport", str(transfer), "--layer", "tcp",
                   "--output-file", path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    read = perfctl("tcp", "--from", path, "--output", "json")
    assert read.returncode == 0, read.stderr
    events = [json.loads(line) for line in read.stdout.splitlines()]
    assert {event["flow"]["dst_port"] for event in events} == {transfer}
    assert len(events) >= 2
    acked = sum(event["metrics"]["tcp.bytes_acked"] for event in events)
    assert acked % SENT == 0
    assert 10 <= acked / SENT <= 45


def test_a_killed_ring_is_recovered(tmp_path: Path, transfer: int) -> None:
    env = {"TMPDIR": str(tmp_path)}
    words = ("record", "--interval", "100ms", "--hindsight", "1min", "--rport", str(transfer), "--layer", "tcp")
    with subprocess.Popen(
        [*PERFCTL, *words, "--output-file", tmp_path / "a.rec"], stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env={**os.environ, **env},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert "keeps the last 1min" in process.stderr.readline()
        while not list(tmp_path.glob("perfctl-ring-*/segment-*")):
            assert process.poll() is None
        process.send_signal(signal.SIGUSR1)
        assert "a.rec: " in process.stdout.readline()
        process.kill()
    done = perfctl("record", "--recover", "--output-file", tmp_path / "b.rec", env=env)
    assert done.returncode == 0, done.stderr
    read = perfctl("tcp", "--from", tmp_path / "b.rec")
    assert read.returncode == 0, read.stderr
    assert f"->127.0.0.1:{transfer}" in read.stdout


def test_on_a_small_disk_the_ring_goes_on_with_what_fits(small_disk: Path, tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import numpy as np
from live_intervals import flow_table, interval
from perfcheck.live.recording.header import header_of
from perfcheck.live.recording.ring import Ring
from perfcheck.model.interval import LiveRequest
ring = Ring(header_of(LiveRequest()), duration_ns=6 * 10**9, parent=Path(sys.argv[1]))
for number in range(300):
    drawn = np.random.default_rng(number).random(600)
    ring.append(interval(number, flow_table(600, srtt_us=drawn)))
print(ring.missing, ring.intervals, ring.dump(Path(sys.argv[3])).intervals)
ring.close()
"""
    builders = Path(__file__).parents[1] / "unit"
    done = subprocess.run(
        [sys.executable, "-c", program, small_disk, builders, tmp_path / "a.rec"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    missing, kept, dumped = map(int, done.stdout.split())
    assert missing == 0
    assert 6 <= kept == dumped <= 9
    assert list(small_disk.iterdir()) == []


def test_a_full_disk_is_told_and_recording_goes_on(small_disk: Path, transfer: int) -> None:
    (small_disk / "ballast").write_bytes(bytes((256 << 10) - (8 << 10)))
    done = perfctl("record", "--duration", "2s", "--interval", "50ms", "--rport", str(transfer), "--layer", "tcp",
                   "--output-file", small_disk / "a.rec")  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.count("No space left on device; free some space\n") == 1
    assert "could not be written" in done.stderr.splitlines()[-1]
    read = perfctl("tcp", "--from", small_disk / "a.rec")
    assert read.returncode == 0, read.stderr
    assert f"->127.0.0.1:{transfer}" in read.stdout
