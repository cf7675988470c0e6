"""The exam: faults that no fit has seen, in a folder of its own. Every combination is a scenario; all is held out."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Final

import pytest

from perfcheck.cli import main
from perfcheck.faults import combinations, load_library
from perfcheck.model.causes import CAUSES, HEALTHY

EXAM: Final = Path(__file__).parents[2] / "scenarios" / "faults-exam"
LIBRARY: Final = load_library(EXAM)
EVERY: Final = combinations(LIBRARY)
KNOWN: Final = load_library()


def test_every_combination_loads_as_a_scenario() -> None:
    for each in EVERY:
        assert each.scenario().repeat == 1, each.name


def test_all_of_it_is_held_out_thrice() -> None:
    for each in EVERY:
        assert each.held_out == (("injector", "path", "load") if each.twin is not None else ("path", "load")), each.name


def test_every_cause_has_two_injectors_or_more() -> None:
    found: dict[str, set[str]] = defaultdict(set)
    for fault in LIBRARY.faults:
        found[fault.cause].add(fault.spec.name)
    for cause in set(CAUSES) - {"unknown"}:
        assert len(found[cause]) >= 2, cause


def test_nothing_of_it_is_in_the_matrix_that_fits_use() -> None:
    assert not LIBRARY.paths.keys() & KNOWN.paths.keys()
    assert not LIBRARY.loads.keys() & KNOWN.loads.keys()
    assert not {(one.cause, one.spec.name) for one in LIBRARY.faults} & {
        (one.cause, one.spec.name) for one in KNOWN.faults
    }
    known = {(path.rtt_ns, path.rate_bps) for path in KNOWN.paths.values() if path.rate_bps}
    assert not {(path.rtt_ns, path.rate_bps) for path in LIBRARY.paths.values()} & known


def test_a_harmless_change_is_labelled_healthy() -> None:
    assert {each.causes for each in EVERY if each.twin is None} == {(HEALTHY,)}


def test_the_command_line_takes_the_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults", "list", "--library", str(EXAM), "receive_window"]) == 0
    told = capsys.readouterr().out
    assert "window-clamp" in told
    assert "so-rcvbuf" not in told
