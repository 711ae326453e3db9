//! B3: 20,000 bytes of binary came back as 36,184 with status 200. Ours: as they were, whatever they are.

use http::Method;

use crate::support::door::{Version, full};
use crate::support::odd_site::OddSite;
use crate::support::odd_upstream::{Step, hash};

#[tokio::test]
async fn every_byte_comes_back_as_it_was() {
    let site = OddSite::start().await;
    // All values, and what a program that takes it for text would mend: halves of UTF-8, surrogates, NULs, CRLF.
    let mut binary: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    binary.extend_from_slice(b"\xc3\x28\xed\xa0\x80\xf0\x9f\0\r\n\n\r\xef\xbb\xbf");
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {}\r\n\r\n", binary.len());
    site.odd.on("binary", [Step::TakeBody, Step::Say([head.as_bytes(), &binary].concat().into())]);
    for version in [Version::One, Version::Two] {
        let answer = site.get(version, "binary").await.unwrap();
        assert!(answer.body == binary, "{} bytes of {}", answer.body.len(), binary.len());
        let request = OddSite::request(Method::POST, "x", full(binary.clone()));
        assert_eq!(site.call(version, request).await.unwrap().headers["x-up-hash"], hash(&binary));
    }
}
