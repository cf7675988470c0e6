"""The workflows to copy: valid YAML, no more rights than needed, and commands that perfcheck understands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from perfcheck.cli.arguments import parse
from perfcheck.runner.sides import Side

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / ".github/workflows"
FILES: Final = tuple(sorted(FOLDER.glob("*.yml")))
ACTION: Final = "example-action.yml"
"""It runs no command of perfcheck itself; tests/unit/test_action.py has what it uses."""
EXAMPLES: Final = tuple(path for path in FILES if path.name.startswith("example-") and path.name != ACTION)
OF_THE_USER: Final = ("nic.yaml", "scenarios")
"""Scenarios that are not here: of another checkout, or of a pair of machines."""
EXPRESSION: Final = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")
VALUES: Final = {
    "$BASE": "main", "$CURRENT": "sysctl net.ipv4.tcp_sack=1", "$PROPOSED": "sysctl net.ipv4.tcp_sack=0",
}  # fmt: skip


def workflow(path: Path) -> dict[Any, Any]:
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in workflow(path)["jobs"].values():
        yield from job["steps"]


def commands(path: Path) -> Iterator[list[str]]:
    """Yield the words of each perfcheck command, as a shell gives them."""
    for step in steps(path):
        for line in step.get("run", "").splitlines():
            words = shlex.split(line)
            index = next((place for place, word in enumerate(words) if word.endswith("bin/perfcheck")), None)
            if index is not None:
                yield [VALUES.get(word, word.replace("$BASE", "main")) for word in words[index + 1 :]]


def test_there_is_a_gate_for_each_use() -> None:
    assert {path.name for path in FILES} - {"tests.yml"} == {
        ACTION, "example-gate.yml", "example-kernel-gate.yml", "example-nic-gate.yml", "example-sysctl-gate.yml",
    }  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workflow_is_valid_and_may_only_read(path: Path) -> None:
    found = workflow(path)
    # YAML 1.1 reads the key `on` as true.
    assert set(found) >= {"name", True, "permissions", "jobs"}
    assert found["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in found[True]
    for job in found["jobs"].values():
        assert job["runs-on"]
        assert job["timeout-minutes"] <= 240
    for step in steps(path):
        assert ("uses" in step) != ("run" in step)
        assert not step.get("uses", "").startswith("actions/checkout") or "v4" in step["uses"]
        assert "if" not in step or isinstance(step["if"], str)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_text_of_others_becomes_part_of_a_script(path: Path) -> None:
    for step in steps(path):
        for expression in EXPRESSION.findall(step.get("run", "")):
            pytest.fail(f"{path.name}: {step.get('name')}: {expression}: hand it over as a variable (env)")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_expressions_name_what_there_is(path: Path) -> None:
    inputs = ((workflow(path)[True] or {}).get("workflow_dispatch") or {}).get("inputs") or {}
    text = path.read_text(encoding="utf-8")
    ids = {step["id"] for step in steps(path) if "id" in step}
    for name in re.findall(r"\bsteps\.([a-z]+)\.", text):
        assert name in ids
    for name in re.findall(r"\binputs\.([a-z]+)\b", text):
        assert name in inputs
    for name in re.findall(r"\benv\.([A-Z_]+)\b", text):
        assert any(name in job.get("env", {}) for job in workflow(path)["jobs"].values())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_perfcheck_understands_each_command(path: Path) -> None:
    told = list(commands(path))
    assert any(words[0] in ("run", "ab") for words in told)
    for words in told:
        arguments = parse(words)
        for file in map(str, getattr(arguments, "files", ())):
            assert file in OF_THE_USER or (ROOT / file).exists(), f"{path.name}: {file}"
        if words[0] in ("run", "ab"):
            assert arguments.json is not None
            assert arguments.junit is not None


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_settings_that_a_form_offers_are_sides(path: Path) -> None:
    inputs = ((workflow(path)[True] or {}).get("workflow_dispatch") or {}).get("inputs") or {}
    for name, field in inputs.items():
        assert Side.parse(field["default"]).text == field["default"], name


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_what_was_measured_is_kept_also_of_a_job_that_failed(path: Path) -> None:
    uploads = [step for step in steps(path) if step.get("uses", "").startswith("actions/upload-artifact@")]
    assert uploads
    assert all(step["if"] == "always()" for step in uploads)
    for folder in (step["with"]["path"] for step in uploads):
        assert folder.endswith("results/")


def test_the_config_of_the_kernel_gate_has_a_value_for_each_symbol() -> None:
    lines = (ROOT / "scenarios/cost/kernel.config").read_text(encoding="utf-8").splitlines()
    symbols = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"CONFIG_[A-Z0-9_]+=y", line) for line in symbols)
    assert len(symbols) == len(set(symbols)) > 20
