//! Answers of an agent that lies, as a caller at the relay sees them.

use std::time::Duration;

use outhaul::common::tasks::Tasks;
use outhaul::tunnel::frame::{END_STREAM, Frame, Kind};

use super::liar_agent::{LiarAgent, calling, honest, is_reset};
use super::site::peak_memory;
use super::wire::{Said, answer_head, flagged, frame, put_fields};
use crate::support::door::Version;
use crate::support::odd_upstream::wire::find;
use crate::support::world::{SITE, host};

const HIDDEN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nx-hidden: 1\r\n\r\nhidden";

/// One lie: its name, the method it answers, and the frames of the answer; their stream is put in.
type Lie = (&'static str, &'static str, Vec<Frame>);

fn lies() -> Vec<Lie> {
    let mut all: Vec<Lie> = Vec::new();
    let data = || flagged(Kind::Data, END_STREAM, 0, HIDDEN);
    let head = |status: u16, fields: &[(&[u8], &[u8])]| frame(Kind::Head, 0, answer_head(status, fields));
    let mut split = |name, field: &[u8], value: &[u8]| {
        all.push((name, "GET", vec![head(200, &[(field, value)]), data()]));
    };
    for value in [
        &b"1\r\nx-hidden: 1"[..],
        b"1\r\n\r\nHTTP/1.1 200 OK\r\n",
        b"1\nx-hidden: 1",
        b"1\rx",
        b"1\0",
        b"\x01",
    ] {
        split("a value that ends its line", b"x-a", value);
        split("such a Location", b"location", value);
    }
    for name in [&b"x\r\nx-hidden"[..], b"x: 1\r\nx-hidden", b"x ", b"", b"x\0", b"x:"] {
        split("a name that ends its line", name, b"1");
    }
    for length in
        [&b"0"[..], b"5", b"+0", b"+5", b"-1", b"0x5", b"5, 5", b" 5", b"", b"1e1", b"99999999999999999999"]
    {
        split("a length that is not the body's", b"content-length", length);
    }
    split("a coding of the connection's", b"transfer-encoding", b"chunked");
    split("an unknown coding", b"transfer-encoding", b"x");
    split("an upgrade", b"upgrade", b"h2c");
    split("a connection kept", b"connection", b"keep-alive, content-length");
    let mut add = |name, method, frames| all.push((name, method, frames));
    let two: &[(&[u8], &[u8])] = &[(b"content-length", b"0"), (b"content-length", b"5")];
    add("two lengths", "GET", vec![head(200, two), data()]);
    let same: &[(&[u8], &[u8])] = &[(b"content-length", b"6"), (b"content-length", b"6")];
    add("two lengths that agree", "GET", vec![head(200, same), flagged(Kind::Data, END_STREAM, 0, "hidden")]);
    let both: &[(&[u8], &[u8])] = &[(b"content-length", b"5"), (b"transfer-encoding", b"chunked")];
    add("length and coding", "GET", vec![head(200, both), flagged(Kind::Data, END_STREAM, 0, "0\r\n\r\n")]);
    for status in [0, 100, 101, 103, 199, 600, 999, 65_535] {
        add("a status that is none", "GET", vec![head(status, &[]), data()]);
    }
    for status in [204, 205, 304] {
        add("a body where none may be", "GET", vec![head(status, &[]), data()]);
        add("and a length", "GET", vec![head(status, &[(b"content-length", b"70")]), data()]);
    }
    add("a body for HEAD", "HEAD", vec![head(200, &[(b"content-length", b"70")]), data()]);
    add("a body for HEAD, unsaid", "HEAD", vec![head(200, &[]), data()]);
    add("a short body", "GET", vec![head(200, &[(b"content-length", b"500")]), data()]);
    add("HEAD twice", "GET", vec![head(200, &[]), head(200, &[(b"x-hidden", b"1")]), data()]);
    add("DATA before HEAD", "GET", vec![data(), head(200, &[])]);
    add("END before HEAD", "GET", vec![frame(Kind::End, 0, "")]);
    add("HEAD that can't be read", "GET", vec![frame(Kind::Head, 0, [0])]);
    add("END with bytes that are no trailers", "GET", vec![head(200, &[]), frame(Kind::End, 0, HIDDEN)]);
    let mut trailers = bytes::BytesMut::new();
    let fields = [(b"x".to_vec(), b"1\r\n\r\nHTTP/1.1 200 OK".to_vec())];
    put_fields(&mut trailers, &fields);
    add("trailers that end their line", "GET", vec![head(200, &[]), frame(Kind::End, 0, &trailers)]);
    let mut trailers = bytes::BytesMut::new();
    let fields = [(b"content-length".to_vec(), b"5".to_vec()), (b"set-cookie".to_vec(), b"a=1".to_vec())];
    put_fields(&mut trailers, &fields);
    add("trailers with a length and a cookie", "GET", vec![head(200, &[]), frame(Kind::End, 0, &trailers)]);
    all
}

/// Whatever an agent answers, its caller sees one answer on its connection, or a refusal of the relay's, and then the
/// answer to its next request.
#[tokio::test]
async fn no_answer_of_an_agents_becomes_two_at_a_caller() {
    let mut site = LiarAgent::start().await;
    let door = site.door();
    let mut wrong = Vec::new();
    let lies = lies();
    for (name, method, frames) in &lies {
        let host = door.authority();
        let both = format!(
            "{method} /jira/first HTTP/1.1\r\nhost: {host}\r\nte: trailers\r\n\r\n\
             GET /jira/second HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
        );
        let caller = door.clone();
        let mut call = Tasks::new()
            .spawn_detached(async move { caller.say(both.as_bytes(), Duration::from_secs(10)).await });
        let raw = loop {
            tokio::select! {
                raw = &mut call => break raw.unwrap(),
                said = site.tunnel.next() => match said {
                    Said::Frame(asked) if asked.kind == Kind::Open => {
                        let second = find(&asked.payload, b"/jira/second").is_some();
                        let mut frames = if second { honest(0, b"second") } else { frames.clone() };
                        for frame in &mut frames {
                            frame.stream = asked.stream;
                        }
                        site.tunnel.say(&frames).await;
                    }
                    Said::Frame(_) => {}
                    Said::Closed(code, text) => panic!("{name}: the session ended: {code} {text}"),
                },
            }
        };
        if let Err(fault) = answers(&raw, *method == "HEAD") {
            wrong.push(format!("{name}: {fault}: {:?}", String::from_utf8_lossy(&raw)));
        }
    }
    println!("answers of an agent that lies: {} lies, {} findings", lies.len(), wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    site.still_serves().await;
}

/// Reads what came strictly: one answer to the first request, perhaps cut; and if it was whole, perhaps the second's.
fn answers(mut raw: &[u8], head_only: bool) -> Result<(), String> {
    let mut bodies = Vec::new();
    while !raw.is_empty() {
        let Some(end) = find(raw, b"\r\n\r\n") else { return Err("a piece of a head".to_owned()) };
        let head =
            std::str::from_utf8(&raw[..end]).map_err(|_| "a head that is no text")?.to_ascii_lowercase();
        raw = &raw[end + 4..];
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status: u16 =
            first.strip_prefix("http/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).ok_or(first)?;
        let fields: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
        if head.contains(['\n', '\r', '\0'])
            && head.split("\r\n").any(|line| line.contains(['\n', '\r', '\0']))
        {
            return Err("a bare line end".to_owned());
        }
        if fields.iter().any(|(name, _)| matches!(*name, "x-hidden" | "set-cookie" | "upgrade")) {
            return Err(format!("a field that must not be: {head}"));
        }
        let all = |name: &str| {
            fields.iter().filter(|field| field.0 == name).map(|field| field.1).collect::<Vec<_>>()
        };
        let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
        let none = (head_only && bodies.is_empty()) || matches!(status, 204 | 304);
        let body = match (&lengths[..], &codings[..]) {
            _ if none => Vec::new(),
            ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                let length: usize = length.parse().map_err(|_| "a length out of range")?;
                // Cut: the connection ended, and the caller knows.
                let Some(body) = raw.get(..length) else { return Ok(()) };
                raw = &raw[length..];
                body.to_vec()
            }
            ([], ["chunked"]) => match chunks(&mut raw)? {
                Some(body) => body,
                None => return Ok(()),
            },
            ([], []) if all("connection").contains(&"close") => std::mem::take(&mut raw).to_vec(),
            other => return Err(format!("framed by {other:?}")),
        };
        bodies.push(body);
    }
    match &bodies[..] {
        [] | [_] => Ok(()),
        [_, second] if second == b"second" => Ok(()),
        more => Err(format!("{} answers", more.len())),
    }
}

fn chunks(raw: &mut &[u8]) -> Result<Option<Vec<u8>>, String> {
    let mut body = Vec::new();
    loop {
        let Some(end) = find(raw, b"\r\n") else { return Ok(None) };
        let size =
            std::str::from_utf8(&raw[..end]).ok().and_then(|line| usize::from_str_radix(line, 16).ok());
        let size = size.ok_or("a bad chunk size")?;
        *raw = &raw[end + 2..];
        if size == 0 {
            // Trailers, which hold no length and no cookie, up to the empty line.
            let Some(end) = find(raw, b"\r\n") else { return Ok(None) };
            let end = if end == 0 { 0 } else { find(raw, b"\r\n\r\n").map_or(raw.len(), |end| end + 2) };
            let trailers = String::from_utf8_lossy(&raw[..end]).to_ascii_lowercase();
            *raw = raw.get(end + 2..).unwrap_or_default();
            let bad = trailers.contains("content-length") || trailers.contains("set-cookie");
            return if bad { Err(format!("trailers {trailers:?}")) } else { Ok(Some(body)) };
        }
        let (Some(data), Some(_)) = (raw.get(..size), raw.get(size + 2..)) else { return Ok(None) };
        body.extend_from_slice(data);
        *raw = &raw[size + 2..];
    }
}

/// A site in path form shares the relay's origin with all others: its answers set no cookie, allow no page of elsewhere to
/// read, and say nothing for a whole host or domain.
#[tokio::test]
async fn an_agents_answer_sets_no_cookie_and_speaks_for_no_origin() {
    let mut site = LiarAgent::start().await;
    let gone: &[&str] = &[
        "set-cookie",
        "set-cookie2",
        "proxy-authenticate",
        "strict-transport-security",
        "alt-svc",
        "access-control-allow-origin",
        "access-control-allow-credentials",
        "clear-site-data",
        "nel",
        "report-to",
        "reporting-endpoints",
        "service-worker-allowed",
        "connection",
        "keep-alive",
    ];
    let mut fields: Vec<(&[u8], &[u8])> = gone.iter().map(|name| (name.as_bytes(), &b"a=1"[..])).collect();
    fields.extend([
        (&b"content-security-policy"[..], &b"default-src *"[..]),
        (b"x-content-type-options", b"sniff"),
        (b"x-mine", b"passes"),
        (b"content-length", b"0"),
    ]);
    let call = calling(&site.client(), SITE, "/jira/x");
    let (stream, _) = site.tunnel.opened().await;
    site.tunnel.say(&[flagged(Kind::Head, END_STREAM, stream, answer_head(200, &fields))]).await;
    let answer = call.await.unwrap().unwrap();
    assert_eq!(answer.headers["x-mine"], "passes", "control: {answer:?}");
    let found: Vec<_> = gone.iter().filter(|name| answer.headers.contains_key(**name)).collect();
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert!(answer.headers.get_all("content-security-policy").iter().any(|policy| policy == "sandbox"));
}

/// An answer without an end costs the relay what it has granted, and the caller who does not read it alone.
#[tokio::test]
async fn an_endless_answer_costs_the_relay_no_more_than_its_credit() {
    let mut site = LiarAgent::start().await;
    site.still_serves().await;
    let door = site.door();
    let before = peak_memory(site.relay.id());
    let mut callers = Vec::new();
    let mut reset = 0;
    for _ in 0..20 {
        let mut stream = door.tls(Version::One).await.unwrap();
        let request = format!("GET /jira/endless HTTP/1.1\r\nhost: {}\r\n\r\n", door.authority());
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        callers.push(stream);
        let (stream, _) = site.tunnel.opened().await;
        let mut frames = vec![frame(Kind::Head, stream, answer_head(200, &[]))];
        // Far over the credit, whatever the caller took.
        for _ in 0..320 {
            frames.push(frame(Kind::Data, stream, vec![b'x'; 64 << 10]));
            if frames.len() >= 3 {
                site.tunnel.say(&frames).await;
                frames.clear();
            }
        }
        loop {
            match site.tunnel.next().await {
                Said::Frame(said) if said.stream == stream && said.kind == Kind::Reset => break,
                Said::Frame(_) => {}
                Said::Closed(code, text) => panic!("{code} {text}"),
            }
        }
        reset += 1;
    }
    let grown = peak_memory(site.relay.id()).saturating_sub(before);
    println!("20 endless answers: {reset} reset, {} KiB more at the peak", grown >> 10);
    assert!(grown < 64 << 20, "{grown}");
    site.still_serves().await;
}

/// What comes for a stream whose caller has gone is dropped.
#[tokio::test]
async fn answers_to_cancelled_calls_are_dropped() {
    let mut site = LiarAgent::start().await;
    let mut stream = site.door().tls(Version::One).await.unwrap();
    let request = format!("GET /jira/x HTTP/1.1\r\nhost: {}\r\n\r\n", host());
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    let (id, _) = site.tunnel.opened().await;
    drop(stream);
    assert!(is_reset(&mut site.tunnel, id).await, "the relay tells that the caller has gone");
    for _ in 0..1000 {
        site.tunnel.say(&honest(id, b"late")).await;
    }
    site.still_serves().await;
}
