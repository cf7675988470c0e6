"""What runs on another machine, sent there over ssh: commands, settings, collectors and probes, and their undo."""
