"""Labs for tests that care about hosts and not about links."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest

from perfcheck.errors import Unavailable
from perfcheck.lab import Lab
from perfcheck.lab.links.veth import VethEmulator
from perfcheck.system import Journal, commands, new_tag
from perfcheck.testing import make_scenario

REQUIRE_VARIABLE: Final = "PERFCHECK_REQUIRE_KERNEL"
BuildLab = Callable[..., AbstractContextManager[Lab]]


def do_without(lacking: Unavailable) -> NoReturn:
    """Skip what the machine lacks the ground for, or fail where CI demands that it be there."""
    if os.environ.get(REQUIRE_VARIABLE) == "1":
        pytest.fail(f"{REQUIRE_VARIABLE}=1, but {lacking}", pytrace=False)
    pytest.skip(str(lacking))


def need_program(name: str, package: str) -> None:
    """Skip, or fail where CI demands it, without a program that only the tests need (`TESTS=1 .ci/setup`)."""
    try:
        commands.find(name)
    except Unavailable:
        do_without(Unavailable(name, "there is no such command in PATH", f"apt-get install {package}"))


def need_guest() -> None:
    """Skip what would change the whole machine, unless that is a guest of the kernel lab."""
    if "perfcheck.layout=" not in Path("/proc/cmdline").read_text(encoding="utf-8"):
        pytest.skip("changes the whole machine: only for a guest (make vm)")


@contextmanager
def plain_lab(*, host_wide: bool = False, **fields: Any) -> Iterator[Lab]:
    """Build a lab from Scenario's fields: two hosts and a plain link where nothing else is said."""
    scenario = make_scenario(**{"links": [{"between": ["client", "server"]}], "traffic": [], **fields})
    emulators = {"veth": VethEmulator()}
    with Journal.create(new_tag()) as journal, Lab(scenario, journal, emulators, host_wide=host_wide) as lab:
        lab.apply_settings()
        yield lab
