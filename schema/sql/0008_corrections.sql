-- Header corrections.
SELECT;
