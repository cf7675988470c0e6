"""The desk and its two machines for tests of real hosts, and scenarios that name them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template

import ssh_machines
from lab_building import do_without
from ssh_machines import Desk

from perfcheck.errors import Unavailable
from perfcheck.model.scenario import Scenario
from perfcheck.scenario import load_text


@contextmanager
def desk_with(folder: Path, *words: str) -> Iterator[Desk]:
    """Make the machines, or do without where sshd is not installed; `words` say what machine b lacks."""
    why = ssh_machines.lacking()
    if why is not None:
        do_without(Unavailable("two machines with sshd", why, "apt-get install openssh-server openssh-client"))
    with ssh_machines.two_machines(folder, *words) as made:
        yield made


def write(desk: Desk, name: str, text: str) -> None:
    """Write a scenario at the desk, in which $a, $b and $python stand for the machines and a Python with numpy."""
    (desk.folder / name).write_text(_filled(desk, text))


def scenario_of(desk: Desk, text: str) -> Scenario:
    """Read such a text."""
    (scenario,) = load_text(_filled(desk, text), "machines.yaml")
    return scenario


def _filled(desk: Desk, text: str) -> str:
    words = {each: machine.address for each, machine in desk.machines.items()}
    return Template(text).substitute(python=sys.executable, **words)
