"""String pairs of a request to typed values."""
