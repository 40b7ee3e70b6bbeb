"""Values: regions, tables, observations, collections. Nothing here reads or writes."""
