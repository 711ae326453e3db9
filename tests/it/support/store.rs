//! The agent's store in a folder of the test's, and callers in it.

use std::path::Path;

use outhaul::agent::audit::{Audit, Settings, Signer, Writer};
use outhaul::agent::callers::Callers;
use outhaul::agent::idempotency::Ledger;
use outhaul::agent::remembered::Remembered;
use outhaul::agent::store::{KeySource, Store};
use outhaul::common::clock::Clock;
use outhaul::common::ids::AgentId;
use outhaul::common::tasks::Tasks;
use outhaul::config::values::SecretRef;
use outhaul::identity::keys::SigningKey;

/// The store in this state folder; its key lies beside the folder, where a copy of the folder finds it too.
pub(crate) fn store_in(state: &Path) -> Store {
    let key = state.with_file_name("store.key");
    Store::open(state, &KeySource::At(SecretRef::File(key))).unwrap()
}

/// Callers and the audit in a store below this folder, and the key of each caller. Also where nothing may wait.
pub(crate) fn callers_in<const N: usize>(folder: &Path, names: [&str; N]) -> (Callers, Audit, [String; N]) {
    let store = store_in(&folder.join("state"));
    let made = async {
        let audit = Audit::open(store.clone(), Clock::system(), Settings::default()).await.unwrap();
        let callers = Callers::load(store, Clock::system()).await.unwrap();
        let mut keys = [const { String::new() }; N];
        for (name, key) in names.iter().zip(&mut keys) {
            key.clone_from(callers.add(&name.parse().unwrap()).await.unwrap().expose());
        }
        (callers, audit, keys)
    };
    wait_for(made)
}

/// What this store remembers of calls with a key, by this clock.
pub(crate) fn remembered_in(store: Store, ledger: Ledger, clock: Clock) -> Remembered {
    wait_for(Remembered::load(store, ledger, clock)).unwrap()
}

/// On a runtime of its own, on a thread of its own: the test may stand in one already.
fn wait_for<R: Send>(made: impl Future<Output = R> + Send) -> R {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(made)
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

/// Lets the audit be written among these tasks, signed by an agent that nobody knows.
pub(crate) fn write_audit(audit: &Audit, tasks: &Tasks) {
    let signer = Signer { agent: AgentId::generate(), key: SigningKey::generate().unwrap().0 };
    Writer::start(audit, signer, tasks);
}
