"""A training as a trial: budget, reports, pauses, and the run to the end."""
