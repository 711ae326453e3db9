//! The way through the relay: a stream in the tunnel, and the relay's first line on it.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{Inner, Relay};
use crate::common::host::HostPort;
use crate::net::dial::Prefixed;
use crate::net::http_client::{OpenFault, Stream};
use crate::net::tunnel::{ByteStream, ExchangeFault};
use crate::tunnel::code::ResetCode;
use crate::tunnel::egress::{Answer, LONGEST_LINE, PURPOSE, Refusal};
use crate::tunnel::head::BytesHead;

/// A stream to the host, of which the relay has said that it is connected. The caller bounds the time.
pub(super) async fn through_relay(inner: &Inner, host: &HostPort) -> Result<Box<dyn Stream>, OpenFault> {
    let closed = |why: &str| OpenFault::Closed(format!("{host} is not reached through the relay: {why}"));
    let (relay, mut stream) = open(inner, host).await.map_err(|why| closed(&why))?;
    let mut buffer = BytesMut::with_capacity(LONGEST_LINE);
    match read_line(&mut stream, &mut buffer).await {
        Ok(Some(Answer::Connected)) => Ok(Box::new(Prefixed::new(stream, buffer.freeze()))),
        Ok(Some(Answer::Refused(refusal))) => Err(closed(&words(refusal, host, &relay.site))),
        Ok(Some(Answer::Other)) => {
            Err(closed("it refuses for a reason that this agent does not know yet: update the agent"))
        }
        Ok(None) => {
            stream.reset(ResetCode::Protocol);
            Err(closed(
                "it does not answer as the protocol says: agent and relay may be of versions that don't fit",
            ))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(closed(&format!(
            "{error}; a relay of an earlier version does so: ask its operator for an update"
        ))),
        Err(error) => Err(closed(&error.to_string())),
    }
}

/// A tunnel that was lost a moment ago is often back at once, and at the start the first one comes soon.
async fn open<'a>(inner: &'a Inner, host: &HostPort) -> Result<(&'a Relay, ByteStream), String> {
    let head = || BytesHead { purpose: PURPOSE.to_owned(), target: host.to_string(), peer: String::new() };
    for _ in 0..TRIES {
        let relay = inner.relay.get();
        for (relay, tunnel) in relay
            .into_iter()
            .flat_map(|relay| (relay.tunnels)().into_iter().map(move |tunnel| (relay, tunnel)))
        {
            match tunnel.open_bytes(head()) {
                Ok(stream) => return Ok((relay, stream)),
                Err(ExchangeFault::NotSent(_)) => {}
                Err(fault) => return Err(fault.to_string()),
            }
        }
        tokio::time::sleep(BETWEEN).await;
    }
    Err("no tunnel to the relay is up; `outhaul-agent status` says why".to_owned())
}

/// The relay's first line, `None` if it is none; what follows it stays in the buffer.
async fn read_line<S>(stream: &mut S, buffer: &mut BytesMut) -> io::Result<Option<Answer>>
where
    S: AsyncRead + Unpin,
{
    loop {
        if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Bytes = buffer.split_to(end + 1).freeze();
            return Ok(line.get(..end).and_then(Answer::read));
        }
        if buffer.len() >= LONGEST_LINE || stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Whose fault it is, and what to do.
fn words(refusal: Refusal, host: &HostPort, site: &str) -> String {
    match refusal {
        Refusal::Off => format!(
            "its operator lets this site reach no host. Ask the operator for `outhaul-relay site egress allow {site} \
             {host}`, or choose another `way` under [egress]"
        ),
        Refusal::NotListed => format!(
            "its operator does not list this host and port. Ask the operator for `outhaul-relay site egress allow \
             {site} {host}`"
        ),
        Refusal::BadTarget => {
            "it does not take this as a host and port: agent and relay may be of versions that don't fit".to_owned()
        }
        Refusal::Paused => "its operator has paused this site; ask the operator".to_owned(),
        Refusal::Unresolved => {
            "its DNS gives no address for the name: check the name, then ask the operator".to_owned()
        }
        Refusal::ForbiddenAddress => {
            "the name leads to an address that is not of the public internet, which the relay reaches for nobody. If \
             the host is meant, ask the operator to look at `also-networks`"
                .to_owned()
        }
        Refusal::Unreachable => {
            "no address of it takes the connection: the host may be down; else ask the operator whether a firewall \
             keeps the relay from it"
                .to_owned()
        }
        Refusal::TooSlow => {
            "the host did not take the connection in time: it may be down; else ask the operator about the relay's \
             network"
                .to_owned()
        }
        Refusal::TooMany => {
            "as many connections are open, or are opened in a second, as its operator allows. If this is the normal \
             load, ask the operator to raise `site-connections`"
                .to_owned()
        }
        Refusal::Quota => {
            "this site's bytes of the day are used up, until midnight (UTC). If this is the normal load, ask the \
             operator to raise `site-bytes-a-day`"
                .to_owned()
        }
    }
}

/// Three seconds in all.
const TRIES: u32 = 30;
const BETWEEN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    async fn read(said: &[u8]) -> (io::Result<Option<Answer>>, Bytes) {
        let (mut near, mut far) = tokio::io::duplex(1024);
        far.write_all(said).await.unwrap();
        drop(far);
        let mut buffer = BytesMut::new();
        (read_line(&mut near, &mut buffer).await, buffer.freeze())
    }

    #[tokio::test]
    async fn the_line_is_read_and_the_rest_is_kept() {
        let (answer, rest) = read(b"ok\n\x16\x03\x01").await;
        assert_eq!((answer.unwrap(), rest.as_ref()), (Some(Answer::Connected), b"\x16\x03\x01".as_slice()));
        assert_eq!(read(b"no off\n").await.0.unwrap(), Some(Answer::Refused(Refusal::Off)));
        let endless = [b'n'; 200];
        for none in [b"".as_slice(), b"ok", b"OK\n", b"\n", b"\x16\x03\x01\n", &endless] {
            assert_eq!(read(none).await.0.unwrap(), None);
        }
    }

    #[test]
    fn every_refusal_tells_what_to_do() {
        let host = HostPort::new("login.example.com", 443).unwrap();
        for refusal in Refusal::ALL {
            let words = words(*refusal, &host, "acme");
            assert!(words.contains("operator") || words.contains("versions"), "{words}");
        }
        let line = "outhaul-relay site egress allow acme login.example.com:443";
        assert!(words(Refusal::NotListed, &host, "acme").contains(line));
    }
}
