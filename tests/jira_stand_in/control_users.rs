//! The part of the test's own interface that changes users and their tokens, below `/_control`:
//!
//! - `POST /users/USER/deactivate`, `POST /users/USER/reactivate`: an inactive user's tokens (personal and OAuth) and
//!   sessions are answered as unknown ones would be, after the switches `invalid-bearer` and `inactive-myself`.
//! - `POST /users/USER/rename/NEW`: the name changes, the key stays; tokens, sessions and consents go on.
//! - `POST /tokens/USER/expire`, `POST /tokens/USER/revoke`: every personal access token of USER expires, or is
//!   deleted.
//! - `POST /captcha/USER/clear`: the next password is judged as if none had been wrong.
//!
//! USER is a username or a key. All answer 204, or 404 where there is no such user.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::post;
use serde_json::json;

use crate::app::App;
use crate::rename::rename;
use crate::wire::{Reply, nothing, status};
use crate::world::World;

/// Below `/_control`.
pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/users/{user}/deactivate", post(deactivate))
        .route("/users/{user}/reactivate", post(reactivate))
        .route("/users/{user}/rename/{new}", post(rename_user))
        .route("/captcha/{user}/clear", post(clear_captcha))
        .route("/tokens/{user}/expire", post(expire))
        .route("/tokens/{user}/revoke", post(revoke))
}

/// Does something for a user, who is given by the present name.
fn with_user(app: &App, user: &str, change: impl FnOnce(&mut World, &str) -> Reply) -> Reply {
    let mut world = app.world();
    match world.user(user).map(|user| user.name.clone()) {
        Some(name) => change(&mut world, &name),
        None => status(404, json!({ "fault": format!("there is no user {user}") })),
    }
}

fn set_active(app: &App, user: &str, active: bool) -> Reply {
    with_user(app, user, |world, name| {
        if let Some(user) = world.users.get_mut(name) {
            user.active = active;
        }
        nothing()
    })
}

async fn deactivate(State(app): State<Arc<App>>, Path(user): Path<String>) -> Reply {
    set_active(&app, &user, false)
}

async fn reactivate(State(app): State<Arc<App>>, Path(user): Path<String>) -> Reply {
    set_active(&app, &user, true)
}

async fn rename_user(State(app): State<Arc<App>>, Path((user, new)): Path<(String, String)>) -> Reply {
    with_user(&app, &user, |world, name| {
        if rename(world, name, &new) {
            return nothing();
        }
        status(409, json!({ "fault": format!("there is a user {new} already") }))
    })
}

async fn clear_captcha(State(app): State<Arc<App>>, Path(user): Path<String>) -> Reply {
    with_user(&app, &user, |world, name| {
        if let Some(user) = world.users.get_mut(name) {
            user.failed_logins = 0;
        }
        nothing()
    })
}

async fn expire(State(app): State<Arc<App>>, Path(user): Path<String>) -> Reply {
    with_user(&app, &user, |world, name| {
        for token in world.tokens.values_mut().filter(|token| token.user == name) {
            token.expires_at = 0;
        }
        nothing()
    })
}

async fn revoke(State(app): State<Arc<App>>, Path(user): Path<String>) -> Reply {
    with_user(&app, &user, |world, name| {
        world.tokens.retain(|_, token| token.user != name);
        nothing()
    })
}
