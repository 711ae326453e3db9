//! The agent's store in a folder of the test's, and callers in it.

use std::path::Path;

use outhaul::agent::callers::Callers;
use outhaul::agent::store::{KeySource, Store};
use outhaul::common::clock::Clock;
use outhaul::config::values::SecretRef;

/// The store in this state folder; its key lies beside the folder, where a copy of the folder finds it too.
pub(crate) fn store_in(state: &Path) -> Store {
    let key = state.with_file_name("store.key");
    Store::open(state, &KeySource::At(SecretRef::File(key))).unwrap()
}

/// Callers in a store below this folder, and the key of each. Also where nothing may wait.
pub(crate) fn callers_in<const N: usize>(folder: &Path, names: [&str; N]) -> (Callers, [String; N]) {
    let store = store_in(&folder.join("state"));
    let made = async {
        let callers = Callers::load(store, Clock::system()).await.unwrap();
        let mut keys = [const { String::new() }; N];
        for (name, key) in names.iter().zip(&mut keys) {
            key.clone_from(callers.add(&name.parse().unwrap()).await.unwrap().expose());
        }
        (callers, keys)
    };
    // A runtime of its own, on a thread of its own: the test may stand in one already.
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(made)
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}
