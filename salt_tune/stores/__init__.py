"""The jobs of `prepare`: build, maintain and inspect a clip store."""
