"""Access to the machine: commands, time, namespaces, the journal, the fingerprint."""

from perfcheck.system.cleaning import CleanReport, clean
from perfcheck.system.environment import difference, fingerprint, machine_digest
from perfcheck.system.journal import Journal
from perfcheck.system.lock import measuring_lock
from perfcheck.system.rundir import new_tag, run_dir
from perfcheck.system.signals import deferred_signals, stop_on_signals

__all__ = [
    "CleanReport", "Journal", "clean", "deferred_signals", "difference", "fingerprint", "machine_digest",
    "measuring_lock", "new_tag", "run_dir", "stop_on_signals",
]  # fmt: skip
