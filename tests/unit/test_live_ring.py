"""The ring keeps the latest intervals within its bounds, and what it holds outlives a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from live_intervals import difference, flow_table, interval

from perfcheck.errors import UsageError
from perfcheck.live.recording import open_recording
from perfcheck.live.recording.header import header_of
from perfcheck.live.recording.ring import Ring, leftover_rings, recover
from perfcheck.model.interval import Interval, LiveRequest

HOUR_NS = 3600 * 10**9


def numbers_of(path: Path) -> list[int]:
    with open_recording(path, LiveRequest()) as intervals:
        return [each.number for each in intervals]


def noisy(number: int, rows: int = 8) -> Interval:
    """Return an interval that does not compress to nothing."""
    drawn = np.random.default_rng(number).random(rows)
    return interval(number, flow_table(rows, srtt_us=drawn, rttvar_us=drawn + 1))


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    made = tmp_path / "tmp"
    made.mkdir()
    return made


def test_thousands_of_intervals_stay_within_the_bytes(parent: Path, tmp_path: Path) -> None:
    limit = 1 << 20
    ring = Ring(header_of(LiveRequest()), duration_ns=HOUR_NS, max_bytes=limit, parent=parent)
    most = 0
    for number in range(4_000):
        ring.append(noisy(number % 7) if number < 3_990 else noisy(number))
        if number % 100 == 0:
            most = max(most, sum(each.stat().st_size for each in ring.folder.iterdir()))
    assert ring.problem is None
    assert limit / 2 < most <= limit
    assert ring.size_bytes <= limit
    dumped = ring.dump(tmp_path / "a.rec")
    found = numbers_of(tmp_path / "a.rec")
    assert found[-10:] == list(range(3_990, 4_000))
    assert dumped.intervals == len(found) == ring.intervals
    assert dumped.size_bytes == (tmp_path / "a.rec").stat().st_size
    ring.close()
    assert list(parent.iterdir()) == []


def test_what_is_older_than_the_duration_goes_segment_by_segment(parent: Path, tmp_path: Path) -> None:
    ring = Ring(header_of(LiveRequest()), duration_ns=40 * 10**9, parent=parent)
    for number in range(200):
        ring.append(interval(number))
        assert ring.intervals <= 40 + 2 * 6
    ring.dump(tmp_path / "a.rec")
    found = numbers_of(tmp_path / "a.rec")
    assert found == list(range(found[0], 200))
    assert len(found) >= 40
    ring.close()


def test_a_dump_has_the_intervals_as_they_were(parent: Path, tmp_path: Path) -> None:
    ring = Ring(header_of(LiveRequest()), duration_ns=HOUR_NS, max_bytes=20_000, parent=parent)
    written = [noisy(number) for number in range(12)]
    for each in written:
        ring.append(each)
    ring.dump(tmp_path / "a.rec")
    with open_recording(tmp_path / "a.rec", LiveRequest()) as intervals:
        found = list(intervals)
    assert [difference(one, other) for one, other in zip(found, written[-len(found) :], strict=True)] == [None] * len(
        found
    )
    ring.close()


def test_a_ring_is_private_and_is_no_leftover_while_it_is_kept(parent: Path) -> None:
    ring = Ring(header_of(LiveRequest()), duration_ns=HOUR_NS, parent=parent)
    ring.append(interval(0))
    assert ring.folder.stat().st_mode & 0o777 == 0o700
    assert leftover_rings(parent) == ()
    ring.close(keep=True)
    assert leftover_rings(parent) == (ring.folder,)


def test_folders_of_others_are_no_leftovers(parent: Path) -> None:
    (parent / "perfctl-ring-file").write_text("")
    (parent / "perfctl-ring-empty").mkdir(mode=0o700)
    (parent / "perfctl-ring-open").mkdir(mode=0o755)
    (parent / "perfctl-ring-open" / "lock").write_text("")
    (parent / "perfctl-ring-link").symlink_to("/")
    assert leftover_rings(parent) == ()


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from live_intervals import interval
from perfcheck.live.recording.header import header_of
from perfcheck.live.recording.ring import Ring
from perfcheck.model.interval import LiveRequest
ring = Ring(header_of(LiveRequest()), duration_ns=10**13, max_bytes=50_000, parent=Path(sys.argv[1]))
number = 0
while True:
    ring.append(interval(number))
    number += 1
    if number == 20:
        print("on", flush=True)
"""


def test_a_killed_ring_is_recovered(parent: Path, tmp_path: Path) -> None:
    builders = Path(__file__).parents[1] / "unit"
    with subprocess.Popen([sys.executable, "-c", PROGRAM, parent, builders], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        os.kill(process.pid, signal.SIGKILL)
    (folder,) = leftover_rings(parent)
    newest = max(folder.glob("segment-*"))
    newest.write_bytes(newest.read_bytes()[:-3])
    dumped = recover(folder, tmp_path / "a.rec")
    found = numbers_of(tmp_path / "a.rec")
    assert len(found) == dumped.intervals > 3
    assert found == list(range(found[0], found[0] + len(found)))
    assert list(parent.iterdir()) == []


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A disk whose free bytes are the list's one number."""
    free = [1 << 40]
    real = os.write

    def write(descriptor: int, content: bytes) -> int:
        if free[0] == 0 and len(content):
            raise OSError(28, os.strerror(28))
        done = real(descriptor, content[: free[0]])
        free[0] -= done
        return done

    monkeypatch.setattr(os, "write", write)
    return free


def test_on_a_full_disk_the_oldest_gives_way_or_it_is_told(parent: Path, tmp_path: Path, full_disk: list[int]) -> None:
    ring = Ring(header_of(LiveRequest()), duration_ns=HOUR_NS, max_bytes=100_000, parent=parent)
    ring.append(noisy(0))
    full_disk[0] = 100
    ring.append(noisy(1))
    assert "cannot write the recording: No space left on device; free some space" in str(ring.problem)
    assert ring.missing == 1
    full_disk[0] = 1 << 40
    ring.append(noisy(2))
    assert ring.problem is None
    ring.dump(tmp_path / "a.rec")
    assert numbers_of(tmp_path / "a.rec") == [0, 2]
    ring.close()


def test_where_no_ring_can_be_made_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot keep a ring: No such file or directory; set TMPDIR"):
        Ring(header_of(LiveRequest()), duration_ns=HOUR_NS, parent=tmp_path / "missing")
