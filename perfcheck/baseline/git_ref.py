"""Baselines of a git commit, so that a change under test cannot change what it is compared with.

Only objects of git's store are read (rev-parse, ls-tree, cat-file). No hook, filter or setting of the working tree
is run, and the working tree itself is not read.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from perfcheck.baseline.document import BOUNDS
from perfcheck.errors import CouldNotMeasure, UsageError
from perfcheck.system import commands

MAX_FILES: Final = 10_000
MAX_BYTES: Final = 100_000_000
"""Of all baselines of a commit together."""

_TIMEOUT_S: Final = 60.0
_NAME: Final = re.compile(r"[A-Za-z0-9_@][A-Za-z0-9_@./+^~{}-]{0,254}")
_ENVIRONMENT: Final[Mapping[str, str]] = {
    "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_REPLACE_OBJECTS": "1", "GIT_NO_LAZY_FETCH": "1",
    "GIT_LITERAL_PATHSPECS": "1", "LC_ALL": "C",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blob:
    """One file of a commit."""

    name: str
    path: PurePosixPath
    size: int


def checked_ref(text: str) -> str:
    """Return the name of a commit, branch or tag; UsageError where git might take it for something else."""
    if not _NAME.fullmatch(text) or ".." in text:
        raise UsageError(f"expected the name of a branch, tag or commit such as origin/main, got {text[:80]!r}")
    return text


def baselines_at(ref: str, folder: Path) -> Path:
    """Write the baselines that `folder` has in commit `ref` to a new folder and return it; the caller removes it.

    The repository is that of the working directory, and `folder` a path in it that need not exist in the working
    tree. UsageError where there is no repository, commit, or folder of that name in it.
    """
    name = checked_ref(ref)
    root, inside = _in_repository(folder)
    missing = f"{root} has no commit {name!r}; fetch it first, for example with `git fetch origin BRANCH`"
    found = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", failing=missing)
    blobs = [blob for blob in _blobs(root, found.decode().strip(), inside) if blob.path.suffix == ".yaml"]
    if not blobs:
        raise UsageError(f"--baseline-ref: commit {name!r} has no baselines in {inside}")
    if len(blobs) > MAX_FILES or sum(blob.size for blob in blobs) > MAX_BYTES:
        limits = f"{MAX_FILES:,} files or {MAX_BYTES:,} bytes"
        raise UsageError(f"--baseline-ref: more than {limits} in {inside} of {name!r}")
    written = Path(tempfile.mkdtemp(prefix="perfcheck-baselines-"))
    try:
        for blob in blobs:
            _write(root, blob, written / blob.path.relative_to(inside))
    except BaseException:
        shutil.rmtree(written, ignore_errors=True)
        raise
    return written


def _in_repository(folder: Path) -> tuple[Path, PurePosixPath]:
    """Return the top of the working directory's repository, and the folder's path in it.

    Links are not followed: one that a change under test made must not lead to another repository.
    """
    here = Path.cwd()
    top = _git(here, "rev-parse", "--show-toplevel", failing=f"{here} is not in a git repository that can be read")
    root = Path(os.fsdecode(top).removesuffix("\n"))
    wanted = Path(os.path.abspath(folder))  # noqa: PTH100 - `resolve` would follow links
    if not wanted.is_relative_to(root):
        raise UsageError(f"--baseline-ref: the folder {folder} is not in the repository {root}")
    return root, PurePosixPath(wanted.relative_to(root))


def _blobs(root: Path, commit: str, inside: PurePosixPath) -> Iterator[_Blob]:
    """Yield the regular files below a folder; symbolic links and submodules are left out."""
    listed = _git(root, "ls-tree", "-r", "-z", "-l", "--full-tree", commit, "--", str(inside), failing="cannot list it")
    for line in filter(None, listed.split(b"\0")):
        facts, _, path = line.partition(b"\t")
        mode, kind, name, size = facts.split()
        found = PurePosixPath(os.fsdecode(path))
        # A tree that was made by hand may hold names that no checkout would write.
        if kind == b"blob" and mode in (b"100644", b"100755") and ".." not in found.parts:
            yield _Blob(name=name.decode(), path=found, size=int(size))


def _write(root: Path, blob: _Blob, target: Path) -> None:
    if blob.size > BOUNDS.characters:
        raise UsageError(f"--baseline-ref: {blob.path} is larger than {BOUNDS.characters:,} bytes")
    content = _git(root, "cat-file", "blob", blob.name, failing=f"cannot read {blob.path}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def _git(folder: Path, *words: str, failing: str) -> bytes:
    """Run git; UsageError with `failing` and git's own words, which tell how to trust another user's repository."""
    argv = ("git", "-C", str(folder), *words)
    process = commands.popen(argv, env={**os.environ, **_ENVIRONMENT})
    done = commands.finish(process, argv, timeout_s=_TIMEOUT_S, error=CouldNotMeasure)
    if done.returncode != 0:
        said = " ".join(done.stderr.decode(errors="replace").split())[:400]
        raise UsageError(f"--baseline-ref: {failing}{f': {said}' if said else ''}")
    return done.stdout
