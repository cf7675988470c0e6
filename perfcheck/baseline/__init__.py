"""Baselines: earlier sessions of each scenario, kept as files that people can read and compare line by line."""

from perfcheck.baseline.git_ref import baselines_at, checked_ref
from perfcheck.baseline.history import HistoryStore
from perfcheck.baseline.matching import lookup_of
from perfcheck.baseline.sessions import baseline_of
from perfcheck.baseline.store import BaselineStore

__all__ = ["BaselineStore", "HistoryStore", "baseline_of", "baselines_at", "checked_ref", "lookup_of"]
