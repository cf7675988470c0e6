"""What programs cost is counted from each trial's begin, under the collector's name."""

from __future__ import annotations

import pytest

from perfcheck.collect.base.loaded import Loaded
from perfcheck.ebpf.libbpf import RunCounters
from perfcheck.errors import CollectError
from perfcheck.model.observation import ProgramCost


class _Object:
    """Stands for a BpfObject: counters that grow when they are told to."""

    def __init__(self, *, timed: bool = True) -> None:
        self.timed = timed
        self.closed = 0
        self.now = {"b": (5, 100, 1), "a": (1, 10, 0)}

    def counters(self) -> dict[str, RunCounters]:
        return {name: RunCounters(calls=c, run_ns=r, missed=m) for name, (c, r, m) in self.now.items()}

    def close(self) -> None:
        self.closed += 1


def loaded(one: _Object) -> Loaded:
    made = Loaded("nic", prefix="nic/")
    made.open(lambda _: one)  # type: ignore[arg-type,return-value]
    return made


def test_only_what_came_since_the_begin_is_spent() -> None:
    one = _Object()
    kernel = loaded(one)
    one.now = {"b": (6, 150, 3), "a": (1, 10, 0)}
    kernel.begin()
    assert (kernel.spent().missed, {cost.calls for cost in kernel.spent().programs}) == (0, {0})
    one.now = {"b": (16, 350, 7), "a": (2, 11, 1)}
    assert kernel.spent().missed == 5
    assert kernel.spent().programs == (
        ProgramCost(program="nic/a", calls=1, run_ns=1), ProgramCost(program="nic/b", calls=10, run_ns=200),
    )  # fmt: skip


def test_a_kernel_that_does_not_time_programs_is_told() -> None:
    assert loaded(_Object()).untimed() == ()
    (told,) = loaded(_Object(timed=False)).untimed()
    assert "BPF_ENABLE_STATS" in told


def test_it_is_closed_once_and_asked_for_only_while_it_is_open() -> None:
    one = _Object()
    kernel = loaded(one)
    kernel.close()
    kernel.close()
    assert one.closed == 1
    assert not kernel.is_open
    with pytest.raises(CollectError, match="the nic collector is not open"):
        kernel.spent()
