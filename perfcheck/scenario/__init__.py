"""Scenario files (schema 1): reading with located errors, the matrix, digests, and the JSON Schema for editors."""

from perfcheck.scenario.digest import conditions, digest, workload_digest
from perfcheck.scenario.loader import (
    ScenarioFile,
    find,
    is_scenario,
    load,
    load_all,
    load_text,
    read,
    read_text,
    same_names,
)
from perfcheck.scenario.local_checks import unknown_congestion
from perfcheck.scenario.schema import json_schema
from perfcheck.scenario.suggest import hint
from perfcheck.scenario.sysctls import refusal
from perfcheck.scenario.values import SourcePoint, changed, read_values, sources

__all__ = [
    "ScenarioFile",
    "SourcePoint",
    "changed",
    "conditions",
    "digest",
    "find",
    "hint",
    "is_scenario",
    "json_schema",
    "load",
    "load_all",
    "load_text",
    "read",
    "read_text",
    "read_values",
    "refusal",
    "same_names",
    "sources",
    "unknown_congestion",
    "workload_digest",
]
