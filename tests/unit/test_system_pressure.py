"""Pressure stall information: parsing, and waiting for calm."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfcheck.system.pressure import stalled_us, wait_for_calm

TEXT = "some avg10=0.12 avg60=1.00 avg300=0.80 total={total}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"


def test_the_total_of_some_is_read() -> None:
    assert stalled_us(TEXT.format(total=123456)) == 123456


@pytest.mark.parametrize("text", ["", "full avg10=0 total=1\n", "some avg10=0.0\n"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"some|invalid literal"):
        stalled_us(text)


def test_a_total_that_stands_still_is_calm(tmp_path: Path) -> None:
    path = tmp_path / "cpu"
    path.write_text(TEXT.format(total=5))
    assert wait_for_calm(timeout_s=3.0, path=path)


def test_a_total_that_races_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    total = 0

    def busier(_: Path) -> str:
        nonlocal total
        total += 10**7
        return TEXT.format(total=total)

    monkeypatch.setattr(Path, "read_text", busier)
    assert not wait_for_calm(timeout_s=1.3, path=tmp_path)


def test_without_the_file_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    assert wait_for_calm(timeout_s=0.0, path=tmp_path / "none")
