"""Temporary files of the kernel lab: gone at the end, after an error and after a kill; full disks are told clearly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from perfcheck.errors import LabError, Unavailable
from perfcheck.kernels import folders, image
from perfcheck.kernels.scratch import scratch_folder
from perfcheck.kernels.store import IMAGES, Kernel, KernelStore
from perfcheck.system import clean
from perfcheck.system.files import UNFINISHED

KILLED = """
import os, signal
from perfcheck.kernels.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "module.ko").write_text("x")
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setenv("PERFCHECK_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return place


def test_it_is_gone_at_the_end_with_what_is_in_it(temporary: Path) -> None:
    with scratch_folder() as folder:
        (folder / "below").mkdir()
        (folder / "below" / "file").write_text("x")
        assert folder.parent == temporary
    assert not list(temporary.iterdir())


def test_a_full_disk_is_told_with_what_helps(temporary: Path) -> None:
    with pytest.raises(LabError) as caught, scratch_folder() as folder:
        raise OSError(28, "No space left on device", str(folder / "module.ko"))
    assert "module.ko: cannot make a guest's files: No space left on device; free space in " in str(caught.value)
    assert "set TMPDIR" in str(caught.value)
    assert not list(temporary.iterdir())


def test_a_missing_temporary_folder_is_told(temporary: Path) -> None:
    temporary.rmdir()
    # As tempfile has it where TMPDIR went away after it was looked at.
    tempfile.tempdir = str(temporary)
    told = "cannot make a folder for a guest: No such file or directory; set TMPDIR"
    with pytest.raises(LabError, match=told), scratch_folder():
        pytest.fail("there is no folder")


def test_what_a_kill_leaves_is_removed_by_the_next_start(temporary: Path, tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    folder = Path(killed.stdout.decode().strip())
    assert folder.parent == temporary
    assert (folder / "module.ko").exists()
    clean(tmp_path / "run")
    assert not list(temporary.iterdir())


def test_images_that_a_killed_process_left_unfinished_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = KernelStore.create(tmp_path / "store")
    places = (store.folder / "a" / "cache" / IMAGES, folders.environments_folder())
    for place in places:
        (place / f"{UNFINISHED}abc" / "tree").mkdir(parents=True)
        (place / "whole").write_text("x")
    with folders.unfinished_work(places[0]) as alive:
        assert store.clean() == tuple(place / f"{UNFINISHED}abc" for place in places)
        assert alive.is_dir()
    assert [[path.name for path in place.iterdir()] for place in places] == [["whole"], ["whole"]]


def test_a_store_that_cannot_be_written_is_told_before_a_guest_is_booted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "_key", lambda *_: "key")
    monkeypatch.setattr("perfcheck.system.commands.find", lambda name: f"/usr/bin/{name}")
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(Unavailable, match=r"cannot be written: Not a directory .*set PERFCHECK_KERNELS"):
        image.small_image(Kernel(name="k", release="6.1", folder=tmp_path))
