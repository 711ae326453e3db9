//! What a proxy answers to CONNECT: the head, and the body of a refusal, which is read so that the connection can go
//! on, and dropped.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::challenge::{self, Challenge};
use super::fault::ProxyFault;

/// No head of a proxy is longer.
pub(in crate::net::dial) const MAX_HEAD: usize = 16 * 1024;
/// No proxy says more often that it is still at it.
pub(super) const MAX_INTERIM: usize = 10;
/// A page that explains a refusal is shorter; a longer one is not waited for.
const MAX_BODY: u64 = 256 * 1024;

/// A head, as far as it counts.
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) reason: String,
    pub(super) challenges: Vec<Challenge>,
    body: Body,
    closes: bool,
}

/// How a body ends (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Length(u64),
    Chunked,
    /// With the connection.
    Close,
}

/// Reads up to the empty line of the first answer that is no interim one; what follows stays in the buffer.
pub(super) async fn read<S>(stream: &mut S, buffer: &mut BytesMut) -> Result<Head, ProxyFault>
where
    S: AsyncRead + Unpin,
{
    for _ in 0..MAX_INTERIM {
        let head = read_head(stream, buffer).await?;
        let head = parse(&head).ok_or(ProxyFault::NotAProxy)?;
        if head.status >= 200 {
            return Ok(head);
        }
    }
    Err(ProxyFault::Interim)
}

async fn read_head<S>(stream: &mut S, buffer: &mut BytesMut) -> Result<Bytes, ProxyFault>
where
    S: AsyncRead + Unpin,
{
    let mut looked = 0_usize;
    loop {
        if let Some(end) = end_of_head(buffer, looked) {
            return Ok(buffer.split_to(end).freeze());
        }
        // Rubbish is told from a head at once, and not when the time runs out.
        let begins = buffer.len().min(5);
        if buffer.get(..begins) != b"HTTP/".get(..begins) {
            return Err(ProxyFault::NotAProxy);
        }
        if buffer.len() >= MAX_HEAD {
            return Err(ProxyFault::HeadTooLarge);
        }
        looked = buffer.len().saturating_sub(3);
        more(stream, buffer).await?;
    }
}

async fn more<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut BytesMut) -> Result<(), ProxyFault> {
    match stream.read_buf(buffer).await.map_err(ProxyFault::Broken)? {
        0 => Err(ProxyFault::Broken(io::ErrorKind::UnexpectedEof.into())),
        _ => Ok(()),
    }
}

/// The index after the first empty line, looking from `from`.
fn end_of_head(buffer: &[u8], from: usize) -> Option<usize> {
    let rest = buffer.get(from..)?;
    rest.windows(4).position(|window| window == b"\r\n\r\n").map(|at| from + at + 4)
}

fn parse(head: &[u8]) -> Option<Head> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let (version, rest) = lines.next()?.split_once(' ')?;
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    if !matches!(version, "HTTP/1.0" | "HTTP/1.1") || status.len() != 3 {
        return None;
    }
    let status = status.parse().ok().filter(|status| (100..600).contains(status))?;
    let reason = reason.chars().filter(|letter| !letter.is_control()).take(80).collect();
    let (mut challenges, mut lengths, mut chunked, mut coded) = (Vec::new(), Vec::new(), false, false);
    let mut closes = version == "HTTP/1.0";
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        let says = |word: &str| value.split(',').any(|one| one.trim().eq_ignore_ascii_case(word));
        match name.to_ascii_lowercase().as_str() {
            "proxy-authenticate" => challenge::read(value, &mut challenges),
            "content-length" => lengths.push(value.parse::<u64>().ok()),
            "transfer-encoding" => {
                coded = true;
                chunked = says("chunked");
            }
            // The second is no standard, and what most proxies write.
            "connection" | "proxy-connection" if says("close") => closes = true,
            "connection" | "proxy-connection" if says("keep-alive") => closes = false,
            _ => {}
        }
    }
    let body = match (lengths.as_slice(), coded) {
        ([Some(length)], false) => Body::Length(*length),
        ([], true) if chunked => Body::Chunked,
        // No length, or two minds about it: only the end of the connection is an end.
        _ => Body::Close,
    };
    Some(Head { status, reason, challenges, body, closes })
}

impl Head {
    /// Reads the body to its end and drops it. Says whether the connection can carry another request; an end that
    /// is too far away, or comes with the connection, is not waited for.
    pub(super) async fn drop_body<S>(&self, stream: &mut S, buffer: &mut BytesMut) -> bool
    where
        S: AsyncRead + Unpin,
    {
        if self.closes {
            return false;
        }
        match self.body {
            Body::Close => false,
            Body::Length(length) if length > MAX_BODY => false,
            Body::Length(length) => skip(stream, buffer, length).await.is_ok(),
            Body::Chunked => chunks(stream, buffer).await.is_some(),
        }
    }
}

async fn skip<S>(stream: &mut S, buffer: &mut BytesMut, mut count: u64) -> Result<(), ProxyFault>
where
    S: AsyncRead + Unpin,
{
    loop {
        let here = usize::try_from(count).unwrap_or(usize::MAX).min(buffer.len());
        buffer.advance(here);
        count = count.saturating_sub(here as u64);
        if count == 0 {
            return Ok(());
        }
        more(stream, buffer).await?;
    }
}

/// A chunked body with its trailers (RFC 9112, section 7.1). `None` where it is none, or too long.
async fn chunks<S>(stream: &mut S, buffer: &mut BytesMut) -> Option<()>
where
    S: AsyncRead + Unpin,
{
    let mut left = MAX_BODY;
    loop {
        let line = line(stream, buffer).await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let digits = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = u64::from_str_radix(size, 16).ok().filter(|_| digits)?;
        left = left.checked_sub(size)?;
        if size == 0 {
            break;
        }
        // With its line end.
        skip(stream, buffer, size).await.ok()?;
        if !self::line(stream, buffer).await?.is_empty() {
            return None;
        }
    }
    for _ in 0..MAX_TRAILERS {
        if line(stream, buffer).await?.is_empty() {
            return Some(());
        }
    }
    None
}

async fn line<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut BytesMut) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(2).position(|window| window == b"\r\n") {
            let line = buffer.split_to(end);
            buffer.advance(2);
            return Some(String::from_utf8_lossy(&line).into_owned());
        }
        if buffer.len() > MAX_LINE {
            return None;
        }
        more(stream, buffer).await.ok()?;
    }
}

const MAX_TRAILERS: usize = 16;
/// Of a chunk's head or a trailer.
const MAX_LINE: usize = 1024;
