"""action.yml and what it runs: the metadata, the words of hostile inputs, the outputs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.cli.arguments import parse
from perfcheck.cli.github_action import PREFIX, Inputs, run, write_outputs
from perfcheck.errors import UsageError
from perfcheck.model.record import ComparisonRecord, RunRecord
from perfcheck.model.verdict import Verdict
from perfcheck.testing import make_record, make_unmeasured_record

ROOT: Final = Path(__file__).parents[2]
ACTION: Final[dict[str, Any]] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
INPUTS: Final[dict[str, Any]] = ACTION["inputs"]
OUTPUTS: Final[dict[str, Any]] = ACTION["outputs"]
STEPS: Final[list[dict[str, Any]]] = ACTION["runs"]["steps"]
EXPRESSION: Final = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")
EXAMPLE: Final = ROOT / ".github/workflows/example-action.yml"
OUTPUT: Final = re.compile(r"(?P<name>[a-z]+)<<(?P<end>end_[0-9a-f]{32})\n(?P<value>.*?)\n(?P=end)\n", re.DOTALL)


def environ_of(**inputs: str) -> dict[str, str]:
    """Return the variables of the step: the inputs' defaults with these, by the names that action.yml has."""
    given = {name.replace("-", "_"): str(spec["default"]) for name, spec in INPUTS.items()} | inputs
    return {f"{PREFIX}{name.upper()}": value for name, value in given.items()}


def words_of(**inputs: str) -> list[str]:
    return Inputs.of(environ_of(**inputs)).words()


def outputs_in(path: Path) -> dict[str, str]:
    """Read the file of outputs as the runner does, which takes blocks only."""
    text = path.read_text(encoding="utf-8")
    found = list(OUTPUT.finditer(text))
    assert "".join(match[0] for match in found) == text
    return {match["name"]: match["value"] for match in found}


def test_the_metadata_is_an_action() -> None:
    assert set(ACTION) <= {"name", "author", "description", "branding", "inputs", "outputs", "runs"}
    assert {"name", "description", "runs"} <= set(ACTION)
    assert set(ACTION["branding"]) == {"icon", "color"}
    assert ACTION["branding"]["color"] in ("white", "black", "yellow", "blue", "green", "orange", "red", "purple")
    for spec in INPUTS.values():
        assert set(spec) <= {"description", "required", "default", "deprecationMessage"}
        assert isinstance(spec["default"], str)
    for spec in OUTPUTS.values():
        assert set(spec) == {"description", "value"}
    assert set(ACTION["runs"]) == {"using", "steps"}
    assert ACTION["runs"]["using"] == "composite"
    for step in STEPS:
        assert set(step) <= {"name", "id", "if", "shell", "run", "env", "working-directory", "uses", "with"}
        assert ("run" in step) != ("uses" in step)
        # A composite action has no default shell.
        assert ("shell" in step) is ("run" in step)


def test_no_expression_becomes_part_of_a_script() -> None:
    for step in STEPS:
        assert not EXPRESSION.search(step.get("run", ""))


def test_each_input_is_used_and_only_those_that_there_are() -> None:
    text = "\n".join(str(step) for step in STEPS)
    assert {name for each in EXPRESSION.findall(text) for name in re.findall(r"inputs\.([a-z-]+)", each)} | {
        name for step in STEPS for name in re.findall(r"inputs\.([a-z-]+)", step.get("if", ""))
    } == set(INPUTS)
    (measure,) = (step for step in STEPS if step.get("id") == "measure")
    handed = {name: EXPRESSION.fullmatch(value) for name, value in measure["env"].items()}
    assert {name.removeprefix(PREFIX).lower() for name in handed} == set(Inputs.__slots__)
    for name, expression in handed.items():
        assert expression is not None
        assert expression[1] == f"inputs.{name.removeprefix(PREFIX).lower().replace('_', '-')}"


def test_the_outputs_are_those_of_the_step(tmp_path: Path) -> None:
    outputs = stepped(tmp_path, 0, make_record())
    assert set(outputs) == set(OUTPUTS)
    for name, spec in OUTPUTS.items():
        assert spec["value"] == f"${{{{ steps.measure.outputs.{name} }}}}"


def test_inputs_and_outputs_are_documented() -> None:
    page = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
    for name, spec in INPUTS.items():
        row = re.search(rf"^\| `{name}` \| (.*?) \|", page, re.MULTILINE)
        assert row is not None, name
        assert row[1] == (f"`{spec['default']}`" if spec["default"] else "")
    for name in OUTPUTS:
        assert f"| `{name}` |" in page, name


def test_other_actions_are_pinned() -> None:
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert used
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", each) for each in used)


def test_scripts_that_it_runs_are_there() -> None:
    for step in STEPS:
        if "run" in step:
            name = re.fullmatch(r'"\$GITHUB_ACTION_PATH/(\.ci/[a-z]+)"', step["run"])
            assert name is not None
            assert os.access(ROOT / name[1], os.X_OK)


def test_the_example_uses_inputs_and_outputs_that_there_are() -> None:
    found = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    (job,) = found["jobs"].values()
    (step,) = (each for each in job["steps"] if "/perfcheck@" in each.get("uses", ""))
    assert set(step["with"]) <= set(INPUTS)
    text = EXAMPLE.read_text(encoding="utf-8")
    assert set(re.findall(rf"steps\.{step['id']}\.outputs\.([a-z]+)", text)) <= set(OUTPUTS)
    assert step["with"]["baseline"] in ("none", "stored", "ref")


def test_the_words_of_the_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert words_of() == [
        "run", "--no-commands", "--baseline", f"--report={tmp_path}/perfcheck-results/report.html",
        f"--json={tmp_path}/perfcheck-results/records.jsonl", f"--junit={tmp_path}/perfcheck-results/junit.xml",
        "--", "scenarios/",
    ]  # fmt: skip


def test_the_words_of_all_inputs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    words = words_of(
        scenarios="a.yaml\n\n  my scenarios/b.yaml \n", baseline="ref", baseline_ref="origin/main", repeat="5",
        kernel="6.12", commands="true", args="--tolerance 'tcp.rtt_us.p99=5%' --why", results="out dir", report="",
    )  # fmt: skip
    assert words == [
        "run", "--tolerance", "tcp.rtt_us.p99=5%", "--why", "--baseline-ref=origin/main", "--repeat=5",
        "--kernel=6.12", f"--json={tmp_path}/out dir/records.jsonl", f"--junit={tmp_path}/out dir/junit.xml", "--",
        "a.yaml", "my scenarios/b.yaml",
    ]  # fmt: skip
    known = parse(words)
    assert [str(file) for file in known.files] == ["a.yaml", "my scenarios/b.yaml"]
    assert (known.baseline_ref, known.repeat, known.kernel, known.why) == ("origin/main", 5, "6.12", True)
    assert known.tolerance == [("tcp.rtt_us.p99", 5.0)]


def test_a_pull_request_is_compared_with_its_base() -> None:
    base = environ_of(baseline="ref") | {"GITHUB_BASE_REF": "main"}
    assert "--baseline-ref=origin/main" in Inputs.of(base).words()
    with pytest.raises(UsageError, match="input baseline-ref: expected a branch or commit"):
        words_of(baseline="ref")


HOSTILE: Final = (
    "--rules=/tmp/evil", "-h", "$(touch pwned)", "`touch pwned`", "; touch pwned", "a b", "--", "${{ github.token }}",
    "*", "~", "--commands", "\"; touch pwned; \"", "::error::x",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", ["scenarios", "baseline_ref", "repeat", "kernel", "results", "report"])
def test_no_value_is_more_than_a_value(name: str, text: str) -> None:
    words = words_of(baseline="ref", **({"baseline_ref": "main"} | {name: text}))
    plain = words_of(baseline="ref", **({"baseline_ref": "main"} | {name: "plain"}))
    # One word differs (for the folder, the two files in it), and it is the same option's.
    changed = [(one, other) for one, other in zip(words, plain, strict=True) if one != other]
    assert len(changed) == (2 if name == "results" else 1)
    for one, other in changed:
        assert one.partition("=")[0] == other.partition("=")[0] or name == "scenarios"
        assert text in one
    assert "--no-commands" in words
    at = words.index("--")
    assert words[at + 1 :] == ([text] if name == "scenarios" else ["scenarios/"])


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({"scenarios": " \n"}, "input scenarios: expected a file or folder on each line, got nothing"),
        ({"baseline": "origin/main"}, "input baseline: expected none, stored, ref, got 'origin/main'"),
        ({"commands": "yes"}, "input commands: expected true or false, got 'yes'"),
        ({"args": "--why 'x"}, 'input args: no closing quotation in "--why \'x"'),
        ({"args": "--why -- evil.yaml"}, "input args: -- is not allowed"),
        ({"results": ""}, "input results: expected the name of a file or folder, got ''"),
        ({"report": "a\nb"}, r"input report: expected a path of printable characters, got 'a\nb'"),
    ],
)
def test_a_wrong_input_is_named(capsys: pytest.CaptureFixture[str], inputs: Mapping[str, str], told: str) -> None:
    assert run(environ_of(**inputs), perfcheck=never) == 2
    said = capsys.readouterr().err
    assert told in said
    assert len(said.splitlines()) == 1


def test_a_wrong_input_has_a_status_and_a_verdict_too(tmp_path: Path) -> None:
    environ = environ_of(baseline="nonsense") | {"GITHUB_OUTPUT": str(tmp_path / "output")}
    assert run(environ, perfcheck=never) == 2
    outputs = outputs_in(tmp_path / "output")
    assert set(outputs) == set(OUTPUTS)
    assert (outputs["status"], outputs["verdict"], outputs["failed"]) == ("2", "ERROR", "0")


def never(words: Sequence[str]) -> int:
    raise AssertionError(words)


def stepped(folder: Path, status: int, *records: RunRecord, **inputs: str) -> dict[str, str]:
    """Run the step with a perfcheck that writes these records; return its outputs."""
    results = folder / "results"
    environ = environ_of(results=str(results), report="", **inputs) | {"GITHUB_OUTPUT": str(folder / "output")}
    (folder / "output").unlink(missing_ok=True)
    assert run(environ, perfcheck=writing(status, records)) == status
    return outputs_in(folder / "output")


def writing(status: int, records: Sequence[RunRecord]) -> Callable[[Sequence[str]], int]:
    def perfcheck(words: Sequence[str]) -> int:
        path = Path(next(word for word in words if word.startswith("--json=")).partition("=")[2])
        if records:
            path.parent.mkdir(exist_ok=True)
            with path.open("a") as file:
                file.write("".join(f"{record.to_json()}\n" for record in records))
        return status

    return perfcheck


def regressed() -> RunRecord:
    metric = "app.throughput_bps"
    part = ComparisonRecord(
        metric=metric, baseline=90e6, current=80e6, change_pct=-11.0, detectable_pct=1.0, margin_pct=5.0,
        verdict=Verdict.REGRESSED,
    )  # fmt: skip
    return make_record({metric: (80e6,)}, comparisons=(part,), verdict=Verdict.REGRESSED)


@pytest.mark.parametrize(
    ("status", "records", "verdict", "failed"),
    [
        (0, (make_record(),), "PASS", "0"),
        (1, (make_record(), regressed()), "REGRESSED", "1"),
        (3, (make_unmeasured_record("no iperf3"),), "INVALID", "1"),
        (2, (), "ERROR", "0"),
    ],
)
def test_the_outputs(tmp_path: Path, status: int, records: Sequence[RunRecord], verdict: str, failed: str) -> None:
    outputs = stepped(tmp_path, status, *records)
    assert (outputs["status"], outputs["verdict"], outputs["failed"]) == (str(status), verdict, failed)
    assert outputs["results"] == str(tmp_path / "results")
    assert outputs["records"] == (str(tmp_path / "results/records.jsonl") if records else "")
    assert (outputs["junit"], outputs["report"]) == ("", "")


def test_records_of_an_earlier_step_are_not_counted(tmp_path: Path) -> None:
    assert stepped(tmp_path, 1, regressed())["failed"] == "1"
    assert stepped(tmp_path, 0, make_record())["verdict"] == "PASS"


def test_files_of_an_earlier_step_are_no_results_of_this_one(tmp_path: Path) -> None:
    junit = tmp_path / "results/junit.xml"
    stepped(tmp_path, 1, regressed())
    junit.write_text("<testsuites/>")
    outputs = stepped(tmp_path, 2)
    assert (outputs["verdict"], outputs["records"], outputs["junit"]) == ("ERROR", "", "")
    assert stepped(tmp_path, 0, make_record())["records"] == str(tmp_path / "results/records.jsonl")


def test_what_root_wrote_is_handed_to_who_called_sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str, int, int]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, user, group, **_: given.append((path.name, user, group)))
    environ = environ_of(report="", results="out") | {"SUDO_UID": "1001", "SUDO_GID": "127"}
    assert run(environ, perfcheck=writing(0, (make_record(),))) == 0
    assert given == [("out", 1001, 127), ("records.jsonl", 1001, 127), ("junit.xml", 1001, 127)]
    given.clear()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert run(environ | {f"{PREFIX}RESULTS": str(tmp_path / "out")}, perfcheck=writing(0, ())) == 0
    assert given == [], "a folder outside the checkout stays root's"


def test_a_value_cannot_end_its_block(tmp_path: Path) -> None:
    evil = "x\nend_\nverdict<<y\nPASS\ny"
    write_outputs(tmp_path / "o", [("records", evil), ("verdict", "FAIL")])
    assert outputs_in(tmp_path / "o") == {"records": evil, "verdict": "FAIL"}


@given(st.lists(st.text(max_size=20), max_size=6))
def test_args_are_split_as_a_shell_does(words: list[str]) -> None:
    import shlex

    found = Inputs.of(environ_of(args=shlex.join(["--why", *words, "--x"]))) if "--" not in words else None
    assert found is None or list(found.args) == ["--why", *words, "--x"]


def test_the_step_runs_isolated_from_the_repository(tmp_path: Path) -> None:
    """Nothing of the working directory is imported, and what argparse refuses is the exit status of the step."""
    (tmp_path / "perfcheck").mkdir()
    (tmp_path / "perfcheck/__init__.py").write_text("raise SystemExit('hostile')\n")
    (tmp_path / "yaml.py").write_text("raise SystemExit('hostile')\n")
    (tmp_path / "action/.ci").mkdir(parents=True)
    (tmp_path / "action/.venv").symlink_to(sys.prefix)
    script = tmp_path / "action/.ci/action"
    script.write_text((ROOT / ".ci/action").read_text())
    script.chmod(0o755)
    (tmp_path / "sudo").write_text('#!/bin/sh\n[ "$1" = -E ] && shift && exec "$@"\n')
    (tmp_path / "sudo").chmod(0o755)
    output = tmp_path / "output"
    environ = {
        **os.environ, **environ_of(args="--no-such-option", report=""), "GITHUB_OUTPUT": str(output),
        "PYTHONPATH": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }  # fmt: skip
    done = subprocess.run([script], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2, done.stderr
    assert "unrecognized arguments: --no-such-option" in done.stderr
    assert "hostile" not in done.stderr
    assert outputs_in(output)["verdict"] == "ERROR"
