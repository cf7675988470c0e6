"""Counters that the kernel keeps in any case: netlink, /proc, SNMP."""
