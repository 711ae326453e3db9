//! The heads of the agents' audit chains: what a site can be held to later.

use std::collections::HashMap;

use rusqlite::{OptionalExtension as _, Row, params};

use super::{Store, StoreFault, seconds, unsigned};
use crate::common::ids::AgentId;
use crate::identity::audit_head::{ChainHead, SignedHead, Succession};
use crate::identity::encoded::Encoded;

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// The highest head that the agent has shown.
    pub head: SignedHead,
    /// When the relay first saw it. Seconds since 1970.
    pub seen: u64,
}

impl Store {
    /// Keeps a head whose signature was checked if it is the highest of its agent; says what it means beside the one
    /// kept before, and gives that.
    pub async fn keep_anchor(
        &self,
        agent: AgentId,
        head: SignedHead,
        now: u64,
    ) -> Result<(Succession, Option<Anchor>), StoreFault> {
        self.call(move |connection| {
            let kept = connection
                .prepare_cached(&format!("{SELECT} WHERE agent = ?1"))?
                .query_row([agent.as_bytes()], |row| Ok(read(row)?.1))
                .optional()?;
            let means = kept.as_ref().map_or(Succession::Newer, |kept| head.beside(&kept.head));
            if means == Succession::Newer {
                connection
                    .prepare_cached(
                        "INSERT INTO audit_anchors (agent, number, head, time, signature, seen)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                         ON CONFLICT (agent) DO UPDATE SET
                             number = excluded.number, head = excluded.head, time = excluded.time,
                             signature = excluded.signature, seen = excluded.seen",
                    )?
                    .execute(params![
                        agent.as_bytes(),
                        seconds(head.number),
                        head.head.0,
                        seconds(head.time),
                        head.signature.0,
                        seconds(now)
                    ])?;
            }
            Ok((means, kept))
        })
        .await
    }

    /// All of them.
    pub async fn anchors(&self) -> Result<HashMap<AgentId, Anchor>, StoreFault> {
        self.call(|connection| {
            let mut statement = connection.prepare_cached(SELECT)?;
            let anchors = statement.query_map([], read)?;
            Ok(anchors.collect::<Result<_, _>>()?)
        })
        .await
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<(AgentId, Anchor)> {
    let head = SignedHead {
        number: unsigned(row.get(1)?),
        head: ChainHead(row.get(2)?),
        time: unsigned(row.get(3)?),
        signature: Encoded(row.get(4)?),
    };
    Ok((AgentId::from_bytes(row.get(0)?), Anchor { head, seen: unsigned(row.get(5)?) }))
}

const SELECT: &str = "SELECT agent, number, head, time, signature, seen FROM audit_anchors";
