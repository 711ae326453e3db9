-- Secrets of service accounts that were given by `credential set`. One row a service; `secret` is sealed.
CREATE TABLE services (
    name    TEXT PRIMARY KEY,
    kind    TEXT NOT NULL CHECK (kind IN ('pat', 'password', 'client-secret')),
    secret  BLOB NOT NULL,
    set_at  INTEGER NOT NULL,
    expires INTEGER
) STRICT;
