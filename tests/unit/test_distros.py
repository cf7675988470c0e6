"""`make distros`: this machine's sources for another Debian, and what two distributions decided."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import chroot
import pytest
import verdicts

DEB822 = """Types: deb
URIs: http://archive.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://archive.example/security
Suites: bookworm-security
Components: main
"""


def etc(folder: Path, files: dict[str, str]) -> Path:
    (folder / "sources.list.d").mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_sources_are_this_machines_with_the_suite_exchanged(tmp_path: Path) -> None:
    found = chroot.apt_sources(etc(tmp_path, {"sources.list.d/debian.sources": DEB822}), "bookworm", "trixie")
    text = found["sources.list.d/debian.sources"]
    assert "Suites: trixie trixie-updates" in text
    assert "Suites: trixie-security" in text
    assert "bookworm" not in text
    assert chroot.mirror(found) == "http://archive.example/debian"


def test_sources_of_others_and_files_that_apt_does_not_read_stay_out(tmp_path: Path) -> None:
    files = {
        "sources.list": "deb [trusted=yes] http://archive.example/debian bookworm main\n",
        "sources.list.d/other.list": "deb https://other.example tool-bookworm main\n",
        "sources.list.d/debian.sources.disabled": DEB822,
    }
    found = chroot.apt_sources(etc(tmp_path, files), "bookworm", "trixie")
    assert found == {"sources.list": "deb [trusted=yes] http://archive.example/debian trixie main\n"}
    assert chroot.mirror(found) == "http://archive.example/debian"


def test_on_another_distribution_debootstrap_takes_its_own_mirror(tmp_path: Path) -> None:
    found = chroot.apt_sources(
        etc(tmp_path, {"sources.list": "deb http://archive.example/ubuntu noble main\n"}), "noble", "trixie"
    )
    assert found == {}
    assert chroot.mirror(found) is None


def test_only_settings_of_registries_reach_a_chroot(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in tuple(os.environ):
        monkeypatch.delenv(name)
    for name in ("PIP_INDEX_URL", "https_proxy", "SSL_CERT_FILE", "PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS", "PATH"):
        monkeypatch.setenv(name, "x")
    found = chroot.environment()
    assert {"PIP_INDEX_URL", "https_proxy", "SSL_CERT_FILE"} <= found.keys()
    assert not {"PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS"} & found.keys()
    assert found["PATH"] == chroot.SYSTEM_PATH


def record(name: str, verdict: str, lines: dict[str, str], decided: str = "path") -> dict[str, Any]:
    return {
        "scenario": {"name": name}, "verdict": verdict, "diagnosis": [{"cause": "healthy"}],
        "metrics": {metric: {"decided_by": decided} for metric in lines},
        "expectations": [{"metric": metric, "expected": "<= 1", "verdict": found} for metric, found in lines.items()],
        "comparisons": [],
    }  # fmt: skip


def decided(folder: Path, *records: dict[str, Any]) -> dict[str, verdicts.Decided]:
    file = folder / "records.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    return verdicts.read(file)


def test_differences_are_those_of_what_the_path_decides(tmp_path: Path) -> None:
    one = decided(tmp_path, record("a", "PASS", {"m": "PASS"}), record("b", "PASS", {"n": "PASS"}, "machine"))
    other = decided(tmp_path, record("a", "FAIL", {"m": "FAIL"}), record("b", "FAIL", {"n": "FAIL"}, "machine"))
    assert verdicts.differences(one, other) == ["a: expect m <= 1: PASS and FAIL"]
    assert verdicts.differences(one, one) == []


def test_what_could_not_be_decided_is_no_difference_but_a_missing_scenario_is(tmp_path: Path) -> None:
    one = decided(tmp_path, record("a", "PASS", {"m": "PASS"}), record("b", "PASS", {}))
    other = decided(tmp_path, record("a", "INCONCLUSIVE", {"m": "INCONCLUSIVE"}))
    assert verdicts.differences(one, other) == ["b: measured in one only"]


def test_a_line_about_the_diagnosis_counts(tmp_path: Path) -> None:
    one, other = record("a", "PASS", {}), record("a", "FAIL", {})
    for each, verdict in ((one, "PASS"), (other, "FAIL")):
        each["expectations"] = [{"metric": "diagnosis", "expected": "none", "verdict": verdict}]
    found = verdicts.differences(decided(tmp_path, one), decided(tmp_path, other))
    assert found == ["a: expect diagnosis none: PASS and FAIL"]


def test_what_cannot_be_tried_is_said_before_anything_is_made() -> None:
    done = subprocess.run(
        [sys.executable, Path(chroot.__file__).with_name("distros.py")],
        check=False, capture_output=True, text=True, timeout=30, env={**os.environ, "DISTROS": "sid trixie"},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "make distros: DISTROS: sid is not one of bookworm, trixie\n"
