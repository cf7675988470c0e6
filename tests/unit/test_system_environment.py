"""The fingerprint: what is in it, what is not, and how two are compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.errors import Unavailable
from perfcheck.system import commands, environment
from perfcheck.system.environment import (
    MACHINE_FIELDS,
    Difference,
    describe_machine,
    difference,
    fingerprint,
    machine_digest,
)


@pytest.fixture(scope="module", autouse=True)
def _no_commands() -> Iterator[None]:
    def refuse(argv: list[str], **_options: object) -> None:
        raise Unavailable(argv[0], "unit tests start no process", "none")

    environment._versions.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "run", refuse)
        yield
    environment._versions.cache_clear()


CPUINFO = """processor\t: 0
model name\t: AMD EPYC  7763
cpu MHz\t\t: {mhz}
flags\t\t: fpu {flags}
"""


def make_tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def machine(root: Path, *, mhz: str = "2445.4", flags: str = "hypervisor", memory_kb: int = 16_372_612) -> Path:
    return make_tree(
        root,
        {
            "proc/cpuinfo": CPUINFO.format(mhz=mhz, flags=flags),
            "proc/meminfo": f"MemTotal:       {memory_kb} kB\nMemFree:  12 kB\n",
            "proc/cmdline": "root=UUID=1234 quiet mitigations=off nohz_full=1-3\n",
            "proc/sys/kernel/osrelease": "6.12.1\n",
            "proc/sys/net/ipv4/tcp_rmem": "4096\t131072\t6291456\n",
            "sys/devices/system/cpu/online": "0-3,8\n",
            "sys/devices/system/node/node0/x": "",
            "sys/devices/system/node/node1/x": "",
            "sys/class/dmi/id/product_name": "KVM\n",
            "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
        },
    )


def test_the_machine_is_described(tmp_path: Path) -> None:
    found = describe_machine(machine(tmp_path))
    expected = {
        "cpu.model": "AMD EPYC 7763", "cpu.count": "5", "cpu.numa_nodes": "2", "memory.class": "16 GiB",
        "virtualisation": "virtual machine KVM", "kernel.cmdline": "mitigations=off nohz_full=1-3",
        "kernel.release": "6.12.1", "net.ipv4.tcp_rmem": "4096 131072 6291456", "kernel.hugepages": "madvise",
    }  # fmt: skip
    assert {field: found[field] for field in expected} == expected
    assert "net.core.rmem_max" not in found


def test_momentary_values_are_not_in_it(tmp_path: Path) -> None:
    slow = describe_machine(machine(tmp_path / "a", mhz="1500.0", memory_kb=16_372_612))
    fast = describe_machine(machine(tmp_path / "b", mhz="3500.0", memory_kb=16_300_004))
    assert slow == fast


@pytest.mark.parametrize(
    ("memory_kb", "expected"),
    [
        (24_684_096, "24 GiB"),
        (8_000_000, "8 GiB"),
        (500_000, "0.5 GiB"),
        (263_000_000, "256 GiB"),
        (1_990_000, "2 GiB"),
    ],
)
def test_memory_is_a_class(tmp_path: Path, memory_kb: int, expected: str) -> None:
    assert describe_machine(machine(tmp_path, memory_kb=memory_kb))["memory.class"] == expected


def test_containers_and_bare_machines_are_told_apart(tmp_path: Path) -> None:
    assert describe_machine(machine(tmp_path / "bare", flags="sse"))["virtualisation"] == "none"
    box = make_tree(machine(tmp_path / "box"), {".dockerenv": ""})
    assert describe_machine(box)["virtualisation"] == "container in virtual machine KVM"


def test_a_machine_that_shows_nothing_is_described_all_the_same(tmp_path: Path) -> None:
    found = describe_machine(tmp_path)
    assert found["cpu.model"] == "unknown"
    assert found["virtualisation"] == "none"


def test_this_machine_twice_is_the_same() -> None:
    first, second = fingerprint(), fingerprint()
    assert difference(first, second) == ()
    assert machine_digest(first) == machine_digest(second)
    assert set(MACHINE_FIELDS) <= first.keys()
    assert first["version.iperf3"] == "none"
    assert first["kernel.release"] == Path("/proc/sys/kernel/osrelease").read_text().strip()


def test_differences_are_told_by_field() -> None:
    was = {"cpu.count": "2", "kernel.release": "6.1", "gone": "x"}
    now = {"cpu.count": "2", "kernel.release": "6.12", "new": "y"}
    assert difference(was, now) == (
        Difference(field="gone", was="x", now=None),
        Difference(field="kernel.release", was="6.1", now="6.12"),
        Difference(field="new", was=None, now="y"),
    )
    assert str(difference(was, now)[0]) == "gone: x -> absent"


fields = st.dictionaries(st.sampled_from(["a", "b", *MACHINE_FIELDS]), st.sampled_from(["1", "2"]))


@given(fields, fields)
def test_difference_is_exact_and_symmetric(was: dict[str, str], now: dict[str, str]) -> None:
    changed = difference(was, now)
    patched = {**was}
    for change in changed:
        if change.now is None:
            del patched[change.field]
        else:
            patched[change.field] = change.now
    assert patched == now
    assert [(change.field, change.now, change.was) for change in changed] == [
        (change.field, change.was, change.now) for change in difference(now, was)
    ]


@given(fields, fields)
def test_the_digest_follows_the_machines_fields_alone(one: dict[str, str], other: dict[str, str]) -> None:
    alike = all(one.get(field, "") == other.get(field, "") for field in MACHINE_FIELDS)
    assert (machine_digest(one) == machine_digest(other)) == alike


def test_a_kernel_upgrade_keeps_the_machine() -> None:
    here = fingerprint()
    upgraded = {**here, "kernel.release": "99.0", "net.ipv4.tcp_rmem": "1 2 3", "version.iperf3": "9"}
    assert machine_digest(upgraded) == machine_digest(here)
    assert machine_digest({**here, "cpu.count": "96"}) != machine_digest(here)
