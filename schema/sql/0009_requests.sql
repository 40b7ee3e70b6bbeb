-- Jobs of other services than TAP: bundles, cutouts.
SELECT;
