-- Keys that were sent through the relay, which could have kept them. Of the keys that are there nobody knows any longer, so all that
-- are sent along count as sent through it.
ALTER TABLE caller_keys ADD COLUMN exposed INTEGER NOT NULL DEFAULT 0 CHECK (exposed IN (0, 1));
UPDATE caller_keys SET exposed = 1 WHERE hash IS NOT NULL;
