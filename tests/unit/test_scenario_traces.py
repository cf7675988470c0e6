"""Trace files of scenarios: below the scenario's folder unless a flag allows others, part of the digest, not shown."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from perfcheck.cli import main
from perfcheck.errors import ScenarioError
from perfcheck.lab.links.relay.config import plan_of
from perfcheck.model.scenario import Scenario
from perfcheck.model.trace import MAX_BYTES
from perfcheck.runner.summary import reproduce, reproduce_pairs
from perfcheck.scenario import conditions, load, load_text, read

SCENARIO = """
scenario: a
hosts: {client: {}, server: {}}
links: [{between: [client, server], delay: 10ms, forward: {trace: NAME}}]
traffic: [{iperf3: {from: client, to: server}}]
"""
TRACE = "0s 10mbit -\n1s 5mbit -\n"


def write(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "a.yaml"
    path.write_text(SCENARIO.replace("NAME", name))
    return path


def loaded(path: Path, *, outside: bool = False) -> Scenario:
    (scenario,) = read(path, trace_outside=outside).scenarios
    return scenario


def refusal(path: Path, *, outside: bool = False) -> str:
    with pytest.raises(ScenarioError) as caught:
        read(path, trace_outside=outside)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.path) == (4, 67, "links[0].forward.trace")
    assert str(problem).isprintable()
    return problem.message


def test_a_trace_is_found_from_the_scenarios_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "scenarios", "traces/lte.trace")
    assert "cannot be read: No such file or directory" in refusal(path)
    (tmp_path / "scenarios" / "traces").mkdir()
    (tmp_path / "scenarios" / "traces" / "lte.trace").write_text(TRACE)
    monkeypatch.chdir(tmp_path)
    for given in (path, Path("scenarios/a.yaml")):
        monkeypatch.chdir(tmp_path)
        scenario = loaded(given)
        monkeypatch.chdir("/")
        trace = plan_of(scenario.links[0].direction("forward")).trace
        assert trace is not None
        assert trace["rate"]["bps"] == [10_000_000, 5_000_000]


@pytest.mark.parametrize(
    "name", ["../lte.trace", "{tmp}/lte.trace", "down/../../lte.trace", "link.trace", "up/lte.trace"]
)
def test_what_lies_outside_needs_the_flag(tmp_path: Path, name: str) -> None:
    (tmp_path / "lte.trace").write_text(TRACE)
    folder = tmp_path / "scenarios"
    path = write(folder, name.replace("{tmp}", str(tmp_path)))
    (folder / "down").mkdir()
    (folder / "link.trace").symlink_to(tmp_path / "lte.trace")
    (folder / "up").symlink_to(tmp_path)
    assert "--trace-outside" in refusal(path)
    assert loaded(path, outside=True).links[0].direction("forward").trace is not None


def test_a_link_within_the_folder_and_a_folder_that_is_a_link_are_inside(tmp_path: Path) -> None:
    real = tmp_path / "real"
    write(real, "link.trace")
    (real / "lte.trace").write_text(TRACE)
    (real / "link.trace").symlink_to("lte.trace")
    (tmp_path / "folder").symlink_to(real)
    assert loaded(tmp_path / "folder" / "a.yaml")


@pytest.mark.parametrize("name", ["/etc/shadow", "../../../../../../../../etc/passwd", "passwd", "outside"])
def test_no_line_of_another_file_is_told(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root:hunter2:0:0\n")
    path = write(tmp_path / "scenarios", name)
    (path.parent / "passwd").symlink_to("/etc/passwd")
    (path.parent / "outside").symlink_to(secret)
    told = refusal(path) + (refusal(path, outside=True) if name == "outside" else "")
    assert "root:" not in told
    assert "hunter2" not in told
    if name == "outside":
        assert "cannot be replayed: line 1: expected `AT RATE DELAY` such as 2s 10mbit 20ms" in told


def test_what_is_no_file_of_a_trace_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "large").write_bytes(b"1\n" * MAX_BYTES)
    (tmp_path / "sub").mkdir()
    begin = time.monotonic()
    assert "not a regular file" in refusal(write(tmp_path, "pipe"))
    assert "not a regular file" in refusal(write(tmp_path, "zero"), outside=True)
    assert f"larger than {MAX_BYTES} bytes" in refusal(write(tmp_path, "large"))
    assert "it is a folder" in refusal(write(tmp_path, "sub"))
    assert "not a valid file name" in refusal(write(tmp_path, '"a\\0b"'))
    assert "the trace 'a\\x1bb' cannot be read" in refusal(write(tmp_path, '"a\\eb"'))
    assert time.monotonic() - begin < 5


def test_the_content_is_part_of_the_digest_and_not_of_the_workload(tmp_path: Path) -> None:
    path = write(tmp_path, "lte.trace")
    (tmp_path / "lte.trace").write_text(TRACE)
    before, again = loaded(path), loaded(path)
    (tmp_path / "lte.trace").write_text(TRACE.replace("5mbit", "6mbit"))
    after = loaded(path)
    assert before.digest == again.digest != after.digest
    assert before.workload_digest == after.workload_digest
    key = "links[0].forward.trace"
    assert conditions(before)[key] != conditions(after)[key]
    assert conditions(before)[key].startswith("lte.trace ")


def test_a_text_that_is_no_file_names_a_trace_that_is_not_looked_up() -> None:
    (scenario,) = load_text(SCENARIO.replace("NAME", "lte.trace"), "a.yaml")
    assert conditions(scenario)["links[0].forward.trace"] == "lte.trace"


def test_each_value_of_a_matrix_is_looked_up(tmp_path: Path) -> None:
    path = write(tmp_path, "lte.trace")
    (tmp_path / "lte.trace").write_text(TRACE)
    path.write_text(path.read_text() + "matrix: {'links[0].forward.trace': [lte.trace, ../x]}\n")
    with pytest.raises(ScenarioError, match=r"a.yaml:6:48: .*leads out of the scenario's folder"):
        load(path)


def test_the_command_line_has_the_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lte.trace").write_text(TRACE)
    path = write(tmp_path / "scenarios", "../lte.trace")
    assert main(["list", str(path)]) == 2
    assert "leads out of the scenario's folder" in capsys.readouterr().err
    assert main(["list", "--trace-outside", str(path)]) == 0


@pytest.mark.parametrize(("name", "wanted"), [("below.trace", False), ("../beside.trace", True), ("ABSOLUTE", True)])
def test_the_command_that_runs_it_again_allows_the_traces_that_were_allowed(
    name: str, wanted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "scenarios"
    path = write(folder, name.replace("ABSOLUTE", str(folder / "below.trace")))
    for trace in (folder / "below.trace", tmp_path / "beside.trace"):
        trace.write_text(TRACE)
    for given in (path, Path("scenarios/a.yaml")):
        monkeypatch.chdir(tmp_path)
        scenario = loaded(given, outside=wanted)
        option = " --trace-outside" if wanted else ""
        assert reproduce(scenario) == f"perfcheck run {given} --repeat {scenario.repeat}{option}"
        assert reproduce_pairs(scenario, "file", "file") == f"perfcheck ab {given} --a file --b file{option}"
