use super::*;

fn status() -> Status {
    let tunnel = |slot, connected, binding: Option<&str>| TunnelStatus {
        slot,
        connected,
        since: Some("2026-01-02T03:04:05Z".to_owned()),
        role: Some("active".to_owned()),
        binding: binding.map(str::to_owned),
        outer: binding.map(|_| OuterStatus {
            subject: "CN=relay.example.com".to_owned(),
            issuer: "CN=Corp inspection".to_owned(),
            sha256: "ab".repeat(32),
        }),
        round_trip_ms: Some(1.25),
        streams: 3,
        error: (!connected).then(|| "connection refused".to_owned()),
        next_try_seconds: Some(7),
        losses: 2,
        last_loss: Some("2026-01-02T03:04:05Z, cut off".to_owned()),
    };
    Status {
        version: "0.1.0".to_owned(),
        started: "2026-01-02T03:04:04Z".to_owned(),
        pid: 7,
        process: ProcessStatus { no_core_file: true, closed: false },
        paused: true,
        calls: 3,
        config: ConfigStatus {
            file: "/etc/outhaul/agent.toml".to_owned(),
            loaded: "2026-01-02T03:04:04Z".to_owned(),
            error: Some("line 3: unknown key".to_owned()),
            restart_needed: vec!["relay.url".to_owned()],
        },
        relay: RelayStatus {
            url: "wss://relay.example.com".to_owned(),
            site: Some("acme".to_owned()),
            agent: Some("x".to_owned()),
            tunnels: vec![tunnel(0, true, Some("inner-tls")), tunnel(1, false, None)],
        },
        egress: EgressStatus {
            way: "relay".to_owned(),
            connections: 2,
            bytes_today: 17,
            unreached: vec![UnreachedStatus {
                host: "login.example.com:443".to_owned(),
                since: "2026-01-02T03:04:05Z".to_owned(),
                why: "login.example.com:443 is not reached: it is down".to_owned(),
            }],
        },
        pass_through: PassThroughStatus::default(),
        upstreams: vec![UpstreamStatus {
            name: "jira".to_owned(),
            base_url: "https://jira.example".to_owned(),
            health: "down".to_owned(),
            nodes: vec![NodeStatus {
                url: "http://127.0.0.1:8080".to_owned(),
                health: "down".to_owned(),
                detail: Some("connection refused".to_owned()),
            }],
        }],
        policy: PolicyStatus { rules: 2, denials: 1, accept_relay_trust: 3, digest: String::new() },
        callers: 1,
        issuers: vec![
            IssuerStatus {
                name: "entra".to_owned(),
                usable: true,
                keys: 6,
                age_seconds: Some(7300),
                error: Some("no route".to_owned()),
                ignored: vec!["key “x”: weak".to_owned()],
                ..IssuerStatus::default()
            },
            IssuerStatus { name: "own".to_owned(), ..IssuerStatus::default() },
        ],
        idempotency: IdempotencyStatus {
            keys: 2,
            max_keys: 100,
            answer_bytes: 1500,
            max_answer_bytes: 64 << 20,
        },
        store: StoreStatus { resealing: true, key_exposed: true },
        audit: AuditStatus { error: Some("the disk is full".to_owned()), lost: 4, ..AuditStatus::default() },
        certificates: None,
    }
}

#[test]
fn what_is_wrong_is_loud() {
    let text = status().text();
    for word in [
        "PAUSED",
        "TLS IS INSPECTED",
        "certificate  CN=relay.example.com",
        "issued by    CN=Corp inspection",
        "2 rules, 1 that deny",
        "3 accept the relay's word",
        "THE CONFIGURATION FILE IS WRONG",
        "RESTART NEEDED for changes to relay.url",
        "sealed anew",
        "NO RECORD CAN BE WRITTEN",
        "4 records are lost",
        "COMES FROM THE ENVIRONMENT",
        "MEMORY NOT CLOSED",
        "tunnel 0  connected since 2026-01-02T03:04:05Z, active, INNER TLS, round trip 1.2 ms, 3 streams",
        "lost 2 times before; last at 2026-01-02T03:04:05Z, cut off",
        "tunnel 1  not connected: connection refused; next try in 7 s",
        "http://127.0.0.1:8080  down (connection refused)",
        "Issuer   entra  6 keys, fetched 2 h ago",
        "they can't be fetched now: no route",
        "not used: key “x”: weak",
        "Issuer   own  NO KEYS",
        "Egress   relay, 2 connections, 17 B today",
        "NOT REACHED, 2026-01-02T03:04:05Z: login.example.com:443 is not reached: it is down",
        "Keys     2 of 100 remembered, answers of 1500 B of 64 MB",
    ] {
        assert!(text.contains(word), "{word} in\n{text}");
    }
}

#[test]
fn what_is_right_is_quiet() {
    let mut status = status();
    status.paused = false;
    status.config.error = None;
    status.audit.error = None;
    status.process.closed = true;
    status.config.restart_needed.clear();
    status.relay.tunnels.truncate(1);
    status.relay.tunnels[0].binding = Some("direct".to_owned());
    let text = status.text();
    assert!(
        !text.contains("PAUSED")
            && !text.contains("INSPECTED")
            && !text.contains("RECORD CAN")
            && !text.contains("NEEDED"),
        "{text}"
    );
    assert!(text.contains("no core dumps") && !text.contains("NOT CLOSED"), "{text}");
}
