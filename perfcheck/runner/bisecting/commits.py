"""The commits of a kernel tree, read by git: what lies between a good and a bad one, and in which order."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perfcheck.errors import CouldNotMeasure, UsageError
from perfcheck.system import commands

LISTING_S: Final = 300.0
COPYING_S: Final = 1800.0
_NAME: Final = re.compile(r"[A-Za-z0-9_@][A-Za-z0-9_@./+^~{}-]{0,254}")
SHOWN: Final = 12
"""Digits of a hash that people read."""
_OWN: Final[Mapping[str, str]] = {
    "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_LITERAL_PATHSPECS": "1", "LC_ALL": "C",
}  # fmt: skip
_NOTHING: Final[Mapping[str, str]] = {}
_OTHERS: Final = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
)  # fmt: skip
"""What git sets for hooks and aliases: another repository than the one that is named here."""


def git(
    folder: Path, *words: str, timeout_s: float = LISTING_S, tag: str | None = None
) -> str:  # fmt: skip
    """Run git in a folder and return what it printed; CouldNotMeasure with git's own words where it fails.

    `tag` is that of the journal whose undo ends it.
    """
    done = _run(folder, words, timeout_s, {} if tag is None else {commands.TAG_VARIABLE: tag})
    if done.returncode != 0:
        raise CouldNotMeasure(commands.failure(done))
    return done.stdout.decode(errors="replace")


def _run(
    folder: Path, words: Sequence[str], timeout_s: float = LISTING_S, extra: Mapping[str, str] = _NOTHING
) -> subprocess.CompletedProcess[bytes]:
    argv = ("git", "-C", str(folder), *words)
    kept = {name: value for name, value in os.environ.items() if name not in _OTHERS}
    return commands.finish(
        commands.popen(argv, env={**kept, **_OWN, **extra}), argv, timeout_s=timeout_s, error=CouldNotMeasure
    )


def repository_of(folder: Path) -> Path:
    """Return the top of a work tree; UsageError where the folder is in none that git reads."""
    done = _run(folder, ("rev-parse", "--show-toplevel")) if folder.is_dir() else None
    if done is None or done.returncode != 0:
        said = "" if done is None else f": {' '.join(done.stderr.decode(errors='replace').split())[:400]}"
        raise UsageError(f"--tree {folder}: expected the folder of a kernel's git repository{said}")
    return Path(os.fsdecode(done.stdout).removesuffix("\n"))


def commit_of(repository: Path, option: str, name: str) -> str:
    """Return the hash of a commit; UsageError where the repository has none of this name."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise UsageError(f"{option}: expected a commit, branch or tag such as v6.12, got {name[:80]!r}")
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    done = _run(repository, words)
    if done.returncode != 0:
        raise UsageError(f"{option}: {repository} has no commit {name!r}")
    return done.stdout.decode().strip()


@dataclass(frozen=True, slots=True)
class CommitOrder:
    """The order of a history with its merges: a commit comes after all that are in it."""

    repository: Path

    def between(self, goods: Collection[str], bad: str) -> Sequence[str]:
        """Return the commits that are in `bad` and in no good one; that first which halves them best."""
        listed = git(self.repository, "rev-list", "--bisect-all", bad, "--not", *goods)
        commits = (line.split(" ", 1)[0] for line in listed.splitlines())
        return [commit for commit in commits if commit != bad]

    def listed(self, goods: Collection[str], bad: str) -> Sequence[str]:
        """Return the same commits and `bad`, each after those that are in it."""
        return git(self.repository, "rev-list", "--topo-order", "--reverse", bad, "--not", *goods).split()


def require_ancestor(repository: Path, good: str, bad: str) -> None:
    """Raise UsageError unless the good commit is in the bad one."""
    done = _run(repository, ("merge-base", "--is-ancestor", good, bad))
    if done.returncode != 0 or good == bad:
        raise UsageError(
            f"--good {good[:SHOWN]} must be an ancestor of --bad {bad[:SHOWN]}: name a commit before the regression "
            "that is in the bad one's history"
        )


def described(repository: Path, commit: str) -> str:
    """Return a commit as people know it: its short hash and its subject."""
    subject = git(repository, "log", "-1", "--no-show-signature", "--format=%s", commit).strip()
    return f"{commit[:SHOWN]} ({subject[:100]})"
