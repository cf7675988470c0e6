"""What a guest's console says of its death."""

from __future__ import annotations

import pytest

from perfcheck.kernels.console import MOST_LINES, death_of, last_lines

PANIC = """[    1.000000] Freeing unused memory
[    2.000000] Kernel panic - not syncing: sysrq triggered crash
[    2.000001] CPU: 0 PID: 1 Comm: init
[    2.000002] Call Trace:
[    2.000003]  panic+0x118/0x2f4
[    2.000004] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---
[    2.000005] Rebooting in 1 seconds..
"""


def test_a_panic_has_its_reason_and_its_stack() -> None:
    death = death_of(PANIC)
    assert death is not None
    assert death.reason == "its kernel panicked: sysrq triggered crash"
    assert death.lines == (
        "Kernel panic - not syncing: sysrq triggered crash", "CPU: 0 PID: 1 Comm: init", "Call Trace:",
        " panic+0x118/0x2f4",
    )  # fmt: skip


def test_an_oops_before_a_panic_is_the_first_thing_told() -> None:
    oops = (
        "[    1.5] BUG: kernel NULL pointer dereference, address: 0000000000000008\n[    1.6] RIP: 0010:tcp_ack+0x10\n"
    )
    death = death_of(oops + PANIC)
    assert death is not None
    assert death.reason.endswith("first: BUG: kernel NULL pointer dereference, address: 0000000000000008")
    assert death.lines[1] == "RIP: 0010:tcp_ack+0x10"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("Out of memory: Killed process 77 (perfcheck)", "it ran out of memory"),
        ("watchdog: BUG: soft lockup - CPU#0 stuck for 22s!", "its kernel failed"),
        ("INFO: task ip:99 blocked for more than 120 seconds.", "its kernel failed"),
    ],
)
def test_other_deaths(line: str, what: str) -> None:
    death = death_of(f"[    3.25] {line}\r\n")
    assert death is not None
    assert death.reason == f"{what}: {line}"


def test_a_quiet_console_tells_of_no_death() -> None:
    assert death_of("[    1.0] all is well\n") is None
    assert death_of("") is None


def test_the_last_lines_are_bounded_and_without_times() -> None:
    lines = last_lines("".join(f"[ {n}.5] line {n}\n" for n in range(200)))
    assert len(lines) == MOST_LINES
    assert lines[-1] == "line 199"
