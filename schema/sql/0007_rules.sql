-- Release rules: the lists that an operator imports, and what they decided.
SELECT;
