"""Real hosts: machines over ssh, each with an agent (`perfcheck/agent/`) that does there what the lab does here."""
