"""The store of kernels: each is there whole or not at all, whoever is killed in between and whatever lies there."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_files import RELEASE, image, kernel_members, modules_folder, package

from perfcheck.cli import main
from perfcheck.errors import Unavailable, UsageError
from perfcheck.kernels import building, description, folders
from perfcheck.kernels.description import Description
from perfcheck.kernels.names import check_name, default_name
from perfcheck.kernels.parts import Parts
from perfcheck.kernels.store import Kernel, KernelStore
from perfcheck.system.files import UNFINISHED

NAME = "6.12.7-cloud"


@pytest.fixture
def deb(tmp_path: Path) -> Path:
    return package(tmp_path / "k.deb", kernel_members())


@pytest.fixture
def store(tmp_path: Path) -> KernelStore:
    return KernelStore.create(tmp_path / "store")


def left(store: KernelStore) -> list[str]:
    """Return the names of all that lies in the store."""
    return sorted(path.name for path in store.folder.iterdir())


def test_a_kernel_is_found_by_its_name(store: KernelStore, deb: Path) -> None:
    assert store.kernels() == ()
    kernel = store.add(deb)
    assert store.kernels() == (kernel,)
    assert store.get(NAME) == kernel
    assert kernel.added_at is not None
    assert (datetime.now(UTC) - kernel.added_at).total_seconds() < 60
    assert store.add(deb, "other").name == "other"
    assert [each.name for each in store.kernels()] == [NAME, "other"]


def test_kernels_are_in_the_order_of_their_versions(store: KernelStore, deb: Path) -> None:
    names = ["6.1", "6.9-rc1", "6.12", "6.12.7-cloud", "6.12.100-cloud", "mine"]
    for name in reversed(names):
        store.add(deb, name)
    assert [each.name for each in store.kernels()] == names


def test_an_unknown_kernel_names_those_that_are_there(store: KernelStore, deb: Path) -> None:
    with pytest.raises(UsageError, match="it is empty: `perfcheck kernel fetch"):
        store.get("other")
    store.add(deb)
    with pytest.raises(UsageError, match=f"no kernel is called 'other' in .*; there are: {NAME}"):
        store.get("other")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/etc", "a/b", ".hidden", UNFINISHED + "x", "-x", "a b", "a\n",
                                  "a" * 65, "ä", "a\0b"])  # fmt: skip
def test_a_name_is_never_a_path(store: KernelStore, deb: Path, name: str) -> None:
    for use in (store.get, lambda name: store.remove([name]), lambda name: store.add(deb, name)):
        with pytest.raises(UsageError, match="expected a kernel's name of at most 64 letters"):
            use(name)
    assert not store.folder.exists()


@given(st.text(max_size=80))
def test_a_name_is_refused_or_safe(name: str) -> None:
    with contextlib.suppress(UsageError):
        assert Path("/store") / check_name(name) == Path(f"/store/{name}")
        assert not name.startswith((".", "-"))


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("6.12.117+deb12-cloud-amd64", "6.12.117-cloud"),
        ("6.12.115+deb13.1-amd64", "6.12.115-generic"),
        ("6.1.0-57-rt-amd64", "6.1.0-57-rt"),
        ("6.1.0-57-amd64", "6.1.0-57-generic"),
        ("6.8.0-48-generic", "6.8.0-48-generic"),
        ("6.18.0-rc3+", "6.18.0-rc3+"),
    ],
)
def test_the_name_is_made_of_the_release(release: str, name: str) -> None:
    assert default_name(release) == name


def test_a_taken_name_is_refused_and_the_first_kernel_stays(store: KernelStore, deb: Path, tmp_path: Path) -> None:
    kernel = store.add(deb)
    for name in (None, NAME):
        with pytest.raises(
            UsageError, match=rf"the name {NAME} is taken by {re.escape(RELEASE)}; give another with --name"
        ):
            store.add(package(tmp_path / "2.deb", kernel_members(), version="9"), name)
    assert store.get(NAME) == kernel
    assert left(store) == [NAME]


def test_of_two_that_add_the_same_kernel_at_once_one_is_told(store: KernelStore, deb: Path) -> None:
    both = threading.Barrier(2)
    outcomes: list[object] = []
    build = building.build

    def slow(parts: Parts, work: Path, *, name: str | None, added_at: datetime) -> Path:
        finished = build(parts, work, name=name, added_at=added_at)
        both.wait(30)
        return finished

    def add() -> None:
        try:
            outcomes.append(store.add(deb, NAME))
        except UsageError as error:
            outcomes.append(str(error))

    with patch("perfcheck.kernels.store.build", slow):
        threads = [threading.Thread(target=add) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [type(each) for each in sorted(outcomes, key=str)] == [Kernel, str]
    assert any(isinstance(each, str) and f"the name {NAME} is taken" in each for each in outcomes)
    assert left(store) == [NAME]


def test_a_kernel_is_removed_with_all_that_was_made_of_it(store: KernelStore, deb: Path) -> None:
    kernel = store.add(deb)
    assert kernel.cache_bytes() == 0
    size = kernel.size_bytes()
    kernel.cache.mkdir()
    (kernel.cache / "initrd").write_bytes(bytes(5000))
    assert (kernel.size_bytes(), kernel.cache_bytes()) == (size, 5000)
    assert store.remove([NAME, NAME]) == (NAME,)
    assert left(store) == []


def test_all_are_removed_or_none(store: KernelStore, deb: Path) -> None:
    kernel = store.add(deb)
    with pytest.raises(UsageError, match="no kernel is called 'other'"):
        store.remove([NAME, "other"])
    store.add(deb, "other")
    with kernel.in_use(), pytest.raises(UsageError, match=f"the kernel {NAME} is in use by a running guest"):
        store.remove(["other", NAME])
    assert left(store) == [NAME, "other"]
    store.remove(["other", NAME])
    assert left(store) == []


def test_a_kernel_in_use_is_told_and_one_that_is_gone_too(store: KernelStore, deb: Path) -> None:
    kernel = store.add(deb)
    assert not kernel.is_in_use()
    with kernel.in_use(), kernel.in_use():
        assert kernel.is_in_use()
    assert not kernel.is_in_use()
    store.remove([NAME])
    with pytest.raises(UsageError, match=f"the kernel {NAME} was removed"), kernel.in_use():
        pass


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("kernel.json", None, "No such file"),
        ("kernel.json", "", "damaged: Invalid JSON"),
        ("kernel.json", "[]", "damaged: Input should be an object"),
        ("kernel.json", "[" * 100_000, "cannot be read: larger than 65536 bytes"),
        ("kernel.json", "{" * 10_000, "damaged: "),
        ("kernel.json", '{"schema": 1, "name": "a", "name": "b"}', "damaged: duplicate key 'name'"),
        ("vmlinuz", None, "damaged: vmlinuz is missing"),
        ("modules/modules.dep", None, "damaged: modules/modules.dep is missing"),
    ],
)
def test_a_damaged_kernel_is_told_beside_the_whole_ones(
    store: KernelStore, deb: Path, file: str, content: str | None, reason: str
) -> None:
    kernel, other = store.add(deb), store.add(deb, "other")
    if content is None:
        (kernel.folder / file).unlink()
    else:
        (kernel.folder / file).write_text(content)
    assert store.kernels() == (other,)
    (problem,) = store.damaged()
    assert reason in problem
    with pytest.raises(UsageError, match=f"Remove it with `perfcheck kernel remove {NAME}`"):
        store.get(NAME)
    store.remove([NAME])
    assert left(store) == ["other"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("schema", 2), ("name", "../x"), ("name", "other"), ("release", "../../x"), ("image_sha256", "x"),
     ("added_at", "x"), ("more", 1)],
)  # fmt: skip
def test_a_description_with_a_wrong_value_is_refused(store: KernelStore, deb: Path, key: str, value: object) -> None:
    kernel = store.add(deb)
    path = kernel.folder / description.FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(UsageError, match="damaged"):
        store.get(NAME)


def test_a_description_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = Description(
        name="a", release="6.1", flavour="own", origin="image /é", package_version=None, image_sha256="0" * 64,
        added_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )  # fmt: skip
    written.write(tmp_path)
    assert Description.read(tmp_path) == written


KILLED = """
import os, signal, sys
from pathlib import Path
from perfcheck.kernels import building
from perfcheck.kernels.store import KernelStore

def killed(*words, **more):
    os.kill(os.getpid(), signal.SIGKILL)

building._index = killed
KernelStore.create(Path(sys.argv[1])).add(Path(sys.argv[2]))
"""


def test_what_a_killed_process_leaves_goes_with_the_next_one(store: KernelStore, deb: Path) -> None:
    for _ in range(2):
        argv = [sys.executable, "-c", KILLED, str(store.folder), str(deb)]
        assert subprocess.run(argv, check=False).returncode == -signal.SIGKILL
        (name,) = left(store)
        assert name.startswith(UNFINISHED)
        assert store.kernels() == ()
    assert store.clean() == (store.folder / name,)
    assert left(store) == []
    subprocess.run(argv, check=False)
    store.add(deb)
    assert left(store) == [NAME]


def test_work_of_a_living_process_is_left_alone(store: KernelStore, deb: Path) -> None:
    store.folder.mkdir()
    with folders.unfinished_work(store.folder) as work:
        assert store.clean() == ()
        store.add(deb)
        assert work.is_dir()
        with contextlib.ExitStack() as others:
            names = {others.enter_context(folders.unfinished_work(store.folder)).name for _ in range(3)}
            assert len(names) == 3
    assert left(store) == [NAME]


def test_work_that_is_taken_for_a_dead_ones_is_begun_again(tmp_path: Path) -> None:
    made: list[Path] = []

    def stolen(prefix: str, dir: Path) -> str:  # noqa: A002 - the name of tempfile's
        path = dir / f"{prefix}{len(made)}"
        path.mkdir()
        made.append(path)
        if len(made) < 3:
            folders.remove_unfinished(dir)
        return str(path)

    with patch("tempfile.mkdtemp", stolen), folders.unfinished_work(tmp_path) as work:
        assert work == made[2]
        assert list(tmp_path.iterdir()) == [work]


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Let each write into a file of the store fail."""
    real = os.open

    def refuse(path: str | Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path, flags, mode, dir_fd=dir_fd)

    with patch("os.open", refuse):
        yield


def test_a_full_disk_and_a_forbidden_store_are_told_and_nothing_is_left(store: KernelStore, deb: Path) -> None:
    with full_disk(), pytest.raises(Unavailable, match=r"cannot be written: No space left .*PERFCHECK_KERNELS"):
        store.add(deb)
    assert left(store) == []
    for blocked in (deb, deb / "below"):
        with pytest.raises(Unavailable, match=f"the kernel store {blocked} is not available: it cannot be written"):
            KernelStore.create(blocked).add(deb)


def test_the_store_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PERFCHECK_KERNELS", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert KernelStore.create().folder == tmp_path / ".local/share/perfcheck/kernels"
    assert folders.cache_folder() == tmp_path / ".cache/perfcheck"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert KernelStore.create().folder == tmp_path / ".local/share/perfcheck/kernels"
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert KernelStore.create().folder == Path("/data/perfcheck/kernels")
    assert folders.cache_folder() == Path("/cache/perfcheck")
    monkeypatch.setenv("PERFCHECK_KERNELS", "/own")
    assert KernelStore.create().folder == Path("/own")


@pytest.fixture
def own_store(monkeypatch: pytest.MonkeyPatch, store: KernelStore) -> KernelStore:
    monkeypatch.setenv("PERFCHECK_KERNELS", str(store.folder))
    return store


def test_the_commands_add_list_and_remove(
    own_store: KernelStore, deb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["kernel", "list"]) == 0
    assert f"no kernel in {own_store.folder}" in capsys.readouterr().out
    assert main(["kernel", "add", str(deb)]) == 0
    assert capsys.readouterr().out.startswith(f"{NAME}: Linux {RELEASE}, 2 modules, ")
    (tmp_path / "bzImage").write_bytes(image("6.13.0"))
    modules = modules_folder(tmp_path / "m", "6.13.0")
    assert main(["kernel", "add", str(tmp_path / "bzImage"), "--modules", str(modules), "--name", "mine"]) == 0
    capsys.readouterr()
    (own_store.folder / "damaged").mkdir()
    assert main(["kernel", "list"]) == 0
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["name", "release", "flavour", "BTF", "modules", "size", "caches", "in", "use", "origin"]
    assert rows[1][:5] == [NAME, RELEASE, "cloud", "yes", "2"]
    assert rows[2][:5] == ["mine", "6.13.0", "own", "yes", "2"]
    assert f"{own_store.folder}/damaged/kernel.json: cannot be read" in err
    with own_store.get("mine").in_use():
        assert main(["kernel", "list", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert [(each["name"], each["in_use"], each["btf"]) for each in found] == [
            (NAME, False, True),
            ("mine", True, True),
        ]
        assert main(["kernel", "remove", "mine", NAME]) == 2
    assert main(["kernel", "remove", "mine", NAME, "damaged"]) == 0
    assert left(own_store) == []


def test_clean_removes_what_killed_processes_left(
    own_store: KernelStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PERFCHECK_RUN_DIR", str(tmp_path / "run"))
    assert main(["clean"]) == 0
    assert capsys.readouterr().out == "nothing to undo\n"
    (own_store.folder / f"{UNFINISHED}abc/parts").mkdir(parents=True)
    assert main(["clean"]) == 0
    removed = own_store.folder / f"{UNFINISHED}abc"
    assert capsys.readouterr().out == f"kernel lab: the unfinished folder {removed} was removed\n"
    assert left(own_store) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["kernel", "add", "/etc/passwd"], "perfcheck: /etc/passwd: not a bootable x86-64 kernel image (bzImage)"),
        (["kernel", "add", "/dev/zero"], "/dev/zero: cannot be read: not a regular file"),
        (["kernel", "add", "x", "--name", "../x"], "argument --name: expected a kernel's name"),
        (["kernel", "add", ""], "argument PATH: expected the name of a file or folder, got ''"),
        (["kernel", "remove", "x"], "no kernel is called 'x'"),
        (["kernel", "remove", "\x1b[31m"], r"argument NAME: expected a kernel's name"),
        (["kernel", "fetch"], "name a release such as 6.12, or give --list"),
        (["kernel", "fetch", "6.1", "--flavour", "arm"], "argument --flavour: invalid choice: 'arm'"),
        (["kernel"], "the following arguments are required: ACTION"),
    ],
)
def test_wrong_words_are_one_clear_line_and_status_2(
    own_store: KernelStore, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    try:
        status = main(words)
    except SystemExit as ended:
        status = int(str(ended.code))
    assert status == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
    assert "\x1b" not in err


@pytest.mark.parametrize("action", ["fetch", "add", "list", "remove"])
def test_each_action_describes_itself_with_two_examples(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["kernel", action, "--help"])
    text = capsys.readouterr().out
    assert text.count(f"\n  perfcheck kernel {action} ") + text.count(f"\n  perfcheck kernel {action}\n") >= 2
    assert "$PERFCHECK_KERNELS" in text
