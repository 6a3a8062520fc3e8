"""Run directories as tidy pandas tables."""
