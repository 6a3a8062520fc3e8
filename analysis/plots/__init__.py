"""Figures of clip stores, and how figures look: `analysis.plots.store`, `analysis.plots.style`."""
