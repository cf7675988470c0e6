"""Modules in the order to load them, as modprobe would, and without their compression."""

from __future__ import annotations

import gzip
import itertools
import lzma
import subprocess
from pathlib import Path

import pytest

from perfcheck.errors import UsageError
from perfcheck.kernels.modules import ModuleSet
from perfcheck.kernels.store import Kernel

LISTS = {
    "modules.dep": """\
kernel/net/sched/sch_netem.ko:
kernel/net/netfilter/nf-tables.ko.xz: kernel/net/netfilter/nfnetlink.ko.xz kernel/lib/libcrc32c.ko
kernel/net/netfilter/nfnetlink.ko.xz:
kernel/net/ovs.ko: kernel/net/nsh.ko kernel/net/nf_nat.ko kernel/net/nf_conntrack.ko kernel/lib/libcrc32c.ko
kernel/net/nsh.ko:
kernel/net/nf_nat.ko: kernel/net/nf_conntrack.ko kernel/lib/libcrc32c.ko
kernel/net/nf_conntrack.ko: kernel/lib/libcrc32c.ko
kernel/lib/libcrc32c.ko:
kernel/crypto/crc32c_generic.ko:
kernel/arch/crc32c-intel.ko:
kernel/net/a.ko:
kernel/net/b.ko:
""",
    "modules.softdep": """\
# Soft dependencies extracted from modules themselves.
softdep libcrc32c pre: crc32c
softdep a pre: b none post: sch_netem
softdep b pre: a
""",
    "modules.alias": """\
# Aliases extracted from modules themselves.
alias crc32c crc32c-intel
alias crypto-crc32c crc32c_generic
alias crc32c crc32c_generic
alias net-pf-16-proto-12* nfnetlink
alias gone missing_module
""",
    "modules.builtin": "kernel/net/ipv4/tcp_cubic.ko\n",
    "modules.builtin.modinfo": "unix.license=GPL\0unix.alias=net-pf-1\0",
}


@pytest.fixture
def modules(tmp_path: Path) -> ModuleSet:
    return of(tmp_path)


def of(folder: Path) -> ModuleSet:
    (folder / "modules").mkdir()
    for name, text in LISTS.items():
        (folder / "modules" / name).write_text(text)
    return ModuleSet.of(Kernel(name="k", release="6.1", folder=folder))


def order(modules: ModuleSet, *names: str) -> list[str]:
    return [module.name for module in modules.closure(names)]


def test_what_a_module_needs_comes_before_it_and_once(modules: ModuleSet) -> None:
    assert order(modules, "sch_netem") == ["sch_netem"]
    assert order(modules, "ovs", "nf_tables") == [
        "crc32c_intel", "crc32c_generic", "libcrc32c", "nf_conntrack", "nf_nat", "nsh", "ovs", "nfnetlink", "nf_tables",
    ]  # fmt: skip


def test_names_are_the_same_with_either_dash_and_aliases_count(modules: ModuleSet) -> None:
    assert order(modules, "nf-tables") == order(modules, "nf_tables")
    assert order(modules, "net-pf-16-proto-12-type-3") == ["nfnetlink"]
    assert order(modules, "tcp_cubic", "net-pf-1") == []
    assert modules.has("net-pf-1")
    assert modules.has("sch-netem")
    assert modules.is_built_in("tcp-cubic")
    assert not modules.is_built_in("sch_netem")
    assert "nf_tables" in modules.names


def test_what_only_a_soft_dependency_names_is_not_required(modules: ModuleSet) -> None:
    required = {module.name: module.required for module in modules.closure(["libcrc32c"])}
    assert required == {"crc32c_intel": False, "crc32c_generic": False, "libcrc32c": True}
    required = {module.name: module.required for module in modules.closure(["libcrc32c", "crc32c_generic"])}
    assert required == {"crc32c_intel": False, "crc32c_generic": True, "libcrc32c": True}


def test_a_circle_ends(modules: ModuleSet) -> None:
    assert order(modules, "a") == ["b", "a"]
    assert order(modules, "b") == ["a", "b"]


@pytest.mark.parametrize("name", ["nonsense", "", "gone", "../x"])
def test_an_unknown_module_is_told(modules: ModuleSet, name: str) -> None:
    assert not modules.has(name)
    with pytest.raises(UsageError, match="the kernel k has no module"):
        modules.closure([name])


def test_each_module_comes_behind_what_it_needs_in_whatever_order_they_are_named(modules: ModuleSet) -> None:
    needs = {"ovs": ["nsh", "nf_nat"], "nf_nat": ["nf_conntrack"], "nf_conntrack": ["libcrc32c"],
             "nf_tables": ["nfnetlink", "libcrc32c"], "libcrc32c": ["crc32c_intel"]}  # fmt: skip
    for names in itertools.permutations(["ovs", "nf_tables", "nf_nat", "libcrc32c", "a", "sch_netem"], 3):
        found = order(modules, *names)
        assert len(set(found)) == len(found)
        assert set(names) <= set(found)
        for name in found:
            assert all(found.index(needed) < found.index(name) for needed in needs.get(name, []))


def zstd(content: bytes) -> bytes:
    return subprocess.run(["zstd", "-cq"], input=content, capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    ("ending", "compress"), [("", bytes), (".xz", lzma.compress), (".gz", gzip.compress), (".zst", zstd)]
)
def test_content_is_decompressed_once(tmp_path: Path, ending: str, compress: type[bytes]) -> None:
    folder = tmp_path / "modules"
    (folder / "kernel").mkdir(parents=True)
    (folder / "modules.dep").write_text(f"kernel/x.ko{ending}:\n")
    file = folder / f"kernel/x.ko{ending}"
    file.write_bytes(compress(b"module" * 1000))
    kernel = Kernel(name="k", release="6.1", folder=tmp_path)
    (module,) = ModuleSet.of(kernel).closure(["x"])
    assert module.path == file
    assert ModuleSet.of(kernel).content(module) == b"module" * 1000
    if ending:
        file.write_bytes(b"damaged")
        assert ModuleSet.of(kernel).content(module) == b"module" * 1000
        (kernel.cache / "modules/x.ko").unlink()
        with pytest.raises(UsageError, match=f"kernel/x.ko{ending}: compressed in an unknown format"):
            ModuleSet.of(kernel).content(module)
    file.unlink()
    with pytest.raises(UsageError, match=r"cannot be read: No such file .*perfcheck kernel remove k`, and add it"):
        ModuleSet.of(kernel).content(module)


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "modules.dep").write_text("x.ko.xz:\n")
    (folder / "x.ko.xz").write_bytes(lzma.compress(b"module"))
    (tmp_path / "cache").write_text("in the way")
    modules = ModuleSet.of(Kernel(name="k", release="6.1", folder=tmp_path))
    assert modules.content(modules.closure(["x"])[0]) == b"module"
