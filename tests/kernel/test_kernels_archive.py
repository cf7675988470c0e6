"""The kernel store with the real apt, the real modprobe and a disk that is really full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kernel_files import RELEASE, Member, kernel_members, package
from lab_building import do_without

from perfcheck.cli import main
from perfcheck.ebpf.btf import Btf, Kind
from perfcheck.errors import Unavailable
from perfcheck.kernels.modules import ModuleSet
from perfcheck.kernels.store import Kernel, KernelStore

PERFCHECK = (sys.executable, "-c", "import sys; from perfcheck.cli import main; sys.exit(main())")
SYSTEM = (Path("/var/lib/apt"), Path("/var/cache/apt"), Path("/var/lib/dpkg"), Path("/etc/apt"))
TRIED = ("nf_tables", "openvswitch", "sch_netem", "veth", "tcp_bbr", "nft_ct", "act_mirred", "virtio_net", "sctp")


def state(folders: tuple[Path, ...]) -> dict[Path, int]:
    """Return when each file below the folders was last changed."""
    return {path: path.lstat().st_mtime_ns for folder in folders for path in folder.rglob("*")}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KernelStore:
    monkeypatch.setenv("PERFCHECK_KERNELS", str(tmp_path / "store"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return KernelStore.create()


def fetched(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Fetch a kernel; without network there is nothing to test."""
    status = main(["kernel", "fetch", *words])
    said = capsys.readouterr().err
    if status == 3 and "could not be fetched" in said:
        do_without(Unavailable("Debian's archive", said.splitlines()[-1], "connect the machine"))
    assert status == 0, said


def modprobe(kernel: Kernel, root: Path, name: str) -> list[str]:
    """Return the names of what modprobe would load, in its order."""
    argv = ["modprobe", "--show-depends", "-C", "/dev/null", "-d", str(root), "-S", kernel.release, name]
    lines = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()
    return [Path(line.split()[1]).name.partition(".ko")[0].replace("-", "_") for line in lines
            if line.startswith("insmod")]  # fmt: skip


@pytest.mark.parametrize("words", [["6.12"]], ids=" ".join)
def test_a_kernel_of_debians_comes_whole_and_the_system_stays_as_it_is(
    store: KernelStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    before = state(SYSTEM)
    fetched([*words, "--name", "new"], capsys)
    assert state(SYSTEM) == before
    kernel = store.get("new")
    assert kernel.release.startswith("6.12.")
    assert kernel.config is not None
    assert "CONFIG_NET_SCH_NETEM=m" in kernel.config.read_text().splitlines()
    assert kernel.btf is not None
    assert Btf(kernel.btf.read_bytes()).find({Kind.STRUCT}, ["tcp_sock", "sk_buff"]).keys() == {"tcp_sock", "sk_buff"}

    root = tmp_path / "root"
    (root / "lib/modules").mkdir(parents=True)
    (root / "lib/modules" / kernel.release).symlink_to(kernel.modules)
    modules = ModuleSet.of(kernel)
    for name in TRIED:
        found = [module.name for module in modules.closure([name])]
        assert found == modprobe(kernel, root, name)
    (netem,) = modules.closure(["sch_netem"])
    content = modules.content(netem)
    assert content.startswith(b"\x7fELF")
    assert f"vermagic={kernel.release} ".encode() in content


def test_on_a_full_disk_nothing_is_left_and_what_is_there_stays(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PERFCHECK_KERNELS", str(small_disk / "store"))
    small = package(tmp_path / "small.deb", kernel_members())
    large = Member(name=f"./lib/modules/{RELEASE}/kernel/large.ko", content=os.urandom(4_000_000))
    assert main(["kernel", "add", str(small)]) == 0
    capsys.readouterr()
    assert main(["kernel", "add", str(package(tmp_path / "l.deb", [*kernel_members(), large])), "--name", "large"]) == 3
    assert f"the kernel store {small_disk}/store is not available: it cannot be written: No space left on device" in (
        capsys.readouterr().err
    )
    assert [path.name for path in (small_disk / "store").iterdir()] == ["6.12.7-cloud"]
    assert KernelStore.create().get("6.12.7-cloud").module_count() == 2


@pytest.mark.parametrize("words", [["6.12"], ["6.12", "--suite", "trixie"]], ids=" ".join)
def test_without_network_one_line_says_so_and_nothing_is_left(store: KernelStore, words: list[str]) -> None:
    argv = ["unshare", "--net", *PERFCHECK, "kernel", "fetch", *words]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 3
    last = done.stderr.splitlines()[-1]
    assert "could not be fetched: Failed to fetch " in last
    assert "resolving" in last
    assert not store.folder.exists() or list(store.folder.iterdir()) == []
