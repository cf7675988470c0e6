"""The fault matrix: known causes injected by known means, each beside a healthy twin (docs/faults.md)."""

from perfcheck.faults.combination import Combination, combinations, interleaved
from perfcheck.faults.loading import Library, default_folder, load_library
from perfcheck.faults.moved import Moved, moved_by

__all__ = [
    "Combination",
    "Library",
    "Moved",
    "combinations",
    "default_folder",
    "interleaved",
    "load_library",
    "moved_by",
]
