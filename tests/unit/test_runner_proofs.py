"""When a link that failed its proof is proved again."""

from __future__ import annotations

from typing import Any, cast

import pytest

from perfcheck.collect.session import Core
from perfcheck.diagnose import load_rules
from perfcheck.errors import InvalidLink
from perfcheck.model.budget import Budget
from perfcheck.model.proof import LinkProof
from perfcheck.model.scenario import Scenario
from perfcheck.runner import bench as module
from perfcheck.runner.bench import MOST_PROOFS, Bench
from perfcheck.system.pressure import CpuLook
from perfcheck.testing import make_scenario


class Silent:
    def stage(self, scenario: Scenario, text: str, done: int, total: int) -> None:
        """Ignore."""


class FakeLab:
    """A lab whose links fail so many proofs."""

    emulators = {"links[0] a-b": "relay"}  # noqa: RUF012 - read only

    def __init__(self, failing: int) -> None:
        self.failing = failing
        self.proofs = 0

    def prove(self) -> tuple[LinkProof, ...]:
        self.proofs += 1
        if self.proofs <= self.failing:
            raise InvalidLink("the rate is not what the file asks for")
        return ()


def proved(lab: FakeLab, monkeypatch: pytest.MonkeyPatch, *, calm: bool) -> list[str]:
    """Prove on a machine that is calm all the time or never; gives what was waited for."""
    waited: list[str] = []
    looks = iter(range(0, 10**9, 10**6))

    def look() -> CpuLook:
        number = next(looks)
        return CpuLook(at_ns=number * 1000, stalled_us=0 if calm else number, ticks=None)

    monkeypatch.setattr(CpuLook, "now", look)
    monkeypatch.setattr(module, "await_calm", lambda: waited.append("calm"))
    Bench(make_scenario(), cast("Any", lab), Core([], Budget(cpu_pct=1.0)), load_rules(()), Silent(), {}).prove()
    return waited


def test_a_link_is_proved_again_where_others_kept_the_cpus_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = FakeLab(MOST_PROOFS - 1)
    assert proved(lab, monkeypatch, calm=False) == ["calm"] * (MOST_PROOFS - 1)
    assert lab.proofs == MOST_PROOFS


def test_on_a_calm_machine_a_failed_proof_is_the_links_own(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = FakeLab(1)
    with pytest.raises(InvalidLink):
        proved(lab, monkeypatch, calm=True)
    assert lab.proofs == 1


def test_a_link_that_never_passes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = FakeLab(100)
    with pytest.raises(InvalidLink):
        proved(lab, monkeypatch, calm=False)
    assert lab.proofs == MOST_PROOFS
