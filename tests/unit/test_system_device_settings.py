"""Settings of devices and modules: what was is noted before anything is written, and put back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perfcheck.errors import LabError
from perfcheck.model.setting import Setting
from perfcheck.system import device_settings, ethtool_settings
from perfcheck.system.undo import Entry
from perfcheck.testing import FakeUndoLog


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "module/cubic/parameters"
    folder.mkdir(parents=True)
    (folder / "beta").write_text("717\n")
    (folder / "fixed").write_text("1\n")
    (folder / "fixed").chmod(0o444)
    monkeypatch.setattr(device_settings, "MODULES", tmp_path / "module")
    return folder


def test_a_module_parameter_is_noted_set_and_put_back(modules: Path) -> None:
    undo = FakeUndoLog()
    device_settings.apply(undo, Setting.parse("modparam cubic.beta=800"), "eth1")
    assert (modules / "beta").read_text() == "800"
    ((kind, name, detail),) = undo.notes
    assert (kind, name, json.loads(detail["before"])) == ("setting", "modparam cubic", {"beta": "717"})
    Entry(kind=kind, name=name, detail=detail).validate(undo.tag)
    assert device_settings.put_back(name, device_settings.noted_state(detail))
    assert (modules / "beta").read_text() == "717"
    assert not device_settings.put_back(name, device_settings.noted_state(detail))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modparam cubic.none=1", "the module cubic has no such parameter"),
        ("modparam reno.beta=1", "the module reno is not loaded"),
        ("modparam cubic.fixed=1", "use `reload cubic fixed=VALUE`"),
        ("reload reno", "the module is not loaded"),
        ("reload cubic", "the driver is built into this kernel"),
        ("ethtool -K none0 gro off", "none0: its features cannot be read"),
        ("ethtool -G none0 rx 1", "none0: its driver tells no rings"),
    ],
)
def test_what_cannot_be_set_is_refused_before_a_note(modules: Path, text: str, said: str) -> None:
    del modules
    undo = FakeUndoLog()
    with pytest.raises(LabError) as caught:
        device_settings.apply(undo, Setting.parse(text), "none0")
    assert said in str(caught.value)
    assert undo.notes == []


def test_a_setting_of_a_device_that_is_gone_is_gone() -> None:
    assert not device_settings.put_back("features none0", {"rx-gro": True})
    assert not device_settings.put_back("rings none0", {"rx": 4})


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("features ../x", "{}"), ("features -x", "{}"), ("features ", "{}"), ("files eth1", "{}"),
        ("modparam cubic", "[]"), ("modparam cubic", '{"../../x": "1"}'), ("modparam cubic", "nonsense"),
        ("modparam cubic", ""),
    ],
)  # fmt: skip
def test_a_note_that_no_setting_makes_is_refused(name: str, before: str) -> None:
    with pytest.raises(ValueError, match=r"expected|does not say|Expecting"):
        Entry(kind="setting", name=name, detail={"before": before}).validate("abcdef12")


def test_a_command_of_teardown_is_a_note_as_it_stands() -> None:
    Entry(kind="command", name="nft delete table inet t").validate("abcdef12")
    with pytest.raises(ValueError, match="expected a command"):
        Entry(kind="command", name="   ").validate("abcdef12")


class _Device:
    """A network device in memory: answers what linux/ethtool.h says."""

    def __init__(self) -> None:
        self.rings = [4096, 0, 0, 4096, 256, 0, 0, 256]
        self.asked: list[int] = []

    def ask(self, ifname: str, question: bytes) -> bytes:
        import struct

        assert ifname == "eth1"
        words = list(struct.unpack(f"{len(question) // 4}I", question))
        self.asked.append(words[0])
        if words[0] == 0x11:
            self.rings[4:] = words[5:]
        return struct.pack(f"{len(words)}I", words[0], *self.rings)


def test_rings_are_set_by_their_place_in_the_kernels_struct(monkeypatch: pytest.MonkeyPatch) -> None:
    device = _Device()
    monkeypatch.setattr("perfcheck.system.ethtool.ask", device.ask)
    before: dict[str, Any] = ethtool_settings.numbers("rings", "eth1")
    assert before == {"rx": 256, "rx-mini": 0, "rx-jumbo": 0, "tx": 256}
    ethtool_settings.set_numbers("rings", "eth1", {"tx": 1024})
    assert device.rings == [4096, 0, 0, 4096, 256, 0, 0, 1024]
    ethtool_settings.set_numbers("rings", "eth1", {"tx": 1024})
    assert device.asked.count(0x11) == 1
    with pytest.raises(LabError, match="rx 8192 is more than the device has: 4096"):
        ethtool_settings.set_numbers("rings", "eth1", {"rx": 8192})


IP: str = """\
case "$*" in
"-j addr show dev lo") echo '[{"ifname": "lo", "flags": ["UP"], "mtu": 9000, "addr_info": [
  {"local": "192.0.2.1", "prefixlen": 24}, {"local": "2001:db8::1", "prefixlen": 64}]}]' ;;
"-4 route show dev lo") printf '192.0.2.0/24 proto kernel scope link\\n198.51.100.0/24 via 192.0.2.9\\n' ;;
"-6 route show dev lo") ;;
esac
"""


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a driver `nic` with one parameter, and programs `ip` and `modprobe` that note how they are called."""
    folder = tmp_path / "module/nic"
    (folder / "parameters").mkdir(parents=True)
    (folder / "refcnt").write_text("0\n")
    (folder / "parameters/debug").write_text("0\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, does in (("ip", IP), ("modprobe", "")):
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$*" >> {tmp_path}/calls\n{does}')
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(device_settings, "MODULES", tmp_path / "module")
    return tmp_path / "calls"


def test_a_driver_is_loaded_again_and_its_interface_gets_back_what_it_had(driver: Path) -> None:
    undo = FakeUndoLog()
    device_settings.apply(undo, Setting.parse("reload nic debug=3"), "lo")
    ((_, name, detail),) = undo.notes
    Entry(kind="setting", name=name, detail=detail).validate(undo.tag)
    given_back = [
        "ip link set dev lo mtu 9000 up", "ip addr replace 192.0.2.1/24 dev lo",
        "ip addr replace 2001:db8::1/64 dev lo", "ip -4 route replace 198.51.100.0/24 via 192.0.2.9 dev lo",
    ]  # fmt: skip
    calls = driver.read_text().splitlines()
    assert calls[3:] == ["modprobe -r nic", "modprobe nic debug=3", *given_back]
    driver.unlink()
    assert device_settings.put_back(name, device_settings.noted_state(detail))
    assert driver.read_text().splitlines() == ["modprobe -r nic", "modprobe nic debug=0", *given_back]
