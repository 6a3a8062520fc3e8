"""Run directories: made, locked, reopened, and learned from."""
