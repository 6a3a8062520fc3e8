"""Figures of runs and clip stores."""
