"""One command a figure that the README or the closing notes quote; results lie in `results/`."""
