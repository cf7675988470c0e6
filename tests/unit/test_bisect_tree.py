"""Kernels of a git tree: copies, builds, what a failed build says, and that nothing is left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bisect_kernels import METRIC, KeptSteps, ListWatcher
from bisect_trees import BUILD, SIX, FakeStore, ReadingCompare, git, tree_of

from perfcheck.errors import BuildFailed, UsageError
from perfcheck.runner.bisecting import tree as tree_module
from perfcheck.runner.bisecting.bisection import Bisection
from perfcheck.runner.bisecting.building import Build, build
from perfcheck.runner.bisecting.commits import commit_of, described, repository_of, require_ancestor
from perfcheck.runner.bisecting.tree import KernelTree, WorkFolder, config_of
from perfcheck.system import Journal, clean, new_tag
from perfcheck.system.undo import TREE_PREFIX


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFCHECK_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(tree_module, "KernelStore", FakeStore)


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "trees"
    assert not list((tmp_path / "trees").glob("*"))


def kernels(folder: Path, commits: list[str], base: Path, command: str = BUILD) -> KernelTree:
    return KernelTree(
        repository=folder, good=commits[0], bad=commits[-1], build=Build.of([command], Path("built")), config=None,
        base=base,
    )  # fmt: skip


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("contents", "suspects"),
    [
        (SIX, [3]),
        (("good", "bad", "bad", "bad", "bad", "bad"), [1]),
        (("good", "good", "good", "good", "good", "bad"), [5]),
        (("good", "good", None, "bad", "bad", "bad"), [2, 3]),
        (("good", None, "good", "bad", None, "bad"), [3]),
        (("good", "unclear", "unclear", "unclear", "unclear", "bad"), [1, 2, 3, 4, 5]),
    ],
)
def test_the_first_bad_commit_is_found_in_a_copy_of_the_tree(
    tmp_path: Path, base: Path, contents: tuple[str | None, ...], suspects: list[int]
) -> None:
    folder = tmp_path / "linux"
    commits = tree_of(folder, contents)
    (folder / "source").write_text("work of the user's\n")
    before = snapshot(folder)
    with kernels(folder, commits, base) as tree:
        bisection = Bisection(
            kernels=tree, metric=METRIC, compare=ReadingCompare(tmp_path / "log"), kept=KeptSteps(),
            watcher=ListWatcher(),
        )  # fmt: skip
        outcome = bisection.run()
        assert len(list(base.glob("*"))) == 1
        assert not list(base.glob("*/kernels/*"))
    assert [commits.index(commit) for commit in outcome.suspects] == suspects
    assert snapshot(folder) == before
    assert not list((tmp_path / "run").iterdir())


def test_what_a_build_says_last_is_why_a_commit_is_skipped(tmp_path: Path, base: Path) -> None:
    folder = tmp_path / "linux"
    commits = tree_of(folder, ("good", None, "bad"))
    with kernels(folder, commits, base) as tree:
        with pytest.raises(
            BuildFailed, match=r"`cp source built` failed with status 1: cp: cannot stat 'source': No such file"
        ):
            tree.built(commits[1]).__enter__()
        tree.build = Build.of(["true"], Path("missing"))
        with pytest.raises(BuildFailed, match="the build has made no kernel"):
            tree.built(commits[0]).__enter__()


def test_a_build_begins_with_the_configuration_that_was_asked_for(tmp_path: Path, base: Path) -> None:
    folder = tmp_path / "linux"
    commits = tree_of(folder, ("good", "good", "bad"))
    config = tmp_path / "config"
    config.write_text("CONFIG_NET=y\n")
    with kernels(folder, commits, base, "mv .config built") as tree:
        tree.config = config
        for commit in commits:
            with tree.built(commit) as side:
                assert side.guest.kernel.image.read_text() == "CONFIG_NET=y\n"


def test_the_tree_has_a_configuration_where_one_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="make defconfig"):
        config_of(tmp_path, None, needed=True)
    assert config_of(tmp_path, None, needed=False) is None
    (tmp_path / ".config").write_text("")
    assert config_of(tmp_path, None, needed=True) == tmp_path / ".config"
    with pytest.raises(UsageError, match="none: there is no such configuration"):
        config_of(tmp_path, tmp_path / "none", needed=False)


def test_commits_are_read_as_git_names_them_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "linux"
    commits = tree_of(folder, SIX)
    git(folder, "tag", "v1", commits[2])
    (folder / "net").mkdir()
    assert repository_of(folder / "net") == folder
    assert commit_of(folder, "--good", "v1") == commits[2]
    assert commit_of(folder, "--good", "HEAD~1") == commits[4]
    assert described(folder, commits[1]) == f"{commits[1][:12]} (change 1)"
    for name in ("v2", "--all", "v1..HEAD", "", "a b", "HEAD\n"):
        with pytest.raises(UsageError, match="--good: "):
            commit_of(folder, "--good", name)
    with pytest.raises(UsageError, match="expected the folder of a kernel's git repository"):
        repository_of(tmp_path / "none")


def test_the_good_commit_is_in_the_bad_one(tmp_path: Path) -> None:
    commits = tree_of(tmp_path / "linux", SIX)
    require_ancestor(tmp_path / "linux", commits[0], commits[5])
    for good, bad in ((5, 0), (3, 3)):
        with pytest.raises(UsageError, match="must be an ancestor"):
            require_ancestor(tmp_path / "linux", commits[good], commits[bad])


def test_builds_are_commands_without_a_shell() -> None:
    own = Build.of([], None)
    assert own.configured
    assert str(own).startswith("make olddefconfig; make -j")
    assert Build.of(["make 'a b' > x"], None).commands == (("make", "a b", ">", "x"),)
    for text in ("", "'"):
        with pytest.raises(UsageError, match="--build"):
            Build.of([text], None)
    for result in ("/boot/vmlinuz", "../out"):
        with pytest.raises(UsageError, match="--built"):
            Build.of([], Path(result))


def test_what_a_build_leaves_running_ends_with_the_bisect(tmp_path: Path, base: Path) -> None:
    with WorkFolder.made(base) as work:
        build(Build.of(["setsid --fork sleep 1000"], None), work.path, work.log, work.journal)
        tag = work.journal.tag
        assert len(_tagged(tag)) == 1
    assert not _tagged(tag)


def _tagged(tag: str) -> list[str]:
    from perfcheck.system.processes import tagged

    return [str(found.pid) for found in tagged(tag)]


KILLED = """
import sys, time
from pathlib import Path
from perfcheck.runner.bisecting.tree import WorkFolder
with WorkFolder.made(Path(sys.argv[1])) as work:
    (work.path / "tree").mkdir()
    (work.path / "tree" / "file").write_text("x")
    print(work.path, flush=True)
    time.sleep(1000)
"""


@pytest.mark.parametrize("by", ["clean", "the next bisect"])
def test_the_folder_of_a_killed_bisect_is_removed(tmp_path: Path, base: Path, by: str) -> None:
    argv = [sys.executable, "-c", KILLED, str(base)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert folder.name.startswith(TREE_PREFIX)
        clean()
        assert (folder / "tree/file").exists()
        process.kill()
    if by == "clean":
        assert [(one.kind, one.outcome) for one in clean().undone] == [("folder", "undone")]
    else:
        # As after a power cut, when the journal is gone.
        for journal in (tmp_path / "run").glob("*.journal"):
            journal.unlink()
        with WorkFolder.made(base):
            assert not folder.exists()
    assert not folder.exists()


def test_no_other_folder_is_ever_removed(tmp_path: Path) -> None:
    other = tmp_path / "precious"
    other.mkdir()
    with Journal.create(new_tag()) as journal:
        for name in (str(other), f"relative/{TREE_PREFIX}{journal.tag}", f"{other}/../{TREE_PREFIX}{journal.tag}"):
            with pytest.raises(ValueError, match="expected the path of a folder"):
                journal.note("folder", name)
        taken = tmp_path / f"{TREE_PREFIX}{journal.tag}"
        journal.note("folder", str(taken))
        taken.mkdir()
        (taken / "file").write_text("of somebody else")
        journal.note("folder", str(taken), inode="1")
    assert (taken / "file").exists()
