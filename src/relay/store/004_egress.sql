-- Hosts that a site may reach through the relay, beside those that the configuration lets every site reach.
CREATE TABLE egress (
    site    TEXT    NOT NULL REFERENCES sites (name) ON DELETE CASCADE,
    host    TEXT    NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (site, host)
) STRICT, WITHOUT ROWID;
