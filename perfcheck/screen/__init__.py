"""The terminal screen of perfctl: connections, their course and what limits them, live or from a recording."""
