"""perfcheck: performance regression and assertion harness for Linux networking."""

__version__ = "0.1.0"
