"""Hosts as network namespaces, links between them, and the settings of both."""

from perfcheck.lab.lab import Lab, plan

__all__ = ["Lab", "plan"]
