"""What a link does to packets, as pure models: no clock, no file, no socket."""
