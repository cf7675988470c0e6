"""Packages, images and trees of any origin: a kernel comes out of a good one, and one line of any other."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from kernel_files import (
    BTF,
    CONFIG,
    RELEASE,
    Member,
    divided_packages,
    image,
    kernel_members,
    module,
    modules_folder,
    package,
    vmlinux,
)

from perfcheck.errors import UnreadableFile, UsageError
from perfcheck.kernels import package as package_module
from perfcheck.kernels import parts, sources
from perfcheck.kernels.elf import section
from perfcheck.kernels.modules import ModuleSet
from perfcheck.kernels.store import Kernel, KernelStore

MODULES = f"./lib/modules/{RELEASE}"


def add(folder: Path, path: Path, *modules: Path) -> Kernel:
    return KernelStore.create(folder / "store").add(path, modules=modules)


def refused(folder: Path, path: Path, *modules: Path) -> str:
    """Return the message of a refusal, which is one line and leaves nothing."""
    with pytest.raises((UsageError, UnreadableFile)) as caught:
        add(folder, path, *modules)
    assert list((folder / "store").iterdir()) == []
    text = str(caught.value)
    assert "\n" not in text
    assert caught.value.exit_status == 2
    return text


@pytest.mark.parametrize("usr", ["", "usr/"])
def test_a_package_becomes_a_kernel(tmp_path: Path, usr: str) -> None:
    kernel = add(tmp_path, package(tmp_path / "k.deb", kernel_members(usr=usr)))
    assert (kernel.name, kernel.release, kernel.flavour) == ("6.12.7-cloud", RELEASE, "cloud")
    assert kernel.package_version == "6.12.7-1~deb12u1"
    assert kernel.origin == f"package linux-image-{RELEASE} 6.12.7-1~deb12u1"
    assert kernel.image.read_bytes() == image()
    assert kernel.btf is not None
    assert kernel.btf.read_bytes() == BTF
    assert kernel.config is not None
    assert kernel.config.read_bytes() == CONFIG
    # What depmod made, not what the package has.
    assert (kernel.modules / "modules.dep").read_text() == "kernel/net/one.ko:\nkernel/net/two.ko:\n"
    assert not (kernel.modules / "build").exists()
    assert {path.name for path in kernel.folder.iterdir()} == {"vmlinuz", "config", "btf", "modules", "kernel.json"}


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (Member(name="/etc/passwd", content=b"x"), "'/etc/passwd' is a path out of the package"),
        (Member(name="../../etc/passwd", content=b"x"), "is a path out of the package"),
        (Member(name=f"{MODULES}/kernel/../../../../../x.ko", content=b"x"), "is a path out of the package"),
        (Member(name=f"./lib/modules/../../../{RELEASE}/kernel/x.ko", content=b"x"), "is a path out of the package"),
        (Member(name="./boot/out", kind=tarfile.SYMTYPE, link="/etc"), "'./boot/out' is a link out of the package"),
        (Member(name="./a/out", kind=tarfile.SYMTYPE, link="../../etc"), "is a link out of the package"),
        (Member(name="./out", kind=tarfile.LNKTYPE, link="../etc/passwd"), "is a link out of the package"),
        (Member(name=f"{MODULES}/kernel/x.ko", kind=tarfile.SYMTYPE, link="net/one.ko"), "is not a regular file"),
        (Member(name="./boot/vmlinuz-6.1", kind=tarfile.SYMTYPE, link="x"), "is not a regular file"),
        (Member(name="./dev/sda", kind=tarfile.BLKTYPE), "is a device or pipe"),
        (Member(name="./pipe", kind=tarfile.FIFOTYPE), "is a device or pipe"),
        (Member(name="./boot/vmlinuz-6.1", content=image()), "has two files for vmlinuz"),
        (Member(name=f"{MODULES}/kernel/net/one.ko", content=b""), "has two files for modules/kernel/net/one.ko"),
        (Member(name=f"{MODULES}/kernel/net/one.ko/x.ko", content=b""), "is in a folder that is a file, too"),
        (Member(name="./lib/modules/6.1.0/kernel/x.ko"), f"has modules of several kernels: 6.1.0, {RELEASE}"),
        (Member(name="./" + "a/" * 1_000_000), "the header of a file is too long"),
    ],
)
def test_a_package_that_would_do_harm_is_refused(tmp_path: Path, extra: Member, reason: str) -> None:
    before = sorted(tmp_path.parent.iterdir())
    assert reason in refused(tmp_path, package(tmp_path / "k.deb", [*kernel_members(), extra]))
    assert sorted(tmp_path.parent.iterdir()) == before


def test_no_name_reaches_a_terminal_as_it_is(tmp_path: Path) -> None:
    text = refused(tmp_path, package(tmp_path / "k.deb", [Member(name="../\x1b[31m\n::error::")]))
    assert r"'../\x1b[31m\n::error::'" in text


@pytest.mark.parametrize("limit", ["MAX_TOTAL_BYTES", "MAX_FILES"])
def test_a_bomb_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(parts, limit, 1 << 30 if limit == "MAX_TOTAL_BYTES" else 5)
    header = tarfile.TarInfo(f"{MODULES}/kernel/x.ko")
    header.size = 2 << 30
    path = package(tmp_path / "k.deb", kernel_members())
    if limit == "MAX_TOTAL_BYTES":
        # 2 GiB of zeros, of which nothing is to be read.
        packed = lzma.LZMACompressor()
        data = packed.compress(header.tobuf()) + packed.compress(bytes(4 << 20)) + packed.flush()
        replace_data(path, data)
        assert "more than 1 GiB when unpacked: not a kernel" in refused(tmp_path, path)
    else:
        assert "more than 5 files: not a kernel" in refused(tmp_path, path)


def replace_data(path: Path, data: bytes) -> None:
    """Put other data into a package, after its first two parts."""
    content = path.read_bytes()
    at = content.index(b"data.tar.xz")
    path.write_bytes(content[: at + 48] + f"{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2))


def test_a_file_within_the_limits_of_a_package_but_not_its_own_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "MAX_MODULE_BYTES", 1 << 20)
    large = Member(name=f"{MODULES}/kernel/x.ko", content=bytes(2 << 20))
    assert "modules/kernel/x.ko is larger than 1 MiB" in refused(
        tmp_path, package(tmp_path / "k.deb", [*kernel_members(), large])
    )


def test_data_after_the_end_is_not_read_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_module, "_MAX_HEADER_BYTES", 1 << 16)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w"):
        pass
    path = package(tmp_path / "k.deb", kernel_members())
    replace_data(path, lzma.compress(stream.getvalue() + bytes(1 << 20)))
    assert "more data after its end" in refused(tmp_path, path)


@pytest.mark.parametrize("content", [image()[:1700], image(inside=b"no kernel")])
def test_what_is_wrong_with_its_image_names_the_package(tmp_path: Path, content: bytes) -> None:
    path = package(tmp_path / "k.deb", kernel_members(content=content))
    assert refused(tmp_path, path).startswith(f"{path}: ")


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9, 0.99])
def test_a_cut_package_is_refused(tmp_path: Path, share: float) -> None:
    path = package(tmp_path / "k.deb", kernel_members())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "not a whole Debian package: " in refused(tmp_path, path)


@pytest.mark.parametrize(
    "content", [b"!<arch>\n", b"!<arch>\nThis is a text file.\n", b"!<arch>\n" + bytes(10_000)]
)  # fmt: skip
def test_what_only_begins_as_a_package_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "k.deb").write_bytes(content)
    assert "not a whole Debian package: " in refused(tmp_path, tmp_path / "k.deb")


def test_a_package_without_a_kernel_or_with_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path = package(tmp_path / "k.deb", [Member(name="./usr/bin/ls", content=b"x")], name="coreutils")
    assert refused(tmp_path, path).endswith(
        "the package coreutils has no kernel image (boot/vmlinuz-RELEASE, or lib/modules/RELEASE/vmlinuz)"
    )
    path = package(tmp_path / "k.deb", kernel_members(content=image()[:1700]))
    assert "not a bootable x86-64 kernel image (bzImage): cut off" in refused(tmp_path, path)


def test_modules_may_be_in_a_package_of_their_own(tmp_path: Path) -> None:
    members = kernel_members()
    first = package(tmp_path / "image.deb", [each for each in members if "modules" not in each.name])
    second = package(tmp_path / "modules.deb", [each for each in members if "modules" in each.name], name="modules")
    assert "has no modules; name the package that has them with --modules" in refused(tmp_path, first)
    assert add(tmp_path, first, second).module_count() == 2


def test_a_kernel_may_be_divided_into_packages_as_debians_are(tmp_path: Path) -> None:
    parts_of = divided_packages(tmp_path)
    binary, modules, base = (parts_of[name] for name in ("binary", "modules", "base"))
    empty = package(tmp_path / "image.deb", [])
    assert refused(tmp_path, empty).endswith(
        f"since 6.19 Debian's has three others: add linux-binary-{RELEASE}, with --modules linux-modules-{RELEASE} "
        f"and --modules linux-base-{RELEASE}"
    )
    assert "has no modules; name the package that has them with --modules" in refused(tmp_path, binary)
    assert "base.deb: no kernel module (*.ko) is in it" in refused(tmp_path, binary, base)
    assert "has two files for vmlinuz" in refused(tmp_path, binary, modules, base, binary)
    kernel = add(tmp_path, binary, modules, base)
    assert (kernel.name, kernel.release, kernel.module_count()) == ("6.12.7-cloud", RELEASE, 2)
    assert kernel.image.read_bytes() == image()
    assert kernel.config is not None
    assert kernel.config.read_bytes() == CONFIG
    assert ModuleSet.of(kernel).is_built_in("unix")


def test_an_image_is_added_with_its_modules_and_its_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "INSTALLED", tmp_path / "lib/modules")
    boot = tmp_path / f"vmlinuz-{RELEASE}"
    boot.write_bytes(image())
    assert f"its modules are not in {tmp_path}/lib/modules/{RELEASE}" in refused(tmp_path, boot)
    place = modules_folder(tmp_path / "lib/modules" / RELEASE)
    (place / "build").symlink_to("/usr/src")
    (place / "updates").mkdir()
    (place / "updates/three.ko.gz").write_bytes(gzip.compress(module()))
    (tmp_path / f"config-{RELEASE}").write_bytes(CONFIG)
    kernel = add(tmp_path, boot)
    assert kernel.module_count() == 3
    assert (kernel.modules / "updates/three.ko").read_bytes() == module()
    assert kernel.config is not None
    assert kernel.origin == f"image {boot}"


@pytest.mark.parametrize("below", ["", f"lib/modules/{RELEASE}", RELEASE])
def test_modules_are_found_in_any_of_the_usual_folders(tmp_path: Path, below: str) -> None:
    (tmp_path / "bzImage").write_bytes(image(inside=vmlinux(config=CONFIG)))
    modules_folder(tmp_path / "modules" / below)
    kernel = add(tmp_path, tmp_path / "bzImage", tmp_path / "modules")
    assert kernel.module_count() == 2
    assert kernel.config is not None
    assert kernel.config.read_bytes() == CONFIG


def test_modules_of_another_kernel_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bzImage").write_bytes(image())
    modules_folder(tmp_path / "modules", release="6.12.8")
    text = refused(tmp_path, tmp_path / "bzImage", tmp_path / "modules")
    assert f"the image is {RELEASE}, but its modules are of 6.12.8" in text


def test_modules_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bzImage").write_bytes(image())
    place = modules_folder(tmp_path / "modules", names=["a"])
    (place / "kernel/a.ko").write_bytes(b"text")
    assert "modules/kernel/a.ko: not a kernel module" in refused(tmp_path, tmp_path / "bzImage", place)
    (place / "kernel/a.ko").unlink()
    assert "no kernel module (*.ko) is in it" in refused(tmp_path, tmp_path / "bzImage", place)
    (place / "kernel/a.ko").symlink_to("/dev/zero")
    assert "cannot be read: not a regular file" in refused(tmp_path, tmp_path / "bzImage", place)
    for path, reason in ((tmp_path / "bzImage", "neither a folder nor"), (tmp_path / "no", "No such file")):
        assert reason in refused(tmp_path, tmp_path / "bzImage", path)


def test_a_kernel_that_has_all_built_in_needs_no_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "INSTALLED", tmp_path / "lib/modules")
    (tmp_path / "vmlinuz").write_bytes(image(release="6.18.44"))
    (tmp_path / "config").write_text("CONFIG_NET=y\n# CONFIG_MODULES is not set\n")
    kernel = add(tmp_path, tmp_path / "vmlinuz")
    assert (kernel.name, kernel.flavour, kernel.module_count()) == ("6.18.44", "own", 0)


def built_tree(folder: Path, before: str = "", ending: str = "o") -> Path:
    tree = folder / "linux"
    (tree / "arch/x86/boot").mkdir(parents=True)
    (tree / "arch/x86/boot/bzImage").write_bytes(image())
    (tree / ".config").write_bytes(CONFIG)
    names = ("net/ipv4/one", "drivers/two", "kernel/three")
    for name in names:
        (tree / name).parent.mkdir(parents=True)
        (tree / f"{name}.ko").write_bytes(module())
    (tree / "modules.order").write_text("".join(f"{before}{name}.{ending}\n" for name in names))
    (tree / "modules.builtin").write_text("kernel/net/unix/unix.ko\n")
    (tree / "modules.builtin.modinfo").write_bytes(b"unix.alias=net-pf-1\0")
    return tree


@pytest.mark.parametrize(("before", "ending"), [("", "o"), ("", "ko"), ("kernel/", "ko")])
def test_a_built_tree_is_added_as_make_would_install_it(tmp_path: Path, before: str, ending: str) -> None:
    kernel = add(tmp_path, built_tree(tmp_path, before, ending))
    installed = ["kernel/net/ipv4/one.ko", "kernel/drivers/two.ko", "kernel/kernel/three.ko"]
    assert (kernel.modules / "modules.dep").read_text().splitlines() == [f"{name}:" for name in installed]
    assert (kernel.modules / "modules.order").read_text().splitlines() == installed
    assert (kernel.modules / "modules.builtin").exists()
    assert kernel.config is not None
    assert kernel.origin == f"built tree {tmp_path}/linux"


def test_a_tree_without_modules_is_added_with_what_is_built_in(tmp_path: Path) -> None:
    tree = built_tree(tmp_path)
    (tree / "modules.order").unlink()
    (tree / ".config").write_text("CONFIG_NET=y\n# CONFIG_MODULES is not set\n")
    kernel = add(tmp_path, tree)
    assert kernel.module_count() == 0
    assert ModuleSet.of(kernel).is_built_in("unix")


def test_modules_of_a_built_tree_lose_their_debugging_information(tmp_path: Path) -> None:
    tree = built_tree(tmp_path)
    source = f'char info[] __attribute__((section(".modinfo"))) = "vermagic={RELEASE} SMP ";'
    for path in tree.rglob("*.ko"):
        argv = ["gcc", "-g", "-c", "-x", "c", "-", "-o", str(path)]
        subprocess.run(argv, input=source.encode(), check=True)
        assert section(path.read_bytes(), ".debug_info")
    kernel = add(tmp_path, tree)
    assert kernel.module_count() == 3
    for path in kernel.modules.rglob("*.ko"):
        assert section(path.read_bytes(), ".debug_info") is None
        assert section(path.read_bytes(), ".modinfo")


def test_a_tree_that_is_not_built_says_what_to_make(tmp_path: Path) -> None:
    (tmp_path / "linux").mkdir()
    assert "run make bzImage modules there" in refused(tmp_path, tmp_path / "linux")
    (tmp_path / "linux").rmdir()
    tree = built_tree(tmp_path)
    (tree / "drivers/two.ko").unlink()
    assert "drivers/two.ko is missing, which modules.order lists; run make modules there" in refused(tmp_path, tree)
    (tree / "modules.order").write_text("../../etc/passwd.o\n")
    assert "which is outside the tree" in refused(tmp_path, tree)
    (tree / "modules.order").unlink()
    assert "modules.order is missing; run make modules there" in refused(tmp_path, tree)


@pytest.mark.parametrize("name", ["missing", "text", "pipe", "/dev/zero"])
def test_what_is_no_kernel_at_all_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "text").write_text("this is a text\n")
    os.mkfifo(tmp_path / "pipe")
    assert str(tmp_path / name) in refused(tmp_path, tmp_path / name)
