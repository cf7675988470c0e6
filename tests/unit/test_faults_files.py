"""The data files of the fault matrix: mistakes are told at their place, and what they give is what the design asks."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Final

import pytest

from perfcheck.errors import FaultError
from perfcheck.faults import Library, combinations, load_library
from perfcheck.faults.template import filled
from perfcheck.model.causes import CAUSES

PATHS: Final = "paths: [{name: wan, rtt: 20ms, rate: 20mbit, queue_bdp: 1}]\n"
LOADS: Final = "loads: [{name: bulk, entry: {iperf3: {from: client, to: server}}}]\n"
FAULTS: Final = """\
cause: random_loss
faults:
  - name: relay
    means: relay
    paths: [wan]
    loads: [bulk]
    severities: {one: {loss: 1%}}
    changes: {link: {loss: "{loss}"}}
"""
PAIRS: Final = """\
pairs: [{name: two, faults: [random_loss/relay/one, random_loss/relay/one], paths: [wan],
         loads: [bulk]}]
"""


def written(folder: Path, **files: str) -> Path:
    for name, text in {"paths": PATHS, "loads": LOADS, "faults": FAULTS, "pairs": PAIRS, **files}.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def problem_of(folder: Path) -> str:
    with pytest.raises(FaultError) as caught:
        combinations(load_library(folder))
    (problem,) = caught.value.problems
    return str(problem).removeprefix(f"{folder}/")


@pytest.mark.parametrize(
    ("file", "before", "after", "expected"),
    [
        ("paths", "rtt: 20ms", "rtt: 20", "paths.yaml:1:26: paths[0].rtt: expected a duration such as 10ms, got 20"),
        ("paths", ", queue_bdp: 1", "", "paths.yaml:1:9: paths[0]: expected queue_bdp where there is a rate"),
        ("loads", "name: bulk, ", "", "loads.yaml:1:9: loads[0].name: Field required"),
        ("faults", "means: relay", "means: magic", "faults.yaml:4:12: faults[0].means: Input should be"),
        ("faults", "cause: random_loss", "cause: gremlins", "faults.yaml:1:8: cause: unknown cause 'gremlins'"),
        ("faults", "cause: random_loss\n", "", "faults.yaml:1:1: expected `cause:`, the cause that these faults make"),
        ("faults", "paths: [wan]", "paths: [wam]", "faults.yaml:5:13: faults[0].paths[0]: no file has path 'wam'"),
        ("faults", "loads: [bulk]", "loads: [bulk, slow]", "faults.yaml:6:19: faults[0].loads[1]: no file has load"),
        ("faults", "{loss}", "{loss * share}", "faults.yaml:8:14: faults[0].changes: loss is '1%', not a number"),
        ("faults", "link:", "lnk:", "faults.yaml:8:15: faults[0].changes.lnk: unknown key"),
        ("pairs", "relay/one,", "relay/two,", "pairs.yaml:1:30: pairs[0].faults[0]: no file has fault"),
        ("pairs", "pairs: [", "pairs: [[", "pairs.yaml:"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_at_its_place(tmp_path: Path, file: str, before: str, after: str, expected: str) -> None:
    texts = {"paths": PATHS, "loads": LOADS, "faults": FAULTS, "pairs": PAIRS}
    assert before in texts[file]
    told = problem_of(written(tmp_path, **{file: texts[file].replace(before, after, 1)}))
    assert told.startswith(expected), told


def test_a_folder_without_files_is_told(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match="no data files of the fault matrix"):
        load_library(tmp_path)


def test_names_that_are_used_twice_are_told(tmp_path: Path) -> None:
    twice = PATHS.replace("[{", "[{name: wan, rtt: 5ms}, {")
    assert problem_of(written(tmp_path, paths=twice)) == "paths.yaml:1:39: paths[1].name: duplicate name 'wan'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{rate_bps * 0.5}bit", "10000000bit"), ("{rtt_ms}", 20.0), ("{server}:80", "{server}:80"),
        ("{rtt_ms * 0.33}ms", "6.6ms"), ("{rate_bps / 8 * share - 5}", 1249995), ("{n}", "{n}"),
        ("{ type filter hook forward priority 0 ; }", "{ type filter hook forward priority 0 ; }"),
    ],
)  # fmt: skip
def test_braces_are_filled_in(text: str, expected: object) -> None:
    assert filled(text, {"rate_bps": 20_000_000, "rtt_ms": 20.0, "share": 0.5}) == expected


@pytest.mark.parametrize("text", ["{rate_bps * wrong}", "{rtt_ms / zero}"])
def test_a_calculation_that_cannot_be_made_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"neither a number|divides by zero"):
        filled(text, {"rate_bps": 1, "rtt_ms": 1, "zero": 0})


@pytest.fixture(scope="module")
def library() -> Library:
    return load_library()


def test_every_cause_has_injectors_of_different_means(library: Library) -> None:
    found: dict[str, set[str]] = defaultdict(set)
    for fault in library.faults:
        found[fault.cause].add(f"{fault.spec.means}/{fault.spec.name}")
    for cause in set(CAUSES) - {"unknown"}:
        assert len(found[cause]) >= 2, cause


def test_every_cause_is_held_out_in_part(library: Library) -> None:
    every = combinations(library)
    for cause in set(CAUSES) - {"unknown"}:
        own = [each for each in every if cause in each.causes]
        assert any(each.fit for each in own), cause
        assert any(not each.fit for each in own), cause
