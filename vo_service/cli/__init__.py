"""The `vo-service` command."""
