"""What a scenario sets on the agent's machine, and its undo: journalled there, so that it outlives the connection."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Final

from perfcheck.agent.requests import Apply, Ran, Restored, Run
from perfcheck.errors import LabError
from perfcheck.model.setting import Setting
from perfcheck.system import Journal, device_settings, new_tag, sysctl
from perfcheck.system.clock import wait_until

SETUP_TIMEOUT_S: Final = 30.0
CARRIER_TIMEOUT_S: Final = 15.0
"""A link that was set anew has to be negotiated again, which takes seconds at 10 Gbit/s."""

RunCommand = Callable[[Run], Ran]
HasCarrier = Callable[[str], bool]
Key = tuple[object, ...]


class SettingUp:
    """The settings that are in force, in two parts with a journal each: what `setup` did, and single values.

    The sides of a comparison differ in values alone, so that what `setup` has started goes on running when they change.
    """

    def __init__(self, run: RunCommand, has_carrier: HasCarrier) -> None:
        """Set nothing yet; `run` runs a command of the file's, `has_carrier` says whether an interface's link is up."""
        self._run = run
        self._has_carrier = has_carrier
        self._commands = _Part()
        self._values = _Part()

    def apply(self, wanted: Apply) -> None:
        """Bring the machine to what is wanted; LabError says what was refused, and all is then as it was."""
        commands: Key = (wanted.setup, wanted.teardown)
        values: Key = (wanted.interface, tuple(wanted.sysctls.items()), wanted.settings)
        try:
            if self._values.key != values or self._commands.key != commands:
                self._restore_or_raise(self._values)
            if self._commands.key != commands:
                self._restore_or_raise(self._commands)
                journal = self._commands.begin(commands)
                self._run_setup(journal, wanted)
            if self._values.key != values:
                self._set_values(self._values.begin(values), wanted)
        except BaseException:
            self.restore()
            raise

    def restore(self) -> Restored:
        """Undo all that was set, the values first; what could not be put back is told."""
        return Restored(failed=(*self._values.end(), *self._commands.end()))

    def _restore_or_raise(self, part: _Part) -> None:
        failed = part.end()
        if failed:
            raise LabError(f"settings could not be put back: {'; '.join(failed)}")

    def _run_setup(self, journal: Journal, wanted: Apply) -> None:
        for command in reversed(wanted.teardown):
            journal.note("command", command)
        for command in wanted.setup:
            ran = self._run(Run(argv=tuple(shlex.split(command)), timeout_s=SETUP_TIMEOUT_S))
            if ran.status != 0:
                said = (ran.stderr or ran.stdout).decode(errors="replace").strip()[-2000:]
                raise LabError(f"setup `{command}` failed with status {ran.status}: {said}")

    def _set_values(self, journal: Journal, wanted: Apply) -> None:
        for key, value in wanted.sysctls.items():
            _set_sysctl(journal, key, value)
        carried = self._has_carrier(wanted.interface)
        for text in wanted.settings:
            device_settings.apply(journal, Setting.parse(text), wanted.interface)
        if carried and not wait_until(
            lambda: self._has_carrier(wanted.interface), timeout_s=CARRIER_TIMEOUT_S, interval_s=0.02
        ):
            raise LabError(f"{wanted.interface} has no carrier {CARRIER_TIMEOUT_S:g} s after it was set up")


class _Part:
    """One journal's worth of settings, and what they were made from."""

    def __init__(self) -> None:
        self.key: Key | None = None
        self._journal: Journal | None = None

    def begin(self, key: Key) -> Journal:
        """Return a journal of its own for what is set now."""
        self._journal = Journal.create(new_tag())
        self.key = key
        return self._journal

    def end(self) -> tuple[str, ...]:
        """Undo what was set; what failed is told, a line each. A note that could not be undone stays in its journal."""
        journal, self._journal, self.key = self._journal, None, None
        if journal is None:
            return ()
        outcomes = journal.close()
        return tuple(str(each) for each in outcomes if each.outcome == "failed" or each.reason)


def _set_sysctl(journal: Journal, key: str, value: str) -> None:
    sysctl.set_host_wide(journal, key, value, permitted=True)
    now = sysctl.read(key)
    if now is not None and now != sysctl.tokens(value):
        raise LabError(f"{key}={value} was changed by the kernel to {' '.join(now)}")
