//! The two listeners and what hangs on them.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, delete, get, post, put};
use hyper_util::rt::{TokioIo, TokioTimer};
use outhaul::common::clock::Clock;
use outhaul::common::tasks::Tasks;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use crate::app::{App, count};
use crate::options::Options;
use crate::{
    attachments, comments, control, fields, gate, groups, identity, issues, links, projects, search, seed,
    system, tokens, transitions, users, watchers, worklogs,
};

/// JSON bodies may be so large; uploads have their own limit.
const LARGEST_JSON: usize = 4 * 1024 * 1024;

/// Runs until a signal.
pub(crate) async fn run(options: Options) -> io::Result<()> {
    let main = TcpListener::bind(options.listen).await?;
    let control = TcpListener::bind(options.control).await?;
    let (address, control_address) = (main.local_addr()?, control.local_addr()?);
    let base = options.base_url.clone().unwrap_or_else(|| format!("http://{address}/jira"));
    let world = seed::world(Clock::system().unix_seconds(), &options.pats);
    let app = Arc::new(App::new(options, &base, world)?);

    let tasks = Tasks::new();
    let control_router = control::router(app.clone());
    let control_app = app.clone();
    tasks.spawn("control", accept(control, control_app, control_router, false));
    tasks.spawn("jira", accept(main, app.clone(), router(&app), true));
    announce(&app, address, control_address)?;

    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        () = tasks.cancelled() => return Err(io::Error::other("a listener stopped")),
    }
    Ok(())
}

/// One line on standard output when all is ready.
fn announce(app: &App, address: SocketAddr, control: SocketAddr) -> io::Result<()> {
    let pats: Map<String, Value> = app
        .world()
        .tokens
        .values()
        .map(|token| (token.user.clone(), Value::from(token.secret.clone())))
        .collect();
    let line = json!({
        "url": format!("http://{address}{}", app.context),
        "base_url": app.base,
        "control_url": format!("http://{control}/_control"),
        "version": app.profile().version().0,
        "pats": pats,
    });
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

async fn accept(listener: TcpListener, app: Arc<App>, router: Router, counted: bool) {
    let tasks = Tasks::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        // Small answers must not wait for the peer's acknowledgement.
        let _ = stream.set_nodelay(true);
        if counted {
            count(&app.counters.connections);
            count(&app.counters.open_connections);
        }
        let (app, router) = (app.clone(), router.clone());
        tasks.spawn_detached(async move {
            let mut hang_up = app.hang_up.subscribe();
            let service = hyper::service::service_fn(|request| {
                let (app, router) = (app.clone(), router.clone());
                async move {
                    if counted {
                        gate::answer(app, router, request).await
                    } else {
                        control::answer(router, request).await
                    }
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .half_close(false)
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                _ = connection => {}
                _ = hang_up.changed(), if counted => {}
            }
            if counted {
                app.counters.open_connections.fetch_sub(1, Ordering::Relaxed);
            }
        });
    }
}

/// Every resource, under the context path.
fn router(app: &Arc<App>) -> Router {
    let core = Router::new()
        .route("/myself", get(users::myself))
        .route("/serverInfo", get(system::server_info))
        .route("/readonly-mode", get(system::read_only_mode))
        .route("/field", get(fields::all))
        .route("/priority", get(fields::priorities))
        .route("/status", get(fields::statuses))
        .route("/issuetype", get(fields::issue_types))
        .route("/resolution", get(fields::resolutions))
        .route("/mypermissions", get(projects::my_permissions))
        .route("/project", get(projects::all))
        .route("/project/{project}", get(projects::one))
        .route("/project/{project}/statuses", get(projects::statuses))
        .route("/project/{project}/role", get(projects::roles))
        .route(
            "/project/{project}/role/{role}",
            get(projects::role).post(projects::add_actor).delete(projects::remove_actor),
        )
        .route("/user", get(users::one).post(users::create).put(users::update).delete(users::remove))
        .route("/user/search", get(users::search))
        .route("/user/assignable/search", get(users::assignable))
        .route("/user/picker", get(users::picker))
        .route("/group", get(groups::one).post(groups::create).delete(groups::remove))
        .route("/group/member", get(groups::members))
        .route("/group/user", post(groups::add).delete(groups::remove_member))
        .route("/groups/picker", get(groups::picker))
        .route("/search", get(search::get).post(search::post))
        .route("/issue", post(issues::create))
        .route("/issue/bulk", post(issues::bulk))
        .route("/issue/picker", get(search::picker))
        .route("/issue/createmeta", get(fields::old_create_meta))
        .route("/issue/createmeta/{project}/issuetypes", get(fields::create_types))
        .route("/issue/createmeta/{project}/issuetypes/{kind}", get(fields::create_fields))
        .route("/issue/{issue}", get(issues::read).put(issues::edit).delete(issues::remove))
        .route("/issue/{issue}/editmeta", get(fields::edit_meta))
        .route("/issue/{issue}/assignee", put(issues::assign))
        .route("/issue/{issue}/comment", get(comments::all).post(comments::add))
        .route(
            "/issue/{issue}/comment/{comment}",
            get(comments::one).put(comments::edit).delete(comments::remove),
        )
        .route("/issue/{issue}/transitions", get(transitions::all).post(transitions::make))
        .route("/issue/{issue}/watchers", get(watchers::all).post(watchers::add).delete(watchers::remove))
        .route("/issue/{issue}/worklog", get(worklogs::all).post(worklogs::add))
        .route("/issue/{issue}/worklog/{worklog}", get(worklogs::one).delete(worklogs::remove))
        .route("/issue/{issue}/attachments", post(attachments::upload).layer(DefaultBodyLimit::disable()))
        .route("/issue/{issue}/remotelink", get(links::all).post(links::put))
        .route(
            "/issue/{issue}/properties/{name}",
            get(links::property).put(links::set_property).delete(links::remove_property),
        )
        .route("/attachment/meta", get(attachments::meta))
        .route("/attachment/{attachment}", get(attachments::one).delete(attachments::remove));
    let tokens = Router::new()
        .route("/tokens", get(tokens::all).post(tokens::create))
        .route("/tokens/{token}", delete(tokens::remove));
    let inside = Router::new()
        .route("/status", get(system::status))
        .nest("/rest/api/2", core.clone())
        .nest("/rest/api/latest", core)
        .nest("/rest/pat/latest", tokens.clone())
        .nest("/rest/pat/1.0", tokens)
        .route(
            "/rest/auth/1/session",
            get(identity::session).post(identity::log_in).delete(identity::log_out),
        )
        .route("/secure/attachment/{attachment}/{name}", get(attachments::bytes))
        .route("/login.jsp", get(system::login_page))
        .route("/rest/{*path}", any(system::no_resource))
        .route("/{*path}", any(system::page))
        .route("/", any(system::page))
        .layer(DefaultBodyLimit::max(LARGEST_JSON))
        .with_state(app.clone());
    let whole = if app.context.is_empty() { inside } else { Router::new().nest(&app.context, inside) };
    whole.fallback(system::no_resource)
}
