"""Interventions: what relieves one suspected limit and nothing else, as data, and how a scenario is changed for it."""

from perfcheck.confirm.hosts import HostRelief
from perfcheck.confirm.intervention import Intervention, Move, Sign, read_interventions, shipped_interventions
from perfcheck.confirm.relief import CannotRelieve, LineOf, Relief, relieved

__all__ = [
    "CannotRelieve", "HostRelief", "Intervention", "LineOf", "Move", "Relief", "Sign", "read_interventions",
    "relieved", "shipped_interventions",
]  # fmt: skip
