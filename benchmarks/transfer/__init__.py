"""How well early signals of a training predict what a long run comes to: measured, see `__main__`."""
