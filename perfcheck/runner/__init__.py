"""The only place where the stages meet: a scenario goes in, a RunRecord comes out."""

from perfcheck.runner.options import RunOptions
from perfcheck.runner.session import Runner

__all__ = ["RunOptions", "Runner"]
