//! What the admin socket may do to the certificates by ACME.

use http::StatusCode;

use crate::agent::acme::{Acme, AskedFault, CertificatesReport};
use crate::agent::admin::Answer;
use crate::agent::admin::certificates::{Asked, CertificateDesk, NewKeyPin};
use crate::common::report::{Exit, Report};
use crate::net::local::Refused;

/// The certificates by ACME, where any are ordered.
pub struct CertificateRoom(pub Option<Acme>);

impl CertificateRoom {
    fn acme(&self) -> Result<&Acme, Refused> {
        self.0.as_ref().ok_or_else(|| {
            Refused::new(StatusCode::CONFLICT, "this agent orders no certificates")
                .with_remedy("Add a table [pass-through.acme] to the configuration (docs/certificates.md).")
        })
    }
}

impl CertificateDesk for CertificateRoom {
    fn report(&self) -> Option<CertificatesReport> {
        self.0.as_ref().map(Acme::report)
    }

    fn renew(&self, name: Option<&str>) -> Result<Asked, Refused> {
        let (name, ended) = self.acme()?.renew(name).map_err(|fault| refused(&fault))?;
        Ok(Asked { name, ended })
    }

    fn rotate_key<'a>(&'a self, name: Option<&'a str>) -> Answer<'a, NewKeyPin> {
        Box::pin(async move {
            let (name, next_pin) = self.acme()?.rotate_key(name).await.map_err(|fault| refused(&fault))?;
            Ok(NewKeyPin { name, next_pin })
        })
    }
}

fn refused(fault: &AskedFault) -> Refused {
    let status = match fault {
        AskedFault::Unknown { .. } => StatusCode::NOT_FOUND,
        AskedFault::Which(_) => StatusCode::UNPROCESSABLE_ENTITY,
        AskedFault::Held { .. } => StatusCode::TOO_MANY_REQUESTS,
        AskedFault::Broken(_) | AskedFault::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Refused::new(status, Report::from_error(Exit::Data, fault).to_string())
}
