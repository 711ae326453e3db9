-- Attempts of people to link an account. What a browser or a caller must bring is here as a hash only.
-- `verifier` (the OAuth proof key) and `pending` (the proved account and its credential, until the code came back)
-- are sealed; both are gone once an attempt has ended.
CREATE TABLE links (
    id           BLOB PRIMARY KEY CHECK (length(id) = 16),
    caller       TEXT NOT NULL,
    upstream     TEXT NOT NULL,
    provider     TEXT NOT NULL,
    subject      TEXT NOT NULL,
    display_name TEXT,
    stage        TEXT NOT NULL
                 CHECK (stage IN ('open', 'consenting', 'proving', 'proved', 'confirmed', 'ended')),
    ending       TEXT CHECK ((ending IS NULL) = (stage <> 'ended')),
    created      INTEGER NOT NULL,
    url          BLOB NOT NULL UNIQUE CHECK (length(url) = 32),
    browser      BLOB CHECK (length(browser) = 32),
    rounds       INTEGER NOT NULL,
    consent      BLOB UNIQUE CHECK (length(consent) = 32),
    verifier     BLOB,
    pending      BLOB,
    code         BLOB CHECK (length(code) = 32),
    confirmed    INTEGER,
    tries        INTEGER NOT NULL,
    CHECK (stage <> 'ended' OR (verifier IS NULL AND pending IS NULL AND code IS NULL AND consent IS NULL))
) STRICT;

-- A person has one attempt open at a time.
CREATE UNIQUE INDEX links_open ON links (provider, subject) WHERE stage <> 'ended';
CREATE INDEX links_person ON links (provider, subject, created);
