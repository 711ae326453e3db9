-- The audit: blocks of records, chained. Times are milliseconds since 1970. `bytes` are the records, one a line;
-- `marks` the first 8 bytes of the chain's head after each of them, `head` all of it after the last.
CREATE TABLE audit_blocks (
    first      INTEGER PRIMARY KEY CHECK (first > 0),
    count      INTEGER NOT NULL CHECK (count > 0),
    first_time INTEGER NOT NULL,
    last_time  INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    bytes      BLOB NOT NULL,
    marks      BLOB NOT NULL,
    head       BLOB NOT NULL CHECK (length(head) = 32)
) STRICT;
-- What is counted and chosen by, without the records themselves.
CREATE INDEX audit_blocks_about ON audit_blocks (first, count, size, first_time, last_time);

-- Signed heads: `checkpoint` of what retention removed last, `anchor` of what was shown outside last.
CREATE TABLE audit_heads (
    kind       TEXT PRIMARY KEY CHECK (kind IN ('checkpoint', 'anchor')),
    number     INTEGER NOT NULL,
    head       BLOB NOT NULL CHECK (length(head) = 32),
    time       INTEGER NOT NULL,
    agent      BLOB NOT NULL CHECK (length(agent) = 16),
    public_key BLOB NOT NULL CHECK (length(public_key) = 32),
    signature  BLOB NOT NULL CHECK (length(signature) = 64)
) STRICT;
