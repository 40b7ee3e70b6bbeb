"""The only statements: cluster, schema, stores, and streams of Arrow batches."""
