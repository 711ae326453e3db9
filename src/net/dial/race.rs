//! Happy eyeballs (RFC 8305): all addresses of a name, of both families in turn, each a moment after the one before.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;

/// How long an address has before the next one is tried beside it (RFC 8305, section 5).
pub(super) const STAGGER: Duration = Duration::from_millis(250);
/// No more addresses of one name are tried.
const MAX_ADDRESSES: usize = 16;

/// Orders addresses so that the families take turns, beginning with the one that the resolver prefers.
pub(super) fn interleave(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut same = VecDeque::new();
    let mut other = VecDeque::new();
    for address in addresses.take(MAX_ADDRESSES) {
        let first: &SocketAddr = same.front().unwrap_or(&address);
        if first.is_ipv4() == address.is_ipv4() { same.push_back(address) } else { other.push_back(address) }
    }
    let mut ordered = Vec::with_capacity(same.len() + other.len());
    while !same.is_empty() || !other.is_empty() {
        ordered.extend(same.pop_front());
        ordered.extend(other.pop_front());
    }
    ordered
}

/// The first of the addresses that takes a connection. The caller bounds the time.
pub(super) async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    first_of(addresses, STAGGER, TcpStream::connect).await
}

/// Starts one attempt after the other, `stagger` apart or as soon as one fails; the first success wins.
pub(super) async fn first_of<T, F>(
    addresses: &[SocketAddr],
    stagger: Duration,
    attempt: impl Fn(SocketAddr) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting = addresses.iter().copied();
    let mut running = FuturesUnordered::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    running.extend(waiting.next().map(&attempt));
    loop {
        let more = waiting.len() > 0;
        tokio::select! {
            ended = running.next(), if !running.is_empty() => match ended {
                Some(Ok(connected)) => return Ok(connected),
                Some(Err(error)) => {
                    last = error;
                    running.extend(waiting.next().map(&attempt));
                }
                None => {}
            },
            () = tokio::time::sleep(stagger), if more => running.extend(waiting.next().map(&attempt)),
            else => return Err(last),
        }
    }
}
