"""A signal ends a command of perfcheck in order wherever it comes, not only within a measurement."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

COMMAND = """
import argparse, signal, sys
from perfcheck import cli
from perfcheck.cli import arguments

def write_reports(_arguments):
    try:
        signal.raise_signal({number})
    finally:
        print("written", flush=True)

arguments.parse = lambda _words: argparse.Namespace(command=write_reports)
sys.exit(cli.main(["run"]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_outside_of_a_measurement_is_told_and_lets_what_is_open_be_closed(number: signal.Signals) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND.format(number=int(number))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert done.stdout == "written\n"
    assert f"perfcheck: stopped by {number.name}" in done.stderr
