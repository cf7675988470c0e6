"""The README's example in Python, as it stands there, on the fake runner."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugin_suite import Suite

pytest_plugins = ("pytester", "plugin_suite")

README = Path(__file__).parents[2] / "README.md"


def test_the_example_runs(suite: Suite) -> None:
    blocks = dict(
        re.findall(r"^```[a-z]+\n# my-scenarios/(\S+)\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    )
    folder = suite.pytester.mkdir("my-scenarios")
    for name in ("office.yaml", "test_office.py"):
        (folder / name).write_text(blocks[name])
    result = suite.run_at("my-scenarios/test_office.py")
    result.assert_outcomes(passed=1)
    assert suite.calls() == ["office-upload"]
    result.stdout.fnmatch_lines(["office-upload * tcp.rtt_us.p99 * < 80ms * PASS"])
