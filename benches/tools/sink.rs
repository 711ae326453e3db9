//! An upstream for uploads: reads them to the end, as nginx alone can't be made to without writing them to disk.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use outhaul::common::tasks::Tasks;
use tokio::net::TcpListener;

use crate::{Outcome, words};

/// Where, and as whom it answers.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    listen: SocketAddr,
    /// The value of X-AUSERNAME.
    #[arg(long)]
    user: String,
}

pub(crate) async fn run(arguments: Arguments) -> Outcome<()> {
    let listener = TcpListener::bind(arguments.listen).await.map_err(words)?;
    let tasks = Tasks::new();
    loop {
        let (socket, _) = listener.accept().await.map_err(words)?;
        socket.set_nodelay(true).map_err(words)?;
        let user = arguments.user.clone();
        tasks.spawn_detached(async move {
            let service = service_fn(|request| answer(request, user.clone()));
            let serving =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            // A caller that breaks off is the caller's affair: it reports it.
            let _ = serving.await;
        });
    }
}

async fn answer(request: Request<Incoming>, user: String) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let mut body = request.into_body();
    let mut count = 0;
    while let Some(frame) = body.frame().await {
        count += frame?.data_ref().map_or(0, Bytes::len);
    }
    let mut response = Response::new(Full::new(Bytes::from(format!("{{\"received\":{count}}}\n"))));
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    if let Ok(user) = user.parse() {
        headers.insert("x-ausername", user);
    }
    Ok(response)
}
