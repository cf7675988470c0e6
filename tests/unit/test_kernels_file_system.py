"""A file system image has the files as they are, and byte code beside Python's sources."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import shutil
import subprocess
from pathlib import Path

import pytest

from perfcheck.errors import LabError, Unavailable
from perfcheck.kernels.file_system import ALIGNED_BYTES, byte_code, make_image
from perfcheck.system import commands

pytestmark = pytest.mark.skipif(
    shutil.which("mke2fs") is None and not Path("/sbin/mke2fs").exists(), reason="e2fsprogs is not installed"
)


def asked(image: Path, order: str) -> str:
    return subprocess.run(
        [commands.find("debugfs"), "-R", order, str(image)], capture_output=True, text=True, check=True
    ).stdout


def test_files_links_folders_and_byte_code(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("VALUE = 1\n")
    source.chmod(0o640)
    (tmp_path / "link").symlink_to("module.py")
    image = tmp_path / "images" / "one.ext4"
    make_image(image, {"usr/lib/module.py": source, "usr/lib/link": tmp_path / "link"}, ("proc", "var/tmp"))
    assert image.stat().st_size % ALIGNED_BYTES == 0
    assert asked(image, "cat /usr/lib/module.py") == "VALUE = 1\n"
    assert "Mode:  0640" in asked(image, "stat /usr/lib/module.py")
    assert 'Fast link dest: "module.py"' in asked(image, "stat /usr/lib/link")
    assert 'Fast link dest: "usr/lib"' in asked(image, "stat /lib")
    assert "Type: directory" in asked(image, "stat /var/tmp")
    compiled = importlib.util.cache_from_source("/usr/lib/module.py")
    assert "Type: regular" in asked(image, f"stat {compiled}")
    assert [path.name for path in image.parent.iterdir()] == ["one.ext4"]


def test_the_same_files_make_the_same_image(tmp_path: Path) -> None:
    source = tmp_path / "data"
    source.write_bytes(os.urandom(100_000))
    for name in ("a", "b"):
        make_image(tmp_path / name, {"data": source})
    differ = [one != other for one, other in zip(*((tmp_path / name).read_bytes() for name in "ab"), strict=True)]
    # The time at which the file was changed in the image.
    assert sum(differ) < 64


def test_an_image_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "image").write_text("kept")
    make_image(tmp_path / "image", {})
    assert (tmp_path / "image").read_text() == "kept"


def test_what_a_killed_maker_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".unfinished-x"
    left.mkdir()
    (left / "tree").write_text("")
    make_image(tmp_path / "image", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image"]


def test_without_mke2fs_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(tool: str) -> str:
        raise commands.missing(tool)

    monkeypatch.setattr(commands, "find", find)
    with pytest.raises(Unavailable, match="apt-get install e2fsprogs"):
        make_image(tmp_path / "image", {})


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="file/image: cannot make this guest image: File exists"):
        make_image(tmp_path / "file" / "image", {})


def test_byte_code_is_taken_where_it_is_up_to_date(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("VALUE = 1\n")
    kept = Path(py_compile.compile(str(source), dfile="<marked>") or "")
    assert b"<marked>" in (byte_code(source, "/usr/lib/module.py") or b"")
    kept.write_bytes(b"stale" + kept.read_bytes()[5:])
    made = byte_code(source, "/usr/lib/module.py") or b""
    assert b"/usr/lib/module.py" in made
    assert b"<marked>" not in made


def test_what_is_no_python_has_no_byte_code(tmp_path: Path) -> None:
    source = tmp_path / "template.py"
    source.write_text("def {name}():\n")
    assert byte_code(source, "/template.py") is None
