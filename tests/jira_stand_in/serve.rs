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
use crate::cluster::Node;
use crate::options::Options;
use crate::webhooks::Generation;
use crate::{
    attachments, comments, control, desk, desk_approvals, desk_requests, fields, gate, groups, identity,
    issues, links, oauth, projects, read_only, search, seed, system, tokens, transitions, users, watchers,
    webhooks, worklogs,
};

/// JSON bodies may be so large; uploads have their own limit.
const LARGEST_JSON: usize = 4 * 1024 * 1024;

/// Runs until a signal.
pub(crate) async fn run(options: Options) -> io::Result<()> {
    let mut listeners = Vec::new();
    let mut addresses = Vec::new();
    for address in [options.listen].iter().chain(&options.nodes) {
        let listener = TcpListener::bind(address).await?;
        addresses.push(listener.local_addr()?);
        listeners.push(listener);
    }
    let control = TcpListener::bind(options.control).await?;
    let control_address = control.local_addr()?;
    let first = addresses.first().copied().unwrap_or(options.listen);
    let base = options.base_url.clone().unwrap_or_else(|| format!("http://{first}/jira"));
    let mut world = seed::world(Clock::system().unix_seconds(), &options.pats);
    for text in &options.oauth_clients {
        let client = oauth::Client::parse(text).map_err(io::Error::other)?;
        world.oauth.clients.insert(client.id.clone(), client);
    }
    let app = Arc::new(App::new(options, &base, world)?);

    let tasks = Tasks::new();
    let control_router = control::router(app.clone());
    let control_app = app.clone();
    tasks.spawn("control", accept(control, control_app, control_router, None));
    for (listener, node) in listeners.into_iter().zip(&app.nodes) {
        tasks.spawn("jira", accept(listener, app.clone(), router(&app), Some(node.clone())));
    }
    announce(&app, &addresses, control_address)?;

    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        () = tasks.cancelled() => return Err(io::Error::other("a listener stopped")),
    }
    Ok(())
}

/// One line on standard output when all is ready.
fn announce(app: &App, addresses: &[SocketAddr], control: SocketAddr) -> io::Result<()> {
    let pats: Map<String, Value> = app
        .world()
        .tokens
        .values()
        .map(|token| (token.user.clone(), Value::from(token.secret.clone())))
        .collect();
    let urls: Vec<String> =
        addresses.iter().map(|address| format!("http://{address}{}", app.context)).collect();
    let line = json!({
        "url": urls.first(),
        "node_urls": urls,
        "base_url": app.base,
        "control_url": format!("http://{control}/_control"),
        "version": app.profile().version().0,
        "pats": pats,
    });
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Connections to a node, or to the control interface, which does not count.
async fn accept(listener: TcpListener, app: Arc<App>, router: Router, node: Option<Arc<Node>>) {
    let counted = node.is_some();
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
        let (app, router, node) = (app.clone(), router.clone(), node.clone());
        tasks.spawn_detached(async move {
            let mut hang_up = app.hang_up.subscribe();
            let service = hyper::service::service_fn(|request| {
                let (app, router, node) = (app.clone(), router.clone(), node.clone());
                async move {
                    match node {
                        Some(node) => gate::answer(app, node, router, request).await,
                        None => control::answer(router, request).await,
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
        .route("/readonly-mode", get(read_only::show))
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
        .nest("/rest/servicedeskapi", desk())
        .nest("/rest/webhooks/1.0/webhook", hooks(Generation::Old))
        .nest("/rest/jira-webhook/1.0/webhooks", hooks(Generation::New))
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
        .route("/login.jsp", get(oauth::login_page).post(oauth::log_in))
        .route("/rest/oauth2/latest/authorize", get(oauth::authorize))
        .route("/rest/oauth2/latest/token", post(oauth::token))
        .route("/rest/oauth2/latest/revoke", post(oauth::revoke))
        .route("/plugins/servlet/oauth2/consent", get(oauth::consent).post(oauth::decide))
        .route("/rest/{*path}", any(system::no_resource))
        .route("/{*path}", any(system::page))
        .route("/", any(system::page))
        .layer(DefaultBodyLimit::max(LARGEST_JSON))
        .with_state(app.clone());
    let whole = if app.context.is_empty() { inside } else { Router::new().nest(&app.context, inside) };
    whole.fallback(system::no_resource)
}

/// Jira Service Management, below `/rest/servicedeskapi`.
fn desk() -> Router<Arc<App>> {
    Router::new()
        .route("/info", get(desk::info))
        .route("/organization", get(desk::organizations))
        .route("/servicedesk", get(desk::all))
        .route("/servicedesk/{desk}", get(desk::one))
        .route("/servicedesk/{desk}/organization", get(desk::organizations))
        .route("/servicedesk/{desk}/queue", get(desk::queues))
        .route("/servicedesk/{desk}/queue/{queue}/issue", get(desk::queue_issues))
        .route("/servicedesk/{desk}/requesttype", get(desk::types))
        .route("/servicedesk/{desk}/requesttype/{kind}", get(desk::one_type))
        .route("/servicedesk/{desk}/requesttype/{kind}/field", get(desk::type_fields))
        .route(
            "/servicedesk/{desk}/attachTemporaryFile",
            post(attachments::upload_temporary).layer(DefaultBodyLimit::disable()),
        )
        .route("/request", get(desk_requests::all).post(desk_requests::create))
        .route("/request/{issue}", get(desk_requests::one))
        .route("/request/{issue}/status", get(desk_requests::status))
        .route("/request/{issue}/sla", get(desk_requests::agreements))
        .route("/request/{issue}/comment", get(desk_requests::comments).post(desk_requests::add_comment))
        .route("/request/{issue}/comment/{comment}", get(desk_requests::comment))
        .route("/request/{issue}/transition", get(desk_requests::transitions).post(desk_requests::transit))
        .route("/request/{issue}/attachment", post(desk_requests::attach))
        .route(
            "/request/{issue}/participant",
            get(desk_approvals::participants)
                .post(desk_approvals::add_participants)
                .delete(desk_approvals::remove_participants),
        )
        .route("/request/{issue}/approval", get(desk_approvals::all))
        .route("/request/{issue}/approval/{approval}", get(desk_approvals::one).post(desk_approvals::answer))
}

/// One generation of the interface for webhooks.
fn hooks(generation: Generation) -> Router<Arc<App>> {
    Router::new()
        .route(
            "/",
            get(move |call| webhooks::all(call, generation))
                .post(move |call, body| webhooks::create(call, generation, body)),
        )
        .route(
            "/{webhook}",
            get(move |call, path| webhooks::one(call, generation, path))
                .delete(move |call, path| webhooks::remove(call, generation, path)),
        )
}
