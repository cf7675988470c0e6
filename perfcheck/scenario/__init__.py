"""Scenario files (schema 1): reading with located errors, the matrix, digests, and the JSON Schema for editors."""

from perfcheck.scenario.digest import conditions, digest, workload_digest
from perfcheck.scenario.here import unknown_congestion
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
from perfcheck.scenario.schema import json_schema
from perfcheck.scenario.sysctls import refusal

__all__ = [
    "ScenarioFile",
    "conditions",
    "digest",
    "find",
    "is_scenario",
    "json_schema",
    "load",
    "load_all",
    "load_text",
    "read",
    "read_text",
    "refusal",
    "same_names",
    "unknown_congestion",
    "workload_digest",
]
