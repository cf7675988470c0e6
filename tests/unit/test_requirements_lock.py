"""requirements.lock has an exact version of all that pyproject.toml asks for, within its ranges."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.11", "3.12", "3.13")


def locked() -> Sequence[Requirement]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def wanted() -> Iterator[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    yield from map(Requirement, project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        yield from map(Requirement, extra)
    yield from map(Requirement, project["build-system"]["requires"])


def pins(name: str, python: str) -> list[str]:
    """Versions that the lock gives this package on Linux with that Python."""
    environment = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    return [
        specifier.version
        for one in locked()
        if canonicalize_name(one.name) == canonicalize_name(name)
        and (one.marker is None or one.marker.evaluate(environment))
        for specifier in one.specifier
    ]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("requirement", list(wanted()), ids=lambda requirement: requirement.name)
def test_each_dependency_has_one_version_in_its_range(requirement: Requirement, python: str) -> None:
    found = pins(requirement.name, python)
    assert len(found) == 1, f"{requirement.name}: {found}; `make lock` renews requirements.lock"
    assert requirement.specifier.contains(found[0]), f"{requirement} but {found[0]}; `make lock` renews it"


def test_each_version_is_exact() -> None:
    for one in locked():
        assert [specifier.operator for specifier in one.specifier] == ["=="], str(one)
        assert one.url is None, str(one)


def test_what_the_dependencies_need_is_locked_too() -> None:
    """As far as they are installed: what a package of the lock needs is in the lock."""
    names = {canonicalize_name(one.name) for one in locked()}
    for name in sorted(names):
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert canonicalize_name(need.name) in names, f"{name} needs {need}"


def test_no_registry_is_named() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"://|--(index|extra-index|find-links|trusted-host)", text)
