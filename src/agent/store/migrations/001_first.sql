-- Who this agent is, how its tunnels last connected, and who may call.

-- One row: what the relay gave at enrolment. `key` is the agent's Ed25519 key, PKCS#8, sealed.
CREATE TABLE identity (
    agent     BLOB PRIMARY KEY CHECK (length(agent) = 16),
    relay_url TEXT NOT NULL,
    relay_key BLOB NOT NULL CHECK (length(relay_key) = 32),
    site      TEXT NOT NULL,
    enrolled  INTEGER NOT NULL,
    key       BLOB NOT NULL
) STRICT;

-- Keys of enrolments that are under way, by the hash of their token; `key` is sealed.
CREATE TABLE enrolling (
    token BLOB PRIMARY KEY CHECK (length(token) = 32),
    key   BLOB NOT NULL
) STRICT;

-- The join state of each tunnel slot; `value` is sealed, since it lets one connect.
CREATE TABLE joins (
    agent   BLOB NOT NULL CHECK (length(agent) = 16),
    slot    INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 255),
    counter INTEGER NOT NULL,
    value   BLOB NOT NULL,
    PRIMARY KEY (agent, slot)
) STRICT;

-- Programs that may call, and their keys. A key is here as a hash only.
CREATE TABLE callers (
    name TEXT PRIMARY KEY
) STRICT;

CREATE TABLE caller_keys (
    id      TEXT PRIMARY KEY,
    caller  TEXT NOT NULL REFERENCES callers (name) ON DELETE CASCADE,
    hash    BLOB NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER,
    place   INTEGER NOT NULL
) STRICT;

CREATE INDEX caller_keys_caller ON caller_keys (caller, place);

-- How often each data key has sealed: random nonces bear 2^32 seals.
CREATE TABLE data_keys (
    version INTEGER PRIMARY KEY,
    seals   INTEGER NOT NULL
) STRICT;
