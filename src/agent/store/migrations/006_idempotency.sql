-- Calls with an `Idempotency-Key`. `key` is a hash; times are milliseconds since 1970. What became of a call is
-- written whole at its end; `ended` is empty as long as it is under way.
CREATE TABLE idempotency (
    caller        TEXT NOT NULL,
    upstream      TEXT NOT NULL,
    key           BLOB NOT NULL CHECK (length(key) = 32),
    first_request BLOB NOT NULL CHECK (length(first_request) = 16),
    head          BLOB NOT NULL CHECK (length(head) = 32),
    ended         INTEGER,
    body_length   INTEGER NOT NULL DEFAULT 0,
    body_whole    INTEGER NOT NULL DEFAULT 0 CHECK (body_whole IN (0, 1)),
    body_digest   BLOB CHECK (length(body_digest) = 32),
    state         TEXT NOT NULL DEFAULT 'in-flight' CHECK (state IN ('in-flight', 'answered', 'gone', 'unknown')),
    status        INTEGER,
    note          TEXT,
    -- Bytes of `fields` and `content`.
    size          INTEGER NOT NULL DEFAULT 0,
    fields        BLOB,
    content       BLOB,
    PRIMARY KEY (caller, upstream, key),
    CHECK ((state = 'in-flight') = (ended IS NULL))
) STRICT;
CREATE INDEX idempotency_ended ON idempotency (ended);
