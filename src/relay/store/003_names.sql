-- Customers' own names whose TLS passes the relay unopened. Names in the operator's zone are in no table.
CREATE TABLE names (
    name    TEXT PRIMARY KEY NOT NULL,
    site    TEXT NOT NULL REFERENCES sites (name) ON DELETE CASCADE,
    level   TEXT NOT NULL CHECK (level IN ('customer')),
    created INTEGER NOT NULL
) STRICT;
CREATE INDEX names_by_site ON names (site);
