"""The exams: faults that no fit has seen, in folders of their own. Every combination is a scenario; all is held out."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Final

import pytest

from perfcheck.cli import main
from perfcheck.faults import Library, combinations, load_library
from perfcheck.model.causes import CAUSES, HEALTHY

SCENARIOS: Final = Path(__file__).parents[2] / "scenarios"
EXAM: Final = SCENARIOS / "faults-exam"
LIBRARIES: Final = {name: load_library(SCENARIOS / name) for name in ("faults-exam", "faults-exam-2")}
KNOWN: Final = load_library()
each_exam: Final = pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)


@each_exam
def test_every_combination_loads_as_a_scenario(library: Library) -> None:
    for each in combinations(library):
        assert each.scenario().repeat == 1, each.name


@each_exam
def test_all_of_it_is_held_out_thrice(library: Library) -> None:
    for each in combinations(library):
        assert each.held_out == (("injector", "path", "load") if each.twin is not None else ("path", "load")), each.name


@each_exam
def test_every_cause_has_two_injectors_or_more(library: Library) -> None:
    found: dict[str, set[str]] = defaultdict(set)
    for fault in library.faults:
        found[fault.cause].add(fault.spec.name)
    for cause in set(CAUSES) - {"unknown"}:
        assert len(found[cause]) >= 2, cause


@each_exam
def test_nothing_of_it_is_in_the_matrix_that_fits_use(library: Library) -> None:
    nothing_of(library, KNOWN)


def test_nothing_of_the_second_exam_is_in_the_first() -> None:
    nothing_of(LIBRARIES["faults-exam-2"], LIBRARIES["faults-exam"])


def nothing_of(library: Library, known: Library) -> None:
    assert not library.paths.keys() & known.paths.keys()
    assert not library.loads.keys() & known.loads.keys()
    assert not {(one.cause, one.spec.name) for one in library.faults} & {
        (one.cause, one.spec.name) for one in known.faults
    }
    rates = {(path.rtt_ns, path.rate_bps) for path in known.paths.values() if path.rate_bps}
    assert not {(path.rtt_ns, path.rate_bps) for path in library.paths.values()} & rates


def test_the_second_exam_has_other_pairs_of_causes_than_the_matrix() -> None:
    pairs, known = (
        {frozenset(each.causes) for each in combinations(library) if len(each.causes) > 1}
        for library in (LIBRARIES["faults-exam-2"], KNOWN)
    )
    assert len(pairs) == 16
    assert not pairs & known


@each_exam
def test_a_harmless_change_is_labelled_healthy(library: Library) -> None:
    assert {each.causes for each in combinations(library) if each.twin is None} == {(HEALTHY,)}


def test_the_command_line_takes_the_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults", "list", "--library", str(EXAM), "receive_window"]) == 0
    told = capsys.readouterr().out
    assert "window-clamp" in told
    assert "so-rcvbuf" not in told
