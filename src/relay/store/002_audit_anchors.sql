-- The highest head of its audit chain that each agent has shown, signed by it. Time is milliseconds since 1970 by the
-- agent's clock; `seen` is seconds by the relay's.
CREATE TABLE audit_anchors (
    agent     BLOB PRIMARY KEY NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    number    INTEGER NOT NULL,
    head      BLOB NOT NULL CHECK (length(head) = 32),
    time      INTEGER NOT NULL,
    signature BLOB NOT NULL CHECK (length(signature) = 64),
    seen      INTEGER NOT NULL
) STRICT;
