"""`perfcheck bisect`: what it prints, its exit statuses, and `git bisect run` with it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from bisect_kernels import METRIC, Answer, ScriptedCompare
from bisect_trees import BUILD, SIX, git, tree_of
from scripted_session import ScriptedSession

from perfcheck.cli import bisecting, main
from perfcheck.errors import GuestDied, UsageError
from perfcheck.kernels.store import Kernel
from perfcheck.model.verdict import Verdict
from perfcheck.output import read_records
from perfcheck.runner.bisecting import kernel_list

SCENARIO = """
scenario: cost-requests
hosts: {client: {}, server: {}}
links: [{between: [client, server]}]
traffic: [{load: {from: client, to: server, kind: requests, count: 8000, size: 100b}}]
measure: {mode: cost}
"""
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
REGRESSED, PASS = Verdict.REGRESSED, Verdict.PASS


@dataclass
class Lab:
    """A scenario file, kernels of a store and scripted verdicts."""

    folder: Path
    answers: dict[str, Answer] = field(default_factory=dict)
    compare: ScriptedCompare = field(default_factory=lambda: ScriptedCompare({}))
    sizes: dict[str, float] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.folder / "scenario.yaml"

    def bisect(self, *words: str, metric: str = METRIC) -> int:
        self.compare = ScriptedCompare(self.answers, sizes=self.sizes)
        return main(["bisect", str(self.file), "--metric", metric, *words])

    def kernel(self, name: str) -> Kernel:
        place = self.folder / "store" / name
        if not place.exists():
            raise UsageError(f"no kernel is called {name!r}")
        return Kernel(name=name, release="6.12.0", folder=place)

    def judged(self) -> list[str]:
        return [name for _, name in self.compare.compared]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    made = Lab(tmp_path, {name: REGRESSED if name >= "d" else PASS for name in "abcdef"})
    made.file.write_text(SCENARIO)
    for name in "abcdef":
        (tmp_path / "store" / name).mkdir(parents=True)
        (tmp_path / "store" / name / "vmlinuz").write_text(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PERFCHECK_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(bisecting, "Runner", ScriptedSession())
    monkeypatch.setattr(bisecting, "GuestComparison", lambda **_: made.compare)
    monkeypatch.setattr(kernel_list, "stored_kernel", made.kernel)
    return made


SIX_KERNELS = ("--kernels", "a,b,c,d,e,f", "--good", "a", "--bad", "f")


def lines(text: str) -> list[str]:
    """Return lines with single spaces."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_the_first_bad_kernel_is_printed_with_all_steps(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.bisect(*SIX_KERNELS, "--json", str(lab.folder / "records")) == 0
    assert lab.judged() == ["f", "c", "d"]
    assert lines(capsys.readouterr().out) == [
        "1: f against a",
        "1: f: REGRESSED +2.50 % (+2.40 to +2.60 %), counts as bad",
        "2: c against a; at most 2 after it, if none is skipped",
        "2: c: PASS +0.01 % (-0.09 to +0.11 %), counts as good",
        "3: d against a; at most 1 after it, if none is skipped",
        "3: d: REGRESSED +2.50 % (+2.40 to +2.60 %), counts as bad",
        "step kernel change interval pairs verdict counts as",
        "1 f +2.50 % +2.40 to +2.60 % 9 REGRESSED bad",
        "2 c +0.01 % -0.09 to +0.11 % 9 PASS good",
        "3 d +2.50 % +2.40 to +2.60 % 9 REGRESSED bad",
        "first bad kernel: d",
        "cpu.insns_per_request +2.50 % (+2.40 to +2.60 %) against a",
        "last good kernel: c, +0.01 %",
        f"where it got longer: perfcheck ab {lab.file} --a kernel=c --b kernel=d",
    ]
    assert len(read_records(lab.folder / "records")) == 6


def test_the_same_command_goes_on_and_never_measures_twice(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.answers["d"] = KeyboardInterrupt()
    assert lab.bisect(*SIX_KERNELS) == 3
    assert "2 steps are kept in" in capsys.readouterr().err
    lab.answers["d"] = REGRESSED
    assert lab.bisect(*SIX_KERNELS) == 0
    assert lab.judged() == ["d"]
    assert "first bad kernel: d" in capsys.readouterr().out
    assert lab.bisect(*SIX_KERNELS) == 0
    assert lab.judged() == []
    assert lab.bisect(*SIX_KERNELS, "--restart") == 0
    assert lab.judged() == ["f", "c", "d"]


def test_a_range_is_named_with_why_and_ends_with_status_3(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.answers |= {"c": GuestDied("c", "a panic: \x1b[31mno init", (), panicked=True), "d": Verdict.INCONCLUSIVE}
    assert lab.bisect(*SIX_KERNELS, "--json", str(lab.folder / "records")) == 3
    out = capsys.readouterr().out
    assert lines(out)[-4:] == [
        "the first bad kernel is one of 3; 2 of them could not be judged:",
        r"c: the guest with kernel c died: a panic: \x1b[31mno init",
        "d: 20 pairs were not enough to decide",
        "e",
    ]
    assert "\x1b" not in out
    invalid = [record for record in read_records(lab.folder / "records") if record.verdict is Verdict.INVALID]
    assert [record.sides for record in invalid] == [None, ("kernel=a", "kernel=c")]


def test_nothing_to_bisect_ends_with_status_3(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.answers["f"] = PASS
    assert lab.bisect(*SIX_KERNELS) == 3
    assert lines(capsys.readouterr().out)[-1] == (
        "nothing to bisect: cpu.insns_per_request of f is no worse than that of a"
    )
    assert lab.bisect(*SIX_KERNELS, "--no-verify") == 0


def test_where_the_regression_came_in_several_steps_it_is_said(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.sizes = {"f": 5.0, "d": 0.4, "c": 0.3}
    assert lab.bisect(*SIX_KERNELS) == 0
    said = capsys.readouterr().out
    assert "note: that is the smaller part of +5.00 % in all" in said
    assert "note: a good kernel has 0.30 % already" in said


def test_a_kernel_that_was_replaced_is_not_what_was_judged(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.bisect(*SIX_KERNELS) == 0
    (lab.folder / "store/c/vmlinuz").write_text("another build")
    assert lab.bisect(*SIX_KERNELS) == 2
    assert "the state of another bisect: image of c was" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--good", "a", "--bad", "f"), "give either --kernels or --tree"),
        ((*SIX_KERNELS, "--tree", "."), "give either --kernels or --tree"),
        (("--kernels", "a,f", "--good", "a"), "--bad: name a kernel"),
        (("--kernels", "a,f", "--bad", "f"), "--good: name a kernel"),
        (("--kernels", "a,x,f", "--good", "a", "--bad", "f"), "no kernel is called 'x'"),
        ((*SIX_KERNELS, "--build", "make"), "--build: only with --tree"),
        ((*SIX_KERNELS, "--select", "x"), "got no scenario"),
        ((*SIX_KERNELS, "--tolerance", "cpu.insns_per_request@x=1%"), "no scenario has a subject 'x'"),
        (("--step", "--good", "a", "--bad", "f"), "--bad: not with --step"),
    ],
)
def test_bad_usage_is_one_line(lab: Lab, capsys: pytest.CaptureFixture[str], words: Sequence[str], said: str) -> None:
    assert lab.bisect(*words) == (128 if "--step" in words else 2)
    captured = capsys.readouterr()
    assert said in captured.err
    assert (len(captured.err.splitlines()), captured.out) == (1, "")


def test_the_metric_is_one_that_the_scenario_measures(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.bisect(*SIX_KERNELS, metric="cpu.insns_per_byte") == 2
    assert "cost-requests does not measure 'cpu.insns_per_byte'; did you mean" in capsys.readouterr().err
    assert lab.bisect(*SIX_KERNELS, metric="cpu.insns_per_request@x") == 2
    lab.file.write_text(SCENARIO.replace("measure: {mode: cost}", ""))
    assert lab.bisect(*SIX_KERNELS) == 2
    assert "set measure: {mode: cost}" in capsys.readouterr().err


def test_the_commits_of_a_tree_are_searched(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    commits = tree_of(lab.folder / "linux", SIX)
    words = ("--tree", str(lab.folder / "linux"), "--build", BUILD, "--built", "built")
    done = driven(lab, *words, "--good", commits[0], "--bad", "HEAD", "--json", str(lab.folder / "records"))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"first bad kernel: {commits[3][:12]} (change 3)" in done.stdout
    # The last commit to verify that there is anything to find, then at most three: commits of one second have no order.
    compared = (lab.folder / "compared").read_text().split()
    assert compared[0] == "bad"
    assert "good" in compared
    assert len(compared) <= 4
    assert not list((lab.folder / "cache/perfcheck/trees").iterdir())
    # The kernels are gone: only a bisect makes them again.
    again = {record.reproduce for record in read_records(lab.folder / "records")}
    assert len(again) == 1
    assert shlex.split(again.pop())[:4] == ["perfcheck", "bisect", str(lab.file), "--metric"]


def test_a_step_without_a_build_is_bad_usage_for_git_too(lab: Lab) -> None:
    tree_of(lab.folder / "linux", SIX)
    for words in (("--step",), ("--step", "--unknown"), ("--step", "--good", "a"), ("--step", "--good", "x")):
        done = driven(lab, *words, cwd=lab.folder / "linux")
        assert done.returncode == 128, words
        assert done.stderr


@pytest.mark.parametrize(
    ("content", "status"), [("good", 0), ("bad", 1), ("unclear", 125), (None, 125)], ids=str
)  # fmt: skip
def test_a_step_judges_the_tree_as_it_is(lab: Lab, content: str | None, status: int) -> None:
    tree_of(lab.folder / "linux", ("good", content))
    done = driven(lab, *step_words(), cwd=lab.folder / "linux")
    assert (done.returncode, done.stderr) == (status, "")
    assert not list((lab.folder / "cache/perfcheck/trees").iterdir())


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (SIX, "is the first bad commit"),
        (("good", None, "good", "bad", None, "bad"), "is the first bad commit"),
        (("good", "good", "unclear", "bad", "bad", "bad"), "only 'skip'ped commits left"),
    ],
)
def test_git_bisect_run_takes_a_step(lab: Lab, contents: Sequence[str | None], said: str) -> None:
    folder = lab.folder / "linux"
    commits = tree_of(folder, contents)
    git(folder, "bisect", "start", commits[-1], commits[0])
    argv = ["git", "-C", str(folder), "bisect", "run", *command(lab), *step_words()]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env=environment(lab))
    assert said in done.stdout + done.stderr
    assert (f"{commits[3]} is the first bad commit" in done.stdout) is ("first bad commit" in said)


def test_git_bisect_run_ends_where_the_machine_cannot_measure(lab: Lab) -> None:
    folder = lab.folder / "linux"
    commits = tree_of(folder, SIX)
    git(folder, "bisect", "start", commits[-1], commits[0])
    argv = ["git", "-C", str(folder), "bisect", "run", *command(lab), "--step", "--good", "a", "--build", "none-such"]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env=environment(lab))
    assert "none-such is not available" in done.stdout + done.stderr
    assert "first bad commit" not in done.stdout
    assert done.returncode != 0


def step_words() -> tuple[str, ...]:
    return ("--good", "a", "--step", "--build", BUILD, "--built", "built")


def command(lab: Lab) -> list[str]:
    return [sys.executable, str(HERE / "bisect_driver.py"), "bisect", str(lab.file), "--metric", METRIC]


def environment(lab: Lab) -> dict[str, str]:
    return {
        **os.environ, "PYTHONPATH": f"{ROOT}:{HERE}", "COMPARED": str(lab.folder / "compared"),
        "STORE": str(lab.folder / "store"), "XDG_CACHE_HOME": str(lab.folder / "cache"),
    }  # fmt: skip


def driven(lab: Lab, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process of its own."""
    argv = [*command(lab), *words]
    return subprocess.run(argv, check=False, capture_output=True, text=True, cwd=cwd, env=environment(lab))
