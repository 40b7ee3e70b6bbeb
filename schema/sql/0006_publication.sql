-- Publication: the journal of links, changes of state, volatile products.
SELECT;
