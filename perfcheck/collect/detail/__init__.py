"""Detail mode: a record for each packet that is followed."""
