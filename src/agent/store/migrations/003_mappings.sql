-- Who is whom: a person as a provider names them, and their account at an application.

-- `user_key` is the account's for good, `user_name` may change. `token` is a personal access token or an access token,
-- `refresh_token` goes with the latter; both are sealed, and both are gone in every state but `active`.
CREATE TABLE mappings (
    upstream      TEXT NOT NULL,
    provider      TEXT NOT NULL,
    subject       TEXT NOT NULL,
    user_key      TEXT NOT NULL,
    user_name     TEXT NOT NULL,
    display_name  TEXT NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('active', 'needs-reauth', 'suspended')),
    reason        TEXT,
    -- Set where an administrator let a second person use the account.
    shared        INTEGER NOT NULL CHECK (shared IN (0, 1)),
    kind          TEXT CHECK (kind IN ('pat', 'oauth')),
    token         BLOB,
    refresh_token BLOB,
    expires       INTEGER,
    scope         TEXT,
    created       INTEGER NOT NULL,
    changed       INTEGER NOT NULL,
    PRIMARY KEY (upstream, provider, subject),
    CHECK ((state = 'active') = (token IS NOT NULL)),
    CHECK (state = 'active' OR refresh_token IS NULL),
    CHECK ((token IS NULL) = (kind IS NULL)),
    CHECK ((kind IS 'oauth') = (expires IS NOT NULL))
) STRICT;

CREATE INDEX mappings_user ON mappings (upstream, user_key);
-- One account, one person, unless an administrator let another one in.
CREATE UNIQUE INDEX mappings_alone ON mappings (upstream, user_key) WHERE shared = 0;
