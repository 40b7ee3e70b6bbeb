-- SIA 2.0 compares identifiers without case.

CREATE INDEX observation_did_folded ON archive.observation USING hash (lower(obs_publisher_did));
