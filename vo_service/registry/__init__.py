"""Registry records: built from settings, YAML, catalogue and collections; checked; read."""
