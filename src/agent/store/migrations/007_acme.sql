-- Accounts at certificate authorities (RFC 8555). One row a directory; `key` (PKCS #8) is sealed.
CREATE TABLE acme_accounts (
    directory  TEXT PRIMARY KEY,
    uri        TEXT NOT NULL,
    key        BLOB NOT NULL,
    identities TEXT NOT NULL, -- what the authority calls itself in CAA records, one a line
    contact    TEXT NOT NULL, -- as told to the authority, one a line
    created    INTEGER NOT NULL
) STRICT;

-- Certificates by ACME, and their keys (PKCS #8, sealed). One row a name. `next_key` takes the place of `key` with the
-- first certificate that is for it.
CREATE TABLE acme_certificates (
    name      TEXT PRIMARY KEY,
    key       BLOB NOT NULL,
    next_key  BLOB,
    chain     TEXT, -- PEM, the certificate itself first
    directory TEXT, -- of the authority that issued it
    issued    INTEGER
) STRICT;

-- What came of the tries since the last success: no restart begins from nought.
CREATE TABLE acme_tries (
    name          TEXT PRIMARY KEY,
    failures      INTEGER NOT NULL,
    not_before    INTEGER NOT NULL,
    refused_until INTEGER NOT NULL,
    error         TEXT,
    tried         INTEGER NOT NULL
) STRICT;

-- When orders were made, for the bound of a day.
CREATE TABLE acme_orders (
    number INTEGER PRIMARY KEY,
    name   TEXT NOT NULL,
    made   INTEGER NOT NULL
) STRICT;
