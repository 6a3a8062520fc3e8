"""Examples: what another package would add to this one."""
