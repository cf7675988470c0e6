"""What a scenario's commands name goes into the guest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from perfcheck.errors import LabError
from perfcheck.model.scenario import Scenario
from perfcheck.runner import guest_needs
from perfcheck.runner.guest_needs import needs_of
from perfcheck.testing import make_scenario


def commanded(run: str, setup: str = "true", server: str | None = None) -> Scenario:
    served = {} if server is None else {"server": {"host": "server", "run": server, "port": 80}}
    return make_scenario(
        hosts={"client": {"setup": [setup]}, "server": {}},
        traffic=[{"command": {"host": "client", "run": run, **served}}],
    )


def test_programs_of_all_commands(tmp_path: Path) -> None:
    scenario = commanded("sleep 1", setup="sh -c true", server="cat")
    found = needs_of(scenario, tmp_path)
    assert [path.name for path in found.programs] == ["sh", "sleep", "cat"]
    assert found.files == ()


def test_scripts_and_data_by_relative_and_whole_names(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "ask.py").write_text("")
    (tmp_path / "data.json").write_text("")
    scenario = commanded(f"python3 tools/ask.py --from={tmp_path}/data.json {{server}} missing.txt")
    assert needs_of(scenario, tmp_path).files == (tmp_path / "tools" / "ask.py", tmp_path / "data.json")


def test_a_folder_brings_what_is_in_it_but_never_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("")
    scenario = commanded("cat site . /")
    assert needs_of(scenario, tmp_path).files == (tmp_path / "site" / "index.html",)


def test_a_program_that_is_not_installed_is_left_to_the_run(tmp_path: Path) -> None:
    assert needs_of(commanded("no-such-program-here"), tmp_path).programs == (Path(str(shutil.which("true"))),)


def test_more_than_a_guest_has_room_for_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "big").write_bytes(b"x" * 3_000_000)
    monkeypatch.setattr(guest_needs, "MOST_BYTES", 1 << 20)
    with pytest.raises(LabError, match="its commands name 2 MB of files, and a guest has room for 1 MB"):
        needs_of(commanded("cat big"), tmp_path)


def test_a_trace_goes_along(tmp_path: Path) -> None:
    trace = tmp_path / "lte.trace"
    trace.write_text("1\n2\n")
    link = {"between": ["client", "server"], "trace": "lte.trace"}
    scenario = make_scenario(links=[link])
    found = scenario.links[0].trace
    assert found is not None
    placed = scenario.links[0].model_copy(update={"trace": found.model_copy(update={"path": str(trace)})})
    assert needs_of(scenario.model_copy(update={"links": (placed,)}), tmp_path).files == (trace,)
