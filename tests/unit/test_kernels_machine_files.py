"""What of this machine goes into a guest, and under which path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from perfcheck.errors import LabError
from perfcheck.kernels.environment import complete, environment_files
from perfcheck.kernels.machine_files import MachineFiles, below, inside_guest, packaged_with


def test_a_link_brings_what_it_leads_to_and_each_link_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("x")
    (tmp_path / "middle").symlink_to("real")
    (tmp_path / "first").symlink_to(tmp_path / "middle")
    files = MachineFiles()
    files.add(tmp_path / "first")
    base = inside_guest(tmp_path / "real").rpartition("/")[0]
    assert list(files.paths) == [f"{base}/first", f"{base}/middle", f"{base}/real"]


def test_what_is_missing_and_what_is_no_file_is_left_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    files = MachineFiles()
    for name in ("pipe", "gone", "dangling"):
        files.add(tmp_path / name)
    assert [path.name for path in files.paths.values()] == ["dangling"]


@pytest.mark.parametrize(
    ("here", "there"), [("/bin/x", "usr/bin/x"), ("/lib/y/z", "usr/lib/y/z"), ("/usr/sbin/q", "usr/sbin/q")]
)
def test_old_folders_are_links_into_usr_in_every_guest(here: str, there: str) -> None:
    assert inside_guest(Path(here)) == there


def test_a_path_through_a_link_has_its_real_place(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("x")
    (tmp_path / "way").symlink_to("real")
    assert inside_guest(tmp_path / "way" / "file") == inside_guest(tmp_path / "real" / "file")


def test_below_a_folder_only_what_everybody_may_read(tmp_path: Path) -> None:
    for name in ("open/a", "open/secret", "shut/b", "tests/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "open" / "secret").chmod(0o600)
    (tmp_path / "shut").chmod(0o700)
    (tmp_path / "empty").mkdir()
    found = [str(path.relative_to(tmp_path)) for path in below(tmp_path, {"tests"})]
    assert found == ["empty", "open/a"]


def test_the_digest_changes_with_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")

    def digest() -> str:
        files = MachineFiles()
        files.add_below(tmp_path)
        return files.digest("more")

    before = digest()
    assert digest() == before
    (tmp_path / "a").write_text("12")
    assert digest() != before


def test_a_script_brings_its_interpreter_and_programs_their_libraries(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/usr/bin/env sh\necho\n")
    script.chmod(0o755)
    files = MachineFiles()
    files.add_programs([script])
    files.add_libraries()
    names = {Path(name).name for name in files.paths}
    assert {"script", "env", "sh"} <= names
    assert any(name.startswith("libc.so") for name in names)
    assert any(name.startswith("ld-") for name in names)


def test_a_program_whose_library_is_missing_is_refused(tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    (tmp_path / "own.c").write_text("int own(void) { return 1; }\n")
    (tmp_path / "main.c").write_text("int own(void);\nint main(void) { return own(); }\n")
    for argv in (
        [compiler, "-shared", "-fPIC", "-o", tmp_path / "libown.so", tmp_path / "own.c"],
        [compiler, "-o", tmp_path / "main", tmp_path / "main.c", "-L", tmp_path, "-lown"],
    ):
        subprocess.run([str(word) for word in argv], check=True)
    files = MachineFiles()
    files.add_programs([tmp_path / "main"])
    files.add_libraries()
    with pytest.raises(LabError, match=r"main cannot go into a guest: its library libown\.so is not"):
        files.add_libraries(required=[tmp_path / "main"])


def test_a_package_brings_what_its_programs_read() -> None:
    found = packaged_with([Path(shutil.which("ip") or "/nowhere")])
    if not Path("/var/lib/dpkg/status").exists():
        assert found == ()
    else:
        assert any(path.name == "ip" for path in found)
        assert not any(str(path).startswith("/usr/share/man") for path in found)


def test_the_environment_has_python_its_packages_and_the_tools() -> None:
    files = environment_files()
    inside = files.paths
    assert inside_guest(Path(sys.executable)) in inside
    names = {path.name for path in inside.values()}
    assert {"ip", "nft", "sh", "decoder.py"} <= names
    assert any(name.endswith("/pydantic/main.py") for name in inside)
    assert not any("-packages/pip/" in name or "-packages/mypy/" in name for name in inside)
    assert "etc/shadow" not in inside
    before = len(inside)
    complete(files)
    libraries = {path.name for path in files.paths.values() if ".so" in path.name}
    assert {"libc.so.6", "libm.so.6"} <= libraries
    assert len(files.paths) > before
