"""What the collectors need of the machine, and what they say where it is missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perfcheck.collect import doctor
from perfcheck.collect.kernel import snmp
from perfcheck.collect.tcp import collector
from perfcheck.ebpf import bcc as bcc_package
from perfcheck.ebpf import cache, libbpf
from perfcheck.ebpf.btf import Btf, Kind
from perfcheck.errors import CollectError, Unavailable
from perfcheck.testing import FakeCollector

REAL = {"libbcc.py": "", "table.py": "", "__init__.py": "class BPF: pass"}


@pytest.fixture(autouse=True)
def no_bcc_left_behind() -> Iterator[None]:
    before = sys.modules.pop("bcc", None)
    yield
    sys.modules.pop("bcc", None)
    if before is not None:
        sys.modules["bcc"] = before


def package(root: Path, files: dict[str, str]) -> str:
    (root / "bcc").mkdir(parents=True)
    for name, text in files.items():
        (root / "bcc" / name).write_text(text)
    return str(root)


def test_the_distributions_bcc_is_loaded_from_outside_the_virtual_environment(tmp_path: Path) -> None:
    assert hasattr(bcc_package.load([package(tmp_path, REAL)]), "BPF")


def test_nothing_else_of_the_distributions_folder_can_be_imported(tmp_path: Path) -> None:
    place = package(tmp_path, REAL)
    (tmp_path / "neighbour.py").write_text("")
    bcc_package.load([place])
    assert place not in sys.path
    with pytest.raises(ImportError):
        __import__("neighbour")


@pytest.mark.parametrize(
    "files",
    [
        {"__init__.py": "VERSION = 1"},  # the package of the same name on PyPI
        {**REAL, "__init__.py": "VERSION = 1"},
        {**REAL, "__init__.py": "import no_such_library_here"},
        {**REAL, "__init__.py": "raise OSError('libbcc.so.0: cannot open shared object file')"},
    ],
)
def test_another_or_a_broken_bcc_is_unavailable_and_the_fix_is_the_distributions(
    files: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(Unavailable) as caught:
        bcc_package.load([package(tmp_path, files)])
    assert "apt-get install python3-bpfcc" in caught.value.fix
    assert "pip" not in str(caught.value)
    assert "bcc" not in sys.modules


def test_without_btf_the_core_says_what_kernel_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "VMLINUX", tmp_path / "vmlinux")
    with pytest.raises(Unavailable, match="CONFIG_DEBUG_INFO_BTF"):
        collector.TcpCollector().check()
    with pytest.raises(Unavailable, match="CONFIG_DEBUG_INFO_BTF"):
        cache.image_for("tcp.bpf.c")


def test_without_libbpf_the_core_says_which_package_has_it() -> None:
    with pytest.raises(Unavailable, match="apt-get install libbpf1"):
        libbpf.Libbpf("libno-such-library.so.1")


def test_a_collector_that_is_not_open_cannot_measure() -> None:
    with pytest.raises(CollectError, match="not open"):
        collector.TcpCollector().end()
    with pytest.raises(CollectError, match="not open"):
        snmp.HostCountersCollector().end()


def test_a_compiler_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(b"")
    monkeypatch.setattr(cache, "VMLINUX", tmp_path / "vmlinux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    failed = subprocess.CompletedProcess([], 1, stdout="", stderr="main.c:7:3: error: no member named 'rack'")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(CollectError, match="no member named 'rack'"):
        cache.image_for("tcp.bpf.c")


def test_the_btf_of_a_socket_storage_map_is_what_the_kernel_demands() -> None:
    made = Btf(libbpf.storage_btf(24))
    assert (made.kind(1), made.size_bytes(1), made.signed(1)) == (Kind.INT, 4, True)
    assert (made.kind(4), made.size_bytes(4)) == (Kind.STRUCT, 24)
    (member,) = made.members(4)
    assert made.array(member.type_id) == (2, 24)


def test_each_collector_is_checked_under_its_own_name_and_closed_again() -> None:
    fake = FakeCollector(name="qdisc")
    found = {check.name: check for check in doctor.all_checks([fake])}
    assert found["qdisc"].ok
    assert fake.calls[-2:] == ["open", "close"]


NETSTAT = """\
TcpExt: SyncookiesSent TCPLossProbes
TcpExt: 0 17
IpExt: InNoECTPkts InOctets
IpExt: 5 18446744073709551615
"""


def test_counters_are_named_by_group_and_heading() -> None:
    assert snmp.parse(NETSTAT) == {
        "TcpExt.SyncookiesSent": 0, "TcpExt.TCPLossProbes": 17, "IpExt.InNoECTPkts": 5, "IpExt.InOctets": 2**64 - 1,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["Tcp: A B\nUdp: 1 2\n", "Tcp: A B\nTcp: 1\n", "Tcp: A\n"])
def test_lines_that_do_not_belong_together_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        snmp.parse(text)
