"""What a file's author may do: --no-commands refuses what runs, --baseline-ref takes baselines from a commit."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from baseline_records import session
from scenario_texts import VALID, changed

from perfcheck.baseline import BaselineStore
from perfcheck.baseline.git_ref import baselines_at, checked_ref
from perfcheck.cli import main
from perfcheck.errors import ScenarioError, UsageError
from perfcheck.runner import Runner, RunOptions
from perfcheck.scenario import load_text, read_text
from perfcheck.testing import make_scenario

SETUP = changed(("client: {}", "client: {setup: ['nft add table inet t']}"))
COMMAND = VALID.replace("expect:", "  - command: {host: client, run: 'true'}\nexpect:")
REFUSED = "this runs commands as root on this machine, which --no-commands forbids"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (SETUP, "f:3:12: hosts.client.setup"),
        (COMMAND, "f:12:5: traffic[1].command"),
        (SETUP.replace("setup: ['nft add table inet t']", "setup: nft"), "f:3:12: hosts.client.setup"),
    ],
)
def test_a_file_that_runs_commands_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        read_text(text, "f", commands=False)
    assert f"{place}: {REFUSED}" in str(refused.value)


def test_what_runs_nothing_is_read_and_commands_are_allowed_where_nothing_is_said() -> None:
    assert read_text(changed(("client: {}", "client: {setup: []}")), "f", commands=False).scenarios
    assert load_text(SETUP, "f")
    assert load_text(COMMAND, "f")


@pytest.mark.parametrize("words", [["run"], ["list"], ["calibrate"], ["ab", "--a", "file", "--b", "congestion reno"]])
def test_every_command_that_reads_scenarios_has_no_commands(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(SETUP, encoding="utf-8")
    assert main([words[0], str(path), "--no-commands", *words[1:]]) == 2
    assert f"{path}:3:12: hosts.client.setup: {REFUSED}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "changes",
    [
        {"hosts": {"client": {"setup": ["true"]}, "server": {}}},
        {"traffic": [{"command": {"host": "client", "run": "a"}}]},
    ],
)
def test_a_scenario_that_no_file_holds_is_refused_as_well(changes: dict[str, Any]) -> None:
    options = RunOptions(commands=False)
    assert options.applied_to(make_scenario())
    with pytest.raises(UsageError, match="runs commands as root on this machine, which --no-commands forbids"):
        options.applied_to(make_scenario(**changes))


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make a repository with a baseline on its first commit (tag `base`); the working directory is in it."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "repo").mkdir()
    monkeypatch.chdir(tmp_path / "repo")

    def git(*words: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(("git", *identity, *words), check=True, capture_output=True)

    git("init", "-q")
    BaselineStore(Path("baselines")).save(session(1, metrics={"tcp.rtt_us.p50": (20e3, 21e3)}))
    git("add", "-A")
    git("commit", "-qm", "base")
    git("tag", "base")
    return git


def only(folder: Path) -> Path:
    [path] = folder.rglob("*.yaml")
    return path


@pytest.mark.usefixtures("repository")
def test_baselines_are_those_of_the_commit_whatever_the_working_tree_has() -> None:
    here = only(Path("baselines"))
    before = here.read_bytes()
    BaselineStore(Path("baselines")).save(session(2, metrics={"tcp.rtt_us.p50": (90e3, 91e3)}))
    found = baselines_at("base", Path("baselines"))
    assert only(found).read_bytes() == before
    assert only(found).relative_to(found) == here.relative_to("baselines")


@pytest.mark.usefixtures("repository")
def test_the_runner_compares_with_the_commit_and_cleans_up() -> None:
    scenario = make_scenario()
    here = only(Path("baselines"))
    here.unlink()
    plain = Runner.create(RunOptions(baseline=True))
    assert len(plain.planned_comparisons(scenario)) > 1
    runner = Runner.create(RunOptions(baseline=True, baseline_ref="base"))
    assert runner.planned_comparisons(scenario) == ("tcp.rtt_us.p50",)
    folder = runner._at_ref
    assert folder is not None
    assert folder.is_dir()
    with pytest.raises(UsageError, match="save without --baseline-ref"):
        runner.save_baseline(session(3))
    runner.close()
    assert not folder.exists()
    runner.close()


@pytest.mark.usefixtures("repository")
def test_baselines_of_a_commit_are_gone_with_a_runner_that_nobody_closed() -> None:
    runner = Runner.create(RunOptions(baseline=True, baseline_ref="base"))
    runner._store()
    folder = runner._at_ref
    assert folder is not None
    assert folder.is_dir()
    del runner
    assert not folder.exists()


def test_a_change_under_test_cannot_lead_elsewhere_by_a_link(repository: Callable[..., None], tmp_path: Path) -> None:
    """The change makes baselines/ a link to a folder of its own, and one file of the commit a link."""
    other = tmp_path / "other"
    Path("baselines").rename(other)
    Path("baselines").symlink_to(other)
    assert only(baselines_at("base", Path("baselines"))).is_file()
    Path("baselines").unlink()
    (Path("baselines") / "example").mkdir(parents=True)
    (Path("baselines") / "example/base@1-2.yaml").symlink_to("/etc/passwd")
    repository("add", "-A")
    repository("commit", "-qm", "links")
    with pytest.raises(UsageError, match="commit 'HEAD' has no baselines in baselines"):
        baselines_at("HEAD", Path("baselines"))


@pytest.mark.parametrize("ref", ["-x", "--output=x", "", "a b", "a..b", "a:b", "x" * 300, "a\0b", "a\nb", "$(id)"])
def test_a_name_that_git_might_misread_is_refused(ref: str) -> None:
    with pytest.raises(UsageError, match="expected the name of a branch, tag or commit"):
        checked_ref(ref)


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("ref", "folder", "expected"),
    [
        ("nosuch", "baselines", "has no commit 'nosuch'; fetch it first"),
        ("base", "nosuch", "commit 'base' has no baselines in nosuch"),
        ("base", "/proc", "is not in the repository"),
    ],
)
def test_what_is_missing_is_told(ref: str, folder: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        baselines_at(ref, Path(folder))


def test_outside_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="is not in a git repository"):
        baselines_at("main", Path("baselines"))


def test_the_repository_of_another_user_is_told_in_gits_words(
    repository: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(UsageError, match=r"dubious ownership.*safe\.directory"):
        baselines_at("base", Path("baselines"))


def test_a_bad_name_ends_the_command_before_anything_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", "scenarios", "--baseline-ref=-x"])
    assert "expected the name of a branch, tag or commit" in capsys.readouterr().err
