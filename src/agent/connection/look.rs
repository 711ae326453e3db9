//! A look at the handshake without joining, for who searches for faults: is TLS opened on the way?

use std::time::Duration;

use super::open::Socket;
use super::{ConnectFault, SOFTWARE, outer};
use crate::common::ids::{AgentId, BootId};
use crate::common::report::{Exit, Report};
use crate::identity::encoded::{Encoded, RandomFault};
use crate::identity::handshake::agent::{Distrust, Glance, Intent, Start, refused};
use crate::identity::handshake::messages::{OuterCertificate, Refuse, RefuseCode};
use crate::identity::handshake::transcript::Session;
use crate::identity::keys::SigningKey;
use crate::net::tls::exporter;
use crate::net::websocket::{receive_frame, send_frame};
use crate::tunnel::frame::Kind;

/// What it shows. Nobody has proved it: only a connect does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspection {
    /// Both ends seem to see one TLS session.
    Direct,
    /// Something opens TLS, with this certificate; a tunnel would run in TLS inside.
    Inner(Option<OuterCertificate>),
    /// Something opens TLS, or the relay is none, and no tunnel would come to be.
    Refused(String),
}

/// Says HELLO as nobody in particular, reads CHALLENGE, and leaves. No agent's state changes at the relay.
pub async fn look(socket: &mut Socket) -> Inspection {
    match glance(socket).await {
        Ok(looked) => looked,
        Err(fault) => Inspection::Refused(Report::from_error(Exit::Found, &fault).what().to_owned()),
    }
}

async fn glance(socket: &mut Socket) -> Result<Inspection, ConnectFault> {
    let tls = socket.get_ref().get_ref().1;
    let (session, outer) = (Session::outer(exporter(tls)?), outer::read(tls.peer_certificates()));
    // A key of the moment: nobody's.
    let key = SigningKey::generate().map_err(|_| RandomFault)?.0;
    let start = Start {
        intent: Intent::Connect { agent: AgentId::generate(), relay: key.public(), join: None },
        site: SITE.parse().map_err(|_| Distrust::WrongWelcome)?,
        slot: 0,
        boot: BootId::generate(),
        software: SOFTWARE.to_owned(),
    };
    let (hello, waiting) = start.hello(&key, Encoded::random()?);
    send_frame(socket, Kind::Hello, hello, STEP).await?;
    let frame = receive_frame(socket, STEP).await?;
    let looked = match frame.kind {
        Kind::Challenge => match waiting.glance(&frame.payload, session)? {
            Glance::Same => Inspection::Direct,
            Glance::StartTls => Inspection::Inner(outer),
            Glance::Stop => Inspection::Refused(Distrust::Intercepted.to_string()),
        },
        Kind::Refuse => return Err(ConnectFault::Refused(refused(&frame.payload))),
        _ => return Err(Distrust::Malformed("CHALLENGE").into()),
    };
    let leave = Refuse::new(RefuseCode::Other, "only a look");
    send_frame(socket, Kind::Refuse, leave.encode(), STEP).await?;
    Ok(looked)
}

/// The relay looks nothing up before PROOF; any name does.
const SITE: &str = "doctor";
const STEP: Duration = Duration::from_secs(10);
