"""The user-space emulator: one process a link carries frames between two TAP devices."""
