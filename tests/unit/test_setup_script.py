"""`.ci/setup`: what it prints, with apt and pip replaced by programs that print a lot."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci/setup"
NOISE = "WARNING: something that nobody needs to read\n" * 40
INSTALLED = "#!/bin/sh\nprintf 'install ok installed'\n"
NOT_INSTALLED = "#!/bin/sh\nexit 1\n"


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def _noisy(status: int = 0) -> str:
    return f"#!/bin/sh\ncat <<'EOF'\n{NOISE}EOF\necho last words >&2\nexit {status}\n"


@pytest.fixture(name="tree")
def tree_fixture(tmp_path: Path) -> Path:
    """Make a tree with the script, an environment whose pip prints a lot, and a PATH of harmless programs."""
    _program(tmp_path / ".ci/setup", SCRIPT.read_text())
    (tmp_path / "pyproject.toml").touch()
    _program(tmp_path / ".venv/bin/python", _noisy())
    _program(tmp_path / "programs/dpkg-query", INSTALLED)
    _program(tmp_path / "programs/apt-get", _noisy())
    _program(tmp_path / "programs/apt-cache", "#!/bin/sh\n")
    _program(tmp_path / "programs/bpftool", "#!/bin/sh\n")
    _program(tmp_path / "programs/systemctl", "#!/bin/sh\n")
    _program(tmp_path / "programs/sudo", '#!/bin/sh\nexec "$@"\n')
    (tmp_path / "logs").mkdir()
    return tmp_path


def _set_up(tree: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PATH": f"{tree / 'programs'}:{os.environ['PATH']}", "TMPDIR": str(tree / "logs")}
    environ = {name: value for name, value in environ.items() if name not in ("VENV", "VM", "BENCH_TOOLS")}
    return subprocess.run(
        [tree / ".ci/setup"], env=environ, capture_output=True, text=True, check=False, timeout=60
    )  # fmt: skip


def test_what_pip_prints_is_kept_back(tree: Path) -> None:
    done = _set_up(tree)
    assert done.returncode == 0
    assert "WARNING" not in done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) <= 4
    assert any("Python packages" in line and "minutes" in line for line in lines), "it says how long it may take"


def test_what_apt_prints_is_kept_back(tree: Path) -> None:
    _program(tree / "programs/dpkg-query", NOT_INSTALLED)
    done = _set_up(tree)
    assert done.returncode == 0
    assert "WARNING" not in done.stdout + done.stderr
    assert len(done.stdout.splitlines()) <= 4
    assert "iperf3" in done.stdout, "it says what it installs"


@pytest.mark.parametrize("program", ["programs/apt-get", ".venv/bin/python"])
def test_on_failure_all_of_it_is_shown(tree: Path, program: str) -> None:
    _program(tree / "programs/dpkg-query", NOT_INSTALLED)
    _program(tree / program, _noisy(status=7))
    done = _set_up(tree)
    assert done.returncode == 1
    assert NOISE in done.stderr
    assert "last words" in done.stderr
    assert "status 7" in done.stderr.splitlines()[-1]


def test_no_log_is_left_behind(tree: Path) -> None:
    _set_up(tree)
    assert not list((tree / "logs").iterdir())


def test_a_second_run_says_nothing(tree: Path) -> None:
    _program(tree / ".venv/bin/perfcheck", "#!/bin/sh\n")
    _set_up(tree)
    again = _set_up(tree)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
