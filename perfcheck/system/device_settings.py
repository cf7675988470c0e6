"""Settings of network devices and modules: what they were, how they are written, and how they are put back.

Everything is read before it is written and journalled with what it was. What is put back is all that the kernel lets
depend on a setting: with `tx off` it turns `tso` off as well, and a driver may round a ring's size.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from perfcheck.errors import LabError
from perfcheck.model.setting import Setting
from perfcheck.system import commands, ethtool_settings
from perfcheck.system.clock import wait_until

if TYPE_CHECKING:
    from perfcheck.model.seams import UndoLog

KIND: Final = "setting"
MODULES: Final = Path("/sys/module")
COMMAND_TIMEOUT_S: Final = 30.0
BACK_TIMEOUT_S: Final = 15.0
"""How long an interface may take to come back after its driver was loaded again."""
_NUMBERS: Final = frozenset({"rings", "coalesce", "channels"})

State = Mapping[str, Any]
"""What a setting was, as JSON can hold it."""


def apply(undo: UndoLog, setting: Setting, interface: str) -> None:
    """Set it until the undo; LabError where it is refused, has no effect, or could not be put back.

    `interface` is the host's, whose addresses and routes a driver that is loaded again must give back.
    """
    before = state(setting, interface)
    undo.note(KIND, f"{setting.kind} {setting.target}", before=json.dumps(before))
    _write(setting, before)
    _check_effect(setting)


def state(setting: Setting, interface: str) -> State:
    """Return what it is now; LabError for what there is not, or could not be put back."""
    target = setting.target
    if setting.kind == "features":
        for name, _ in setting.values:
            ethtool_settings.meant(target, name)
        return ethtool_settings.wanted_features(target)
    if setting.kind in _NUMBERS:
        return ethtool_settings.numbers(setting.kind, target)
    if setting.kind == "modparam":
        return {name: _parameter(target, name) for name, _ in setting.values}
    if setting.kind == "qdisc":
        return _default_qdisc(target)
    return _driver_state(target, interface)


def put_back(name: str, before: State) -> bool:
    """Put a noted setting back; False where it is as it was, or its device is gone."""
    kind, _, target = name.partition(" ")
    if kind in {"features", "qdisc"} | _NUMBERS and not _has_interface(target):
        return False
    if kind == "features":
        return _put_features_back(target, before)
    if kind in _NUMBERS:
        now = ethtool_settings.numbers(kind, target)
        differing = {each: int(value) for each, value in before.items() if now.get(each) != value}
        if differing:
            ethtool_settings.set_numbers(kind, target, differing)
        return bool(differing)
    if kind == "modparam":
        changed = [each for each, value in before.items() if _read_parameter(target, each) not in {None, value}]
        for each in changed:
            _write_parameter(target, each, str(before[each]))
        return bool(changed)
    if kind == "qdisc":
        changed_here = _root_handle(target) != "0:"
        if changed_here:
            commands.run(["tc", "qdisc", "del", "dev", target, "root"], timeout_s=COMMAND_TIMEOUT_S, error=LabError)
        return changed_here
    _load_again(target, [], before)
    return True


def check_note(name: str, detail: Mapping[str, str]) -> None:
    """Raise ValueError for a note that no setting of this program makes."""
    kind, _, target = name.partition(" ")
    known = {"features", "modparam", "qdisc", "module"} | _NUMBERS
    if kind not in known or not target or "/" in target or target.startswith((".", "-")):
        raise ValueError(f"expected a setting such as `features eth1`, got {name!r}")
    before = json.loads(detail.get("before", ""))
    if not isinstance(before, dict) or any("/" in each or each.startswith(".") for each in before):
        raise ValueError(f"the note of {name} does not say what it was before")


def noted_state(detail: Mapping[str, str]) -> State:
    """Return what a note says that a setting was."""
    found: State = json.loads(detail["before"])
    return found


def _write(setting: Setting, before: State) -> None:
    target, values = setting.target, dict(setting.values)
    if setting.kind == "features":
        wanted = {
            each: value == "on" for name, value in values.items() for each in ethtool_settings.meant(target, name)
        }
        ethtool_settings.set_features(target, wanted)
    elif setting.kind in _NUMBERS:
        ethtool_settings.set_numbers(setting.kind, target, {name: int(value) for name, value in values.items()})
    elif setting.kind == "modparam":
        for name, value in values.items():
            _write_parameter(target, name, value)
    elif setting.kind == "qdisc":
        argv = ["tc", "qdisc", "replace", "dev", target, "root", *shlex.split(values["root"])]
        commands.run(argv, timeout_s=COMMAND_TIMEOUT_S, error=LabError)
    else:
        _load_again(target, [f"{name}={value}" for name, value in values.items()], before)


def _check_effect(setting: Setting) -> None:
    """Raise LabError where the kernel has taken a feature and yet not changed it."""
    if setting.kind != "features":
        return
    now = ethtool_settings.features(setting.target)
    for name, value in setting.values:
        for each in ethtool_settings.meant(setting.target, name):
            if now[each][0] != (value == "on"):
                raise LabError(f"{setting.target}: {each} stayed {'off' if value == 'on' else 'on'}: `{setting.text}`")


def _put_features_back(target: str, before: State) -> bool:
    now = ethtool_settings.wanted_features(target)
    differing = {name: bool(value) for name, value in before.items() if now.get(name) not in {None, value}}
    if differing:
        ethtool_settings.set_features(target, differing)
    return bool(differing)


def _has_interface(ifname: str) -> bool:
    names = {line.partition(":")[0].strip() for line in Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]}
    return ifname in names


# module parameters


def _parameter(module: str, name: str) -> str:
    value = _read_parameter(module, name)
    if value is None:
        why = "has no such parameter" if (MODULES / module).exists() else "is not loaded"
        raise LabError(f"modparam {module}.{name}: the module {module} {why}, or it cannot be read")
    if not os.stat(MODULES / module / "parameters" / name).st_mode & 0o200:  # noqa: PTH116 - one call, no object
        raise LabError(
            f"modparam {module}.{name} can be set only when the module is loaded: use `reload {module} {name}=VALUE`"
        )
    return value


def _read_parameter(module: str, name: str) -> str | None:
    with contextlib.suppress(OSError):
        return (MODULES / module / "parameters" / name).read_text(encoding="utf-8", errors="replace").strip()
    return None


def _write_parameter(module: str, name: str, value: str) -> None:
    try:
        (MODULES / module / "parameters" / name).write_text(value, encoding="utf-8")
    except OSError as refused:
        raise LabError(f"modparam {module}.{name}={value} was refused: {refused.strerror}") from None


# queueing disciplines


def _default_qdisc(ifname: str) -> State:
    """Return an empty state for the kernel's own default; another one could not be put back, and is refused."""
    handle = _root_handle(ifname)
    if handle != "0:":
        raise LabError(
            f"{ifname} has a root qdisc of its own already (handle {handle}), which could not be put back: remove it "
            f"first (tc qdisc del dev {ifname} root)"
        )
    return {}


def _root_handle(ifname: str) -> str:
    done = commands.run(["tc", "-j", "qdisc", "show", "dev", ifname], timeout_s=COMMAND_TIMEOUT_S, error=LabError)
    roots = [each for each in json.loads(done.stdout or b"[]") if each.get("root")]
    return str(roots[0].get("handle", "0:")) if roots else "0:"


# drivers


def _driver_state(module: str, interface: str) -> State:
    """Return the addresses and routes of the host's interface, which a driver that is loaded again has forgotten."""
    if not (MODULES / module).is_dir():
        raise LabError(f"reload {module}: the module is not loaded")
    if not (MODULES / module / "refcnt").exists():
        raise LabError(f"reload {module}: the driver is built into this kernel")
    shown = commands.run(["ip", "-j", "addr", "show", "dev", interface], timeout_s=COMMAND_TIMEOUT_S, error=LabError)
    (link,) = [each for each in json.loads(shown.stdout) if each]
    routes: list[str] = []
    for family in ("-4", "-6"):
        done = commands.run(["ip", family, "route", "show", "dev", interface], timeout_s=COMMAND_TIMEOUT_S)
        routes += [
            f"{family} {line.strip()}" for line in done.stdout.decode().splitlines() if " proto kernel" not in line
        ]
    addresses = [f"{each['local']}/{each['prefixlen']}" for each in link.get("addr_info", [])]
    parameters = {
        path.name: value for path in sorted((MODULES / module / "parameters").glob("*"))
        if (value := _read_parameter(module, path.name)) is not None
    }  # fmt: skip
    return {
        "interface": interface, "up": "UP" in link.get("flags", []), "mtu": link.get("mtu"), "addresses": addresses,
        "routes": routes, "parameters": parameters,
    }  # fmt: skip


def _load_again(module: str, parameters: list[str], before: State) -> None:
    """Unload and load the driver, and give the interface back what it had; without parameters, those of before."""
    run = partial(commands.run, timeout_s=COMMAND_TIMEOUT_S, error=LabError)
    given = parameters or [f"{name}={value}" for name, value in before["parameters"].items() if value != "(null)"]
    if (MODULES / module).is_dir():
        run(["modprobe", "-r", module])
    run(["modprobe", module, *given])
    interface = str(before["interface"])
    if not wait_until(lambda: _has_interface(interface), timeout_s=BACK_TIMEOUT_S, interval_s=0.02):
        raise LabError(f"reload {module}: {interface} did not come back within {BACK_TIMEOUT_S:g} s")
    run(["ip", "link", "set", "dev", interface, "mtu", str(before["mtu"]), "up" if before["up"] else "down"])
    for address in before["addresses"]:
        run(["ip", "addr", "replace", str(address), "dev", interface])
    for route in before["routes"]:
        family, *words = str(route).split()
        run(["ip", family, "route", "replace", *words, "dev", interface])
