"""The command by which kernel people boot the same kernel with virtme-ng (`vng`), to look at a scenario in it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Final

from perfcheck.model.scenario import Scenario

MEMORY: Final = "4G"
"""The default of vng is 1 GB, which is short for the collectors' programs."""
_BUILT: Final = re.compile(r"built tree (?P<path>/.+)")
_IMAGE: Final = re.compile(r"image (?P<path>/.+)")
_CLOUD: Final = "cloud"


def virtme_line(
    scenario: Scenario, *, origin: str, release: str, command_line: Sequence[str] = (), program: str = "perfcheck"
) -> str:
    """Return the command that runs the scenario with all layers in a guest of virtme-ng.

    `origin` is where a kernel of the store came from, as its description says, `release` what `uname -r` says in it.
    A built tree and an image are booted from where they are. Another kernel is named by its release: vng boots one that
    is installed. Empty for Debian's cloud kernels, which do not boot there: they lack 9p. `program` is
    perfcheck's own path: the guest has this machine's files, but not the PATH of the caller's shell.
    """
    if _CLOUD in release.split("-"):
        return ""
    booted = _BUILT.fullmatch(origin) or _IMAGE.fullmatch(origin)
    # With an `=`, so that a word may begin with a dash.
    appended = (f"--append={word}" for word in command_line)
    chosen = ("--select", scenario.label) if scenario.point else ()
    # A guest of vng keeps real time, in which instructions cannot be counted.
    mode = ("--mode", "summary") if scenario.measure.mode == "cost" else ()
    return shlex.join([
        "vng", "--run", booted["path"] if booted else release, "--memory", MEMORY, *appended,
        "--", program, "run", scenario.file, *mode, *chosen,
    ])  # fmt: skip
