"""The environment of the kernel's driver selftests: who is local, who is remote, and by which addresses.

Their names are NETIF, LOCAL_V4, LOCAL_V6, REMOTE_V4, REMOTE_V6, REMOTE_TYPE (`ssh` or `netns`), REMOTE_ARGS and
REMOTE_IFNAME, in the environment or in a file net.config (tools/testing/selftests/drivers/net/README.rst in Linux).
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from perfcheck.errors import Unavailable, UnreadableFile
from perfcheck.model.scenario import HostSpec, Scenario
from perfcheck.system.bounded_read import read_bounded

CONFIG: Final = "net.config"
NAMES: Final = (
    "NETIF", "LOCAL_V4", "LOCAL_V6", "REMOTE_V4", "REMOTE_V6", "REMOTE_TYPE", "REMOTE_ARGS", "REMOTE_IFNAME",
)  # fmt: skip
_LARGEST_BYTES: Final = 65_536
_HOW: Final = (
    "set it in the environment or in net.config beside the scenario: NETIF=eth1 LOCAL_V4=192.0.2.1 "
    "REMOTE_V4=192.0.2.2 REMOTE_TYPE=ssh REMOTE_ARGS=root@192.0.2.2"
)


def placed(scenario: Scenario, environment: Mapping[str, str] | None = None) -> Scenario:
    """Return the scenario with its `selftest` hosts as the environment names them; Unavailable says what is missing."""
    if all(spec.selftest is None for spec in scenario.hosts.values()):
        return scenario
    known = _known(Path(scenario.file).parent, os.environ if environment is None else environment)
    hosts = {name: spec if spec.selftest is None else _spec(name, spec, known) for name, spec in scenario.hosts.items()}
    return scenario.model_copy(update={"hosts": hosts})


def _known(folder: Path, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return the names that are set: those of the environment go before those of the file."""
    found: dict[str, str] = {}
    for path in (folder / CONFIG, Path(CONFIG)):
        if path.is_file():
            found = _read(path)
            break
    return {**found, **{name: environment[name] for name in NAMES if environment.get(name)}}


def _read(path: Path) -> dict[str, str]:
    try:
        text = read_bounded(path, _LARGEST_BYTES).decode("utf-8", "replace")
        words = shlex.split(text, comments=True)
    except (UnreadableFile, ValueError) as error:
        raise Unavailable(str(path), str(error), "write lines of NAME=VALUE") from None
    pairs = (word.partition("=") for word in words)
    return {name: value for name, equals, value in pairs if equals and name in NAMES}


def _spec(name: str, spec: HostSpec, known: Mapping[str, str]) -> HostSpec:
    """Return the host as the environment names it, checked as if the file had named it."""
    local = spec.selftest == "local"
    addresses = tuple(known[key] for key in (("LOCAL_V4", "LOCAL_V6") if local else ("REMOTE_V4", "REMOTE_V6"))
                      if known.get(key))  # fmt: skip
    given: dict[str, object] = {"address": addresses}
    if local:
        given["interface"] = _needed(name, known, "NETIF")
    else:
        kind = _needed(name, known, "REMOTE_TYPE")
        if kind not in {"ssh", "netns"}:
            raise Unavailable(f"host {name}", f"REMOTE_TYPE={kind} is not understood", "use ssh or netns")
        given[kind] = _needed(name, known, "REMOTE_ARGS")
        given |= {"interface": known["REMOTE_IFNAME"]} if known.get("REMOTE_IFNAME") else {}
        if "interface" not in given and not addresses:
            raise Unavailable(f"host {name}", "neither REMOTE_V4 nor REMOTE_V6 nor REMOTE_IFNAME is set", _HOW)
    try:
        checked = HostSpec.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        why = str(first["msg"]).removeprefix("Value error, ")
        raise Unavailable(f"host {name}", f"{'.'.join(map(str, first['loc']))}: {why}", _HOW) from None
    update = {key: getattr(checked, key) for key in ("address", "interface", "ssh", "netns")}
    return spec.model_copy(update={**update, "selftest": None})


def _needed(host: str, known: Mapping[str, str], name: str) -> str:
    value = known.get(name)
    if not value:
        raise Unavailable(f"host {host}", f"{name} is not set", _HOW)
    return value
