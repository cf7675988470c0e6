"""The IP layer: routes, connection tracking, Open vSwitch."""
