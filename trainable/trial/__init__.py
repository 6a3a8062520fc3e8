"""A training as a trial: reports, pauses, and the run to the end."""
