"""A small git tree for tests of bisects: each commit has a file `source`, and a build copies it to `built`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from perfcheck.errors import UsageError
from perfcheck.kernels.store import Kernel
from perfcheck.model.verdict import Verdict
from perfcheck.runner.bisecting.bisection import Pair
from perfcheck.runner.guests import GuestSide

BUILD: Final = "cp source built"
SIX: Final = ("good", "good", "good", "bad", "bad", "bad")
"""What is in the six commits of a tree whose fourth one brings a regression."""


def git(folder: Path, *words: str) -> str:
    """Run git with an author of its own."""
    named = {f"GIT_{who}_{what}": "test@example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    argv = ["git", "-C", str(folder), *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True, env={**os.environ, **named}).stdout


def tree_of(folder: Path, contents: Sequence[str | None]) -> list[str]:
    """Make a tree with a commit for each content (None: there is no source, and it does not build)."""
    folder.mkdir()
    git(folder, "init", "-q")
    for number, content in enumerate(contents):
        source = folder / "source"
        source.unlink(missing_ok=True)
        if content is not None:
            source.write_text(content)
        (folder / "number").write_text(f"{number}\n")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", f"change {number}")
    return git(folder, "rev-list", "--reverse", "HEAD").split()


@dataclass(frozen=True)
class FakeStore:
    """Stands in for the store of kernels: what was built is kept as it is."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Self:
        return cls(folder)

    def add(self, path: Path, name: str) -> Kernel:
        if not path.is_file():
            raise UsageError(f"{path}: not a kernel")
        place = self.folder / name
        place.mkdir(parents=True)
        shutil.copy(path, place / "vmlinuz")
        return Kernel(name=name, release="6.12.0", folder=place)

    def remove(self, names: Sequence[str]) -> None:
        for name in names:
            shutil.rmtree(self.folder / name)


@dataclass(frozen=True)
class ReadingCompare:
    """Compares by what the other kernel's image says, and notes it in a file."""

    log: Path

    def __call__(self, good: GuestSide, other: GuestSide) -> Pair:
        from bisect_kernels import pair_of

        content = other.guest.kernel.image.read_text()
        with self.log.open("a") as log:
            log.write(f"{content}\n")
        return pair_of({"good": Verdict.PASS, "bad": Verdict.REGRESSED}.get(content, Verdict.INCONCLUSIVE))
