"""Pressure stall information and stolen time: parsing, and waiting for calm."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfcheck.system.pressure import CpuLook, CpuTicks, stalled_us, wait_for_calm

TEXT = "some avg10=0.12 avg60=1.00 avg300=0.80 total={total}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"


def test_the_total_of_some_is_read() -> None:
    assert stalled_us(TEXT.format(total=123456)) == 123456


@pytest.mark.parametrize("text", ["", "full avg10=0 total=1\n", "some avg10=0.0\n"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"some|invalid literal"):
        stalled_us(text)


STAT = "cpu  100 20 300 4000 50 6 7 {stolen} 9 0\ncpu0 1 2 3 4 5 6 7 8 0 0\nctxt 5\n"


def test_stolen_time_is_a_share_of_all_time_guests_left_out() -> None:
    before = CpuTicks(stolen=10, every=1000)
    assert CpuTicks.parse(STAT.format(stolen=8)) == CpuTicks(stolen=8, every=4491)
    assert CpuTicks(stolen=15, every=1100).stolen_pct_since(before) == 5.0
    assert before.stolen_pct_since(before) == 0.0


@pytest.mark.parametrize("text", ["", "cpu0 1 2 3 4 5 6 7 8\n", "cpu 1 2 3\n", "cpu a b c d e f g h\n"])
def test_other_texts_of_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"stolen|invalid literal|not enough values"):
        CpuTicks.parse(text)


def test_the_running_kernel_tells_of_stolen_time() -> None:
    ticks = CpuLook.now().ticks
    assert ticks is not None
    assert 0 <= ticks.stolen < ticks.every


PRESSURE, STOLEN = Path("pressure"), Path("stat")


class Machine:
    """Files that say how much tasks have waited and the hypervisor has stolen; both grow with each look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, stalled_us: int = 0, stolen: int = 0) -> None:
        self._stalled_us, self._stolen, self._looks = stalled_us, stolen, 0
        monkeypatch.setattr(Path, "read_text", lambda path, **_: self.read(path))

    def read(self, path: Path) -> str:
        self._looks += 1
        if path == PRESSURE:
            return TEXT.format(total=self._stalled_us * self._looks)
        whole, stolen = 100 * self._looks, self._stolen * self._looks
        return f"cpu {whole - stolen} 0 0 0 0 0 0 {stolen} 0 0\n"


@pytest.mark.parametrize(
    ("stalled_us", "stolen", "calm"), [(0, 0, True), (10**7, 0, False), (0, 8, False), (10**4, 1, True)]
)
def test_calm_is_when_neither_tasks_wait_nor_time_is_stolen(
    stalled_us: int, stolen: int, calm: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    Machine(monkeypatch, stalled_us=stalled_us, stolen=stolen)
    assert wait_for_calm(timeout_s=0.8, path=PRESSURE, stat=STOLEN) is calm


def test_a_calm_moment_is_not_yet_calm(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch)
    assert not wait_for_calm(timeout_s=0.8, windows=2, path=PRESSURE, stat=STOLEN)
    assert wait_for_calm(timeout_s=2.0, windows=2, path=PRESSURE, stat=STOLEN)


def test_without_the_files_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    assert wait_for_calm(timeout_s=0.0, path=tmp_path / "none", stat=tmp_path / "neither")
