"""The course of one search: what is next, what a report means, what a resumed search knows."""
