//! Callers with tokens of an issuer, through a relay and an agent that run: who gets through, as whom, and what is tried.

mod attacks;
mod outages;
mod people;
mod stand;

use crate::support::process::text;
use crate::support::world::World;
use stand::Stand;

/// Lets the agent take the stand's tokens: those with the azp 1111 are the caller `bot`'s.
fn trust(world: &World, stand: &Stand, more: &str) {
    let table = format!(
        "[issuer.own]\nissuer = \"{}\"\naudience = \"api://outhaul\"\nkey-set = \"https://localhost:{}/keys\"\n\
         ca-file = \"{}\"\ncallers = [{{ claim = \"azp\", value = \"1111\", caller = \"bot\" }}]\n\
         refetch-after = \"1 s\"\n{more}\n\n[upstream.jira]",
        stand::ISS,
        stand.port,
        text(&world.authority.file),
    );
    world.edit_agent("[upstream.jira]", &table);
}
