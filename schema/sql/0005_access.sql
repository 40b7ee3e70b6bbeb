-- Who may read what: people, tokens, proposals, rows that are closed.
SELECT;
