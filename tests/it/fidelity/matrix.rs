//! Bodies of every size that is an edge somewhere, both ways, in every framing and version: the same call through
//! the tunnel and direct gives the same status, the same end-to-end fields and the same bytes.

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::support::door::{AnyBody, Version, Whole, empty, full, pieces};
use crate::support::odd_site::OddSite;
use crate::support::odd_upstream::{hash, seeded};

/// Edges of frames (16 KB, 64 KB), of the first credit (256 KB), and beyond.
const SIZES: [usize; 18] = [
    0, 1, 2, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 131_072, 131_073, 262_143, 262_144, 262_145,
    524_289, 1_048_575, 1_048_576, 1_048_577,
];
const LARGE: usize = 64 << 20;

#[derive(Default)]
struct Tally {
    calls: usize,
    bytes: u64,
    changed: Vec<String>,
}

impl Tally {
    fn expect(&mut self, what: &str, same: bool) {
        if !same {
            self.changed.push(what.to_owned());
        }
    }

    fn report(&self, title: &str) {
        println!(
            "{title}: {} calls through the tunnel against direct, {} bytes of bodies, {} differences",
            self.calls,
            self.bytes,
            self.changed.len()
        );
        assert!(self.changed.is_empty(), "{:#?}", self.changed);
    }
}

/// What is to be the same at both ends: all but what speaks of one connection, and what the relay sets or takes out
/// (`docs/fidelity.md`).
fn end_to_end(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let dropped = ["connection", "keep-alive", "transfer-encoding", "set-cookie"];
    let set = ["x-content-type-options", "content-security-policy"];
    let mut fields: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .filter(|(name, _)| !dropped.contains(&name.as_str()) && !set.contains(&name.as_str()))
        .collect();
    // Stable: several values of one name stay in order.
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}

/// What went up.
struct Sent {
    length: usize,
    hash: String,
}

impl Sent {
    fn new(bytes: &[u8]) -> Self {
        Self { length: bytes.len(), hash: hash(bytes) }
    }
}

async fn compare(
    (site, tally): (&OddSite, &mut Tally),
    version: Version,
    method: Method,
    segment: &str,
    body: impl Fn() -> AnyBody,
    sent: &Sent,
    answered: &[u8],
) {
    let what = format!("{version:?} {method} {segment}, {} bytes sent", sent.length);
    let through = site.call(version, OddSite::request(method.clone(), segment, body())).await;
    let direct = site.direct(OddSite::request(method.clone(), segment, body())).await;
    let (through, direct): (Whole, Whole) = match (through, direct) {
        (Ok(through), Ok(direct)) => (through, direct),
        other => panic!("{what}: {other:?}\n{}", site.logs()),
    };
    tally.calls += 1;
    tally.bytes += (sent.length + through.body.len()) as u64;
    tally.expect(
        &format!("{what}: status {} against {}", through.status, direct.status),
        through.status == direct.status,
    );
    let (mut here, mut there) = (end_to_end(&through.headers), end_to_end(&direct.headers));
    // Whether nothing is sent as an empty body or as none is framing, not content.
    let framing = |name: &str| {
        (sent.length == 0 && name == "x-up-framing")
            || (answered.is_empty() && method != Method::HEAD && name == "content-length")
    };
    for fields in [&mut here, &mut there] {
        fields.retain(|(name, _)| !framing(name));
    }
    tally.expect(&format!("{what}: {here:?} against {there:?}"), here == there);
    let told = |name: &str| through.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    tally.expect(
        &format!("{what}: the upstream read {:?} bytes", told("x-up-length")),
        told("x-up-length") == Some(sent.length.to_string()),
    );
    tally.expect(
        &format!("{what}: what the upstream read"),
        told("x-up-hash").as_deref() == Some(sent.hash.as_str()),
    );
    tally.expect(
        &format!("{what}: {} bytes of {}", through.body.len(), answered.len()),
        through.body == answered,
    );
    tally.expect(&format!("{what}: direct differs from the seed"), direct.body == through.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_size_comes_down_as_it_was_sent() {
    let site = OddSite::start().await;
    let mut tally = Tally::default();
    for version in [Version::One, Version::Two] {
        for (number, size) in SIZES.into_iter().enumerate() {
            let body = Bytes::from(seeded(number as u64, size));
            for framing in ["length", "chunked", "close"] {
                let segment = format!("x?seed={number}&length={size}&framing={framing}&chunk=20000");
                let nothing = Sent::new(b"");
                compare((&site, &mut tally), version, Method::GET, &segment, empty, &nothing, &body).await;
            }
        }
    }
    tally.report("down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_size_goes_up_as_it_was_sent() {
    let site = OddSite::start().await;
    let mut tally = Tally::default();
    for version in [Version::One, Version::Two] {
        for (number, size) in SIZES.into_iter().enumerate() {
            let body = Bytes::from(seeded(number as u64, size));
            let sent = Sent::new(&body);
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                let made = || full(body.clone());
                compare((&site, &mut tally), version, method, "x", made, &sent, &[]).await;
            }
            // Small pieces too: many frames of one body.
            for piece in [999, 16_384, 100_000] {
                let made = || pieces(body.clone(), piece);
                compare((&site, &mut tally), version, Method::POST, "x", made, &sent, &[]).await;
            }
        }
    }
    tally.report("up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_megabytes_go_each_way_and_both_at_once() {
    let site = OddSite::start().await;
    let mut tally = Tally::default();
    let body = Bytes::from(seeded(64, LARGE));
    let (sent, nothing) = (Sent::new(&body), Sent::new(b""));
    let down = |framing: &str| format!("x?seed=64&length={LARGE}&framing={framing}&chunk=70000");
    for (version, framing) in [(Version::One, "length"), (Version::Two, "chunked")] {
        compare((&site, &mut tally), version, Method::GET, &down(framing), empty, &nothing, &body).await;
    }
    let whole = || full(body.clone());
    let parts = || pieces(body.clone(), 50_000);
    compare((&site, &mut tally), Version::Two, Method::PUT, "x", whole, &sent, &[]).await;
    compare((&site, &mut tally), Version::One, Method::POST, "x", parts, &sent, &[]).await;
    compare((&site, &mut tally), Version::One, Method::POST, &down("chunked"), whole, &sent, &body).await;
    tally.report("64 MB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_codes_and_bodiless_answers_are_the_same() {
    let site = OddSite::start().await;
    let mut tally = Tally::default();
    let nothing = Sent::new(b"");
    for version in [Version::One, Version::Two] {
        for code in [
            200, 201, 202, 203, 206, 299, 300, 301, 302, 400, 401, 403, 404, 409, 412, 418, 429, 500, 503,
            599,
        ] {
            let segment = format!("x?seed=7&length=321&code={code}");
            let body = Bytes::from(seeded(7, 321));
            compare((&site, &mut tally), version, Method::GET, &segment, empty, &nothing, &body).await;
        }
        for framing in ["length", "chunked", "close"] {
            let segment = format!("x?seed=7&length=5000&framing={framing}");
            compare((&site, &mut tally), version, Method::HEAD, &segment, empty, &nothing, &[]).await;
        }
        for code in [204, 304] {
            let segment = format!("x?code={code}");
            compare((&site, &mut tally), version, Method::GET, &segment, empty, &nothing, &[]).await;
        }
    }
    tally.report("status codes");
}
