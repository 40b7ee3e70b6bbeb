-- Publication: the journal of links, changes of state, volatile products.

-- A product of which a new version came is 'replaced', one whose lifetime is over 'expired'.
ALTER TABLE archive.product DROP CONSTRAINT product_state_check;
UPDATE archive.product SET state = 'replaced' WHERE NOT current;
ALTER TABLE archive.product ADD CONSTRAINT product_state_check
    CHECK (state IN ('arrived', 'public', 'withdrawn', 'expired', 'replaced'));
ALTER TABLE archive.product ADD CONSTRAINT only_the_current_version_counts
    CHECK (current = (state <> 'replaced'));
ALTER TABLE archive.product ADD COLUMN removed timestamptz;
COMMENT ON COLUMN archive.product.removed IS
    'When the file itself was deleted, its lifetime being over';
CREATE INDEX product_expired ON archive.product (collection, product_id)
    WHERE state = 'expired' AND removed IS NULL;
CREATE INDEX product_replaced ON archive.product (collection, path) WHERE NOT current;
CREATE INDEX product_arrived ON archive.product (collection, arrived)
    WHERE state IN ('arrived', 'public');

CREATE TABLE archive.intent (
    product_id bigint PRIMARY KEY REFERENCES archive.product ON DELETE CASCADE,
    old_state  text NOT NULL,
    new_state  text NOT NULL,
    rule       text NOT NULL,
    actor      text NOT NULL,
    reason     text,
    made       timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE archive.intent IS
    'The journal: changes written down before links are touched, deleted with the change of '
    'state; what is found here when nobody works was left by a run that died';

CREATE TABLE archive.state_change (
    change_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product_id bigint NOT NULL REFERENCES archive.product ON DELETE CASCADE,
    changed    timestamptz NOT NULL DEFAULT now(),
    old_state  text NOT NULL,
    new_state  text NOT NULL CHECK (new_state <> old_state),
    rule       text NOT NULL,
    actor      text NOT NULL,
    reason     text
);
CREATE INDEX state_change_product ON archive.state_change (product_id);
CREATE INDEX state_change_changed ON archive.state_change (changed);
COMMENT ON TABLE archive.state_change IS
    'Every change of a product''s state: when, by which rule, by whom; only ever added to';
INSERT INTO archive.state_change (product_id, changed, old_state, new_state, rule, actor)
SELECT product_id, released, 'arrived', 'public', 'before changes were recorded', 'upgrade'
FROM archive.product WHERE state = 'public' AND released IS NOT NULL ORDER BY product_id;

-- What a collection file says if it says nothing.
UPDATE archive.collection SET definition = '{"withdrawn": "hide"}'::jsonb || definition;

GRANT SELECT, INSERT, UPDATE, DELETE ON archive.intent TO vo_writer;
GRANT SELECT, INSERT ON archive.state_change TO vo_writer;
-- To stop downloads under way, the door must see that a file was taken away.
GRANT SELECT (collection, path, current, state) ON archive.product TO vo_door;
