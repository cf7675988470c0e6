"""The ring's reader against a kernel that writes faster than anybody reads."""

from __future__ import annotations

import time

import numpy as np
import pytest
from ring_producer import producer

pytestmark = pytest.mark.kernel

CALLS = 20_000


@pytest.mark.parametrize(("ring_bytes", "pause_s"), [(1 << 12, 0.0), (1 << 14, 0.005), (1 << 22, 0.001)])
def test_every_record_is_either_read_in_turn_or_counted_as_lost(ring_bytes: int, pause_s: float) -> None:
    records = 8
    numbers = []
    with producer(ring_bytes) as writer:
        with writer.writing(CALLS, records) as process:
            while process.poll() is None:
                numbers.append(writer.ring.take()["ns"])
                time.sleep(pause_s)
        numbers.append(writer.ring.take()["ns"])
        written, lost = writer.attempts, writer.lost
    taken = np.concatenate(numbers)
    # Independent of the program's own count: the process made so many calls, and a few more to come to its end.
    assert CALLS * records <= written <= (CALLS + 2000) * records
    assert len(taken) + lost == written
    assert (np.diff(taken.astype(np.int64)) > 0).all(), "a record came twice, or not in turn"
    if ring_bytes == 1 << 12:
        assert lost > 0
