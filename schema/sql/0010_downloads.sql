-- Data servers and the log of downloads.
SELECT;
