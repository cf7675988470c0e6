"""The command `perfctl`: one set of options on every command."""
