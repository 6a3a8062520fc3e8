"""Replays learning curves that are known already through schedulers and searchers, on a simulated clock."""
