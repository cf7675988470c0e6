"""An agent needs nothing of its machine but Python, until collectors are asked for."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from importlib.util import MAGIC_NUMBER
from pathlib import Path

from perfcheck.remote import bootstrap

PROGRAM = """
import sys
class None_:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"numpy", "pydantic", "pyroute2", "scipy", "yaml", "bcc"}:
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, None_())
import perfcheck.agent.program
from perfcheck.agent import requests as ask
from perfcheck.agent.codec import decode, encode
from perfcheck.agent.measuring import Measuring
from perfcheck.errors import Unavailable
from perfcheck.model.budget import Budget
from perfcheck.model.observation import Scope
measuring = Measuring(None)
app = ask.Attach(layers=("app",), mode="summary", events=False, budget=Budget(cpu_pct=1.0))
assert measuring.attach(app).names == ()
scope = Scope(namespaces={}, netns_paths={}, warmup_ns=0)
measuring.begin(decode(ask.Begin, encode(ask.Begin(host="a", scope=scope))))
assert encode(measuring.end())["observations"] == []
try:
    measuring.attach(ask.Attach(layers=None, mode="summary", events=False, budget=Budget(cpu_pct=1.0)))
except Unavailable as lacking:
    print(lacking)
"""


def unpacked(folder: Path, bytecode: str = "") -> Path:
    content = bootstrap.package(bytecode)
    with tarfile.open(fileobj=io.BytesIO(content[16:])) as tar:
        # Python before 3.11.4 has no filters; later ones warn without.
        tar.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # noqa: S202 - our own
    return folder


def test_what_is_sent_runs_without_any_library(tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "sent")
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM], env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "collectors there is not available: Python has no numpy" in done.stdout


def test_what_is_sent_has_the_programs_and_sources_but_no_secrets(tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "sent")
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"perfcheck/agent/program.py", "perfcheck/bpf/tcp.bpf.c", "perfcheck/traffic/connections/client.py"} <= names
    assert not [name for name in names if name.endswith((".pyc", ".yaml", ".json")) or "/cli/" in name]


def test_a_python_of_our_kind_is_sent_what_is_compiled(tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "sent", MAGIC_NUMBER.hex())
    for compiled in folder.rglob("*.pyc"):
        source = compiled.parent.parent / f"{compiled.name.partition('.')[0]}.py"
        assert source.is_file()
