-- Callers that sign: a key is either a secret's hash or a public key (Ed25519, 32 bytes).
CREATE TABLE caller_keys_new (
    id         TEXT PRIMARY KEY,
    caller     TEXT NOT NULL REFERENCES callers (name) ON DELETE CASCADE,
    hash       BLOB CHECK (length(hash) = 32),
    public_key BLOB UNIQUE CHECK (length(public_key) = 32),
    created    INTEGER NOT NULL,
    expires    INTEGER,
    place      INTEGER NOT NULL,
    CHECK ((hash IS NULL) <> (public_key IS NULL))
) STRICT;
INSERT INTO caller_keys_new (id, caller, hash, created, expires, place)
    SELECT id, caller, hash, created, expires, place FROM caller_keys;
DROP TABLE caller_keys;
ALTER TABLE caller_keys_new RENAME TO caller_keys;
CREATE INDEX caller_keys_caller ON caller_keys (caller, place);

-- The nonces of signed calls, as hashes, until their signatures are over. They outlive their caller: it may come back.
CREATE TABLE nonces (
    caller  TEXT NOT NULL,
    nonce   BLOB NOT NULL CHECK (length(nonce) = 16),
    -- Of the signature, as it was signed. Seconds since 1970.
    expires INTEGER NOT NULL,
    PRIMARY KEY (caller, nonce)
) STRICT, WITHOUT ROWID;
CREATE INDEX nonces_expires ON nonces (expires);

-- One row: no signature that was over by then counts again, whatever the clock says.
CREATE TABLE nonce_floor (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    expires INTEGER NOT NULL
) STRICT;
