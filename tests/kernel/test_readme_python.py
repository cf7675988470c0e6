"""The README's example in Python, run as it stands there; its failure beside that of the same line in YAML."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

pytestmark = pytest.mark.kernel

README: Final = Path(__file__).parents[2] / "README.md"
NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?(?: [kMG]?(?:bit/s|B)| [mun]?s| %)?")


def example(name: str) -> str:
    """Return the block of the README whose first line names this file."""
    blocks = re.findall(r"^```[a-z]+\n(# my-scenarios/(\S+)\n.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    return str(next(text for text, file in blocks if file == name))


def changed(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run pytest as a user would, in the folder above the scenarios."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--rootdir={folder}", "-c", "/dev/null", *words],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def failure(output: str, headline: str) -> list[str]:
    """Return the lines of a failure from its headline to its place, without pytest's marks of a traceback."""
    lines = [line.removeprefix("E       ").rstrip() for line in output.splitlines()]
    start = next(number for number, line in enumerate(lines) if re.search(headline, line))
    end = next(number for number in range(start, len(lines)) if lines[number].startswith("  at "))
    return lines[start:end]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the README's files as they are named there."""
    scenarios = tmp_path / "my-scenarios"
    scenarios.mkdir()
    for name in ("office.yaml", "test_office.py"):
        (scenarios / name).write_text(example(name))
    return tmp_path


def test_the_example_measures_and_passes(folder: Path) -> None:
    done = run(folder, "my-scenarios/test_office.py", "--perfcheck-json=records.jsonl")
    assert done.returncode == 0, done.stdout
    assert re.search(r"^office-upload +tcp\.rtt_us\.p99 .* < 80ms +PASS$", done.stdout, re.MULTILINE), done.stdout
    assert len((folder / "records.jsonl").read_text().splitlines()) == 1


def test_it_fails_with_the_text_of_the_same_line_in_yaml(folder: Path) -> None:
    python, yaml = folder / "my-scenarios/test_office.py", folder / "my-scenarios/office.yaml"
    # A round trip of 30 ms is more than 20 ms, whatever the machine does, and after a second already.
    python.write_text(changed(changed(python.read_text(), "< ms(80)", "<= ms(20)"), "repeat=3", "repeat=2"))
    shorter = changed(yaml.read_text(), "duration: 3s", "duration: 2s")
    yaml.write_text(changed(shorter, '"<= 80ms"', '"<= 20ms"') + "repeat: 2\n")
    done = run(folder, "my-scenarios", "-k", "upload")
    assert done.returncode == 1, done.stdout
    found = list(
        re.finditer(r"^(?:E       \S+: )?(?:tcp\.rtt_us\.p99 is .*, expected <= 20ms)$", done.stdout, re.MULTILINE)
    )
    assert len(found) == 2, done.stdout
    texts = [failure(done.stdout[each.start() :], "expected <= 20ms") for each in found]
    labels = [[line[:12].strip() for line in text if line[2:3].strip()] for text in texts]
    # Two runs: what they measured differs, what the text says of it does not.
    assert [label for label in labels[0] if label in ("expected", "actual", "layer", "cause", "reproduce")] == [
        "expected", "actual", "layer", "cause", "reproduce"]  # fmt: skip
    for wanted in ("expected", "actual", "layer", "reproduce"):
        one, other = (NUMBER.sub("#", next(line for line in text if line.startswith(f"  {wanted}"))) for text in texts)
        assert one == other


GATE: Final = """
from perfcheck import Scenario, mbit, ms

RATE = mbit(20)
LINE = Scenario(
    "line", hosts={"client": {}, "server": {}}, warmup="400ms", repeat=2,
    links=[{"between": ["client", "server"], "delay": ms(10), "rate": RATE, "queue": "2bdp"}],
    traffic=[{"iperf3": {"from": "client", "to": "server", "duration": "1s"}}],
)


def test_line(perfcheck):
    perfcheck.run(LINE).assert_no_regression()
"""


def test_a_regression_against_the_saved_baseline_is_confirmed_by_fresh_runs(tmp_path: Path) -> None:
    made = tmp_path / "test_gate.py"
    made.write_text(GATE)
    # The more runs are saved, the fewer fresh ones confirm.
    saved = run(tmp_path, made.name, "--baseline-save", "--perfcheck-repeat=5")
    assert saved.returncode == 0, saved.stdout
    assert "1 no baseline" in saved.stdout
    assert "line: baseline written to baselines/" in saved.stdout
    made.write_text(changed(GATE, "mbit(20)", "mbit(10)"))
    done = run(tmp_path, made.name, "--perfcheck-json=records.jsonl")
    assert done.returncode == 1, done.stdout
    assert re.search(r"app\.throughput_bps went from 1[89]\.?\S* Mbit/s to 9\S* Mbit/s", done.stdout), done.stdout
    assert "links[0].rate: 20mbit -> 10mbit" in done.stdout
    assert "reproduce  pytest test_gate.py::test_line" in done.stdout
    (record,) = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert record["verdict"] == "REGRESSED"
    assert sum(trial["valid"] for trial in record["trials"]) > 2
