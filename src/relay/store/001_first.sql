-- Times are whole seconds since 1970; keys and hashes are raw bytes.
CREATE TABLE sites (
    name    TEXT PRIMARY KEY NOT NULL,
    created INTEGER NOT NULL,
    paused  INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One-time secrets by which an agent becomes known. Only the hash is here.
CREATE TABLE registrations (
    secret_hash BLOB PRIMARY KEY NOT NULL,
    site        TEXT NOT NULL REFERENCES sites (name) ON DELETE CASCADE,
    role        TEXT NOT NULL CHECK (role IN ('active', 'standby')),
    created     INTEGER NOT NULL,
    expires     INTEGER NOT NULL,
    used_at     INTEGER
) STRICT;

CREATE TABLE agents (
    id         BLOB PRIMARY KEY NOT NULL,
    site       TEXT NOT NULL REFERENCES sites (name) ON DELETE CASCADE,
    public_key BLOB NOT NULL UNIQUE,
    role       TEXT NOT NULL CHECK (role IN ('active', 'standby')),
    software   TEXT NOT NULL,
    created    INTEGER NOT NULL,
    revoked_at INTEGER,
    note       TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX agents_by_site ON agents (site);
-- Of a site's agents one is active.
CREATE UNIQUE INDEX agents_one_active ON agents (site) WHERE role = 'active' AND revoked_at IS NULL;

-- What the agent must know at its next connect, for each of its tunnel slots.
CREATE TABLE join_states (
    agent            BLOB NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    slot             INTEGER NOT NULL,
    accepted_counter INTEGER,
    accepted_hash    BLOB,
    pending_counter  INTEGER,
    pending_hash     BLOB,
    PRIMARY KEY (agent, slot)
) STRICT;

-- What an operator must look at. One row for an agent and a kind, however often it happens.
CREATE TABLE alarms (
    agent    BLOB NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    kind     TEXT NOT NULL,
    first_at INTEGER NOT NULL,
    last_at  INTEGER NOT NULL,
    count    INTEGER NOT NULL,
    detail   TEXT NOT NULL,
    PRIMARY KEY (agent, kind)
) STRICT;
