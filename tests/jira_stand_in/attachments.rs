//! Attachments: streamed into files, never held in memory.

use std::io::SeekFrom;
use std::path::PathBuf;

use axum::body::Body;
use axum::extract::{Path, Request};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use crate::app::{App, Call, count};
use crate::identity::Who;
use crate::permissions::{self, may_on};
use crate::users;
use crate::wire::{Fault, Reply, nothing, ok};
use crate::world::{Attachment, Right, World};

pub(crate) fn show(app: &App, world: &World, file: &Attachment) -> Value {
    json!({
        "self": app.link(&format!("attachment/{}", file.id)),
        "id": file.id.to_string(),
        "filename": file.name,
        "author": users::show_name(app, world, file.author.as_deref()),
        "created": file.created,
        "size": file.size,
        "mimeType": file.mime,
        "content": format!("{}/secure/attachment/{}/{}", app.base, file.id, encoded(&file.name)),
    })
}

fn encoded(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

pub(crate) async fn meta(call: Call) -> Reply {
    ok(json!({ "enabled": true, "uploadLimit": call.app.options.upload_limit }))
}

/// One part that has arrived whole.
pub(crate) struct Received {
    pub(crate) name: String,
    mime: String,
    size: u64,
    sha256: String,
    path: PathBuf,
}

pub(crate) async fn upload(call: Call, Path(issue): Path<String>, request: Request) -> Reply {
    let id = {
        let world = call.app.world();
        permissions::issue_with(&call.app, &world, &call.who, &issue, Right::Attach, 403)?.id
    };
    let received = receive_all(&call.app, request).await?;
    let mut world = call.app.world();
    let ids = attach(&call, &mut world, id, received);
    let files = ids.iter().filter_map(|id| world.attachments.get(id));
    ok(files.map(|file| show(&call.app, &world, file)).collect())
}

/// Files of the service desk's interface: kept until a request takes them.
pub(crate) async fn upload_temporary(call: Call, Path(desk): Path<String>, request: Request) -> Reply {
    crate::desk::known(&call, &desk)?;
    let received = receive_all(&call.app, request).await?;
    let mut world = call.app.world();
    let mut shown = Vec::new();
    for file in received {
        let id = format!("temp{}", world.fresh_id());
        shown.push(json!({ "temporaryAttachmentId": id, "fileName": file.name }));
        world.temporary.insert(id, file);
    }
    crate::wire::status(201, json!({ "temporaryAttachments": shown }))
}

/// Every part named `file`, or none of them.
async fn receive_all(app: &App, request: Request) -> Result<Vec<Received>, Fault> {
    let kind =
        request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Ok(boundary) = multer::parse_boundary(kind) else {
        return Err(Fault::Page(StatusCode::UNSUPPORTED_MEDIA_TYPE, "HTTP Status 415".to_owned()));
    };
    let mut parts = multer::Multipart::new(request.into_body().into_data_stream(), boundary);
    let mut received = Vec::new();
    loop {
        match parts.next_field().await {
            Ok(Some(field)) if field.name() == Some("file") => match receive(app, field).await {
                Ok(file) => received.push(file),
                Err(fault) => {
                    discard(&received).await;
                    return Err(fault);
                }
            },
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(_) => {
                count(&app.counters.broken_uploads);
                discard(&received).await;
                return Err(Fault::core(400, "The multipart body ended before its time."));
            }
        }
    }
    Ok(received)
}

/// Hangs files on an issue; their ids.
pub(crate) fn attach(call: &Call, world: &mut World, issue: u64, files: Vec<Received>) -> Vec<u64> {
    let mut ids = Vec::new();
    for file in files {
        let attachment = Attachment {
            id: world.fresh_id(),
            issue,
            name: file.name,
            mime: file.mime,
            size: file.size,
            sha256: file.sha256,
            author: call.who.name().map(str::to_owned),
            created: call.app.now(),
            path: file.path,
        };
        ids.push(attachment.id);
        if let Some(issue) = world.issues.get_mut(&issue) {
            issue.attachments.push(attachment.id);
        }
        world.attachments.insert(attachment.id, attachment);
    }
    ids
}

async fn discard(files: &[Received]) {
    for file in files {
        // The folder goes with the process anyway.
        let _ = tokio::fs::remove_file(&file.path).await;
    }
}

async fn receive(app: &App, mut field: multer::Field<'_>) -> Result<Received, Fault> {
    let name = field.file_name().filter(|name| !name.is_empty()).unwrap_or("unnamed").to_owned();
    let mime =
        field.content_type().map_or_else(|| "application/octet-stream".to_owned(), ToString::to_string);
    let path = app.folder.path().join(uuid::Uuid::new_v4().simple().to_string());
    let broken = |fault: std::io::Error| Fault::core(500, format!("The file can't be stored: {fault}"));
    let mut file = tokio::fs::File::create(&path).await.map_err(broken)?;
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    let mut size = 0_u64;
    let fault = loop {
        match field.chunk().await {
            Ok(Some(chunk)) => {
                size += chunk.len() as u64;
                if size > app.options.upload_limit {
                    let status = if app.is("attachment-too-large", "413") { 413 } else { 404 };
                    break Fault::core(status, format!("{name} is too large to attach."));
                }
                digest.update(&chunk);
                file.write_all(&chunk).await.map_err(broken)?;
            }
            Ok(None) => {
                file.flush().await.map_err(broken)?;
                let sha256 = hex(digest.finish().as_ref());
                return Ok(Received { name, mime, size, sha256, path });
            }
            Err(_) => {
                count(&app.counters.broken_uploads);
                break Fault::core(400, "The multipart body ended before its time.");
            }
        }
    };
    // The folder goes with the process anyway.
    let _ = tokio::fs::remove_file(&path).await;
    Err(fault)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An attachment on an issue the caller may see.
fn find<'a>(call: &Call, world: &'a World, id: u64) -> Result<&'a Attachment, Fault> {
    let missing = || Fault::core(404, format!("The attachment with id '{id}' does not exist"));
    let file = world.attachments.get(&id).ok_or_else(missing)?;
    let issue = world.issues.get(&file.issue).ok_or_else(missing)?;
    if may_on(world, &call.who, issue, Right::Browse) { Ok(file) } else { Err(missing()) }
}

pub(crate) async fn one(call: Call, Path(id): Path<u64>) -> Reply {
    let world = call.app.world();
    let file = find(&call, &world, id)?;
    ok(show(&call.app, &world, file))
}

pub(crate) async fn remove(call: Call, Path(id): Path<u64>) -> Reply {
    let mut world = call.app.world();
    let file = find(&call, &world, id)?;
    let issue = file.issue;
    if file.author.as_deref() != call.who.name() || call.who == Who::Anonymous {
        return Err(Fault::core(403, "You may only delete your own attachments."));
    }
    if let Some(issue) = world.issues.get_mut(&issue) {
        issue.attachments.retain(|one| *one != id);
    }
    if let Some(file) = world.attachments.remove(&id) {
        // A file that is already gone is no loss.
        let _ = std::fs::remove_file(&file.path);
    }
    nothing()
}

/// The bytes, outside the REST interface: whoever may not see them is sent to the login page or gets a page.
pub(crate) async fn bytes(call: Call, Path((id, _name)): Path<(u64, String)>, headers: HeaderMap) -> Reply {
    let (path, size, mime, name, tag) = {
        let world = call.app.world();
        match find(&call, &world, id) {
            Ok(file) => {
                let tag = format!("\"{}\"", file.sha256.get(..32).unwrap_or_default());
                (file.path.clone(), file.size, file.mime.clone(), file.name.clone(), tag)
            }
            Err(_) if call.who == Who::Anonymous => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::FOUND;
                let target = format!("{}/login.jsp?permissionViolation=true", call.app.base);
                response.headers_mut().insert(header::LOCATION, value(&target));
                return Ok(response);
            }
            Err(_) => return Err(Fault::Page(StatusCode::NOT_FOUND, "HTTP Status 404".to_owned())),
        }
    };
    let mut response = Response::new(Body::empty());
    let answer = response.headers_mut();
    answer.insert(header::ETAG, value(&tag));
    answer.insert(header::CACHE_CONTROL, value("private, max-age=31536000"));
    if headers.get(header::IF_NONE_MATCH).is_some_and(|given| given.as_bytes() == tag.as_bytes()) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    answer.insert(header::CONTENT_TYPE, value(&mime));
    answer.insert(
        header::CONTENT_DISPOSITION,
        value(&format!("attachment; filename*=UTF-8''{}", encoded(&name))),
    );
    let mut range = (0, size);
    if call.app.is("attachment-range", "yes") {
        answer.insert(header::ACCEPT_RANGES, value("bytes"));
        match wanted_range(&headers, size) {
            Some(Some(wanted)) => {
                let text = format!("bytes {}-{}/{size}", wanted.0, wanted.1 - 1);
                answer.insert(header::CONTENT_RANGE, value(&text));
                range = wanted;
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            }
            Some(None) => {
                answer.insert(header::CONTENT_RANGE, value(&format!("bytes */{size}")));
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                return Ok(response);
            }
            None => {}
        }
    }
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(range.1 - range.0));
    let gone = |_| Fault::Page(StatusCode::NOT_FOUND, "HTTP Status 404".to_owned());
    let mut file = tokio::fs::File::open(&path).await.map_err(gone)?;
    file.seek(SeekFrom::Start(range.0)).await.map_err(gone)?;
    let rest = file.take(range.1 - range.0);
    let stream = futures_util::stream::try_unfold(rest, |mut rest| async move {
        let mut piece = bytes::BytesMut::with_capacity(64 * 1024);
        let read = rest.read_buf(&mut piece).await?;
        Ok::<_, std::io::Error>((read > 0).then(|| (piece.freeze(), rest)))
    });
    *response.body_mut() = Body::from_stream(stream);
    Ok(response)
}

/// `Range: bytes=a-b`, one range only: first byte, and the one after the last.
fn wanted_range(headers: &HeaderMap, size: u64) -> Option<Option<(u64, u64)>> {
    let text = headers.get(header::RANGE)?.to_str().ok()?.strip_prefix("bytes=")?;
    let (from, to) = text.split_once('-')?;
    if text.contains(',') {
        return None;
    }
    let range = match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), Ok(to)) => (from, to.saturating_add(1).min(size)),
        (Ok(from), Err(_)) if to.is_empty() => (from, size),
        (Err(_), Ok(last)) if from.is_empty() => (size.saturating_sub(last), size),
        _ => return None,
    };
    Some((range.0 < range.1).then_some(range))
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
