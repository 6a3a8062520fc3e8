"""What is searched: parameters, conditions, the objective and the schedule, from a YAML file."""
