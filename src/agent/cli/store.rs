//! `store backup|restore|rekey|verify`: through the running daemon, or on the files where none runs.

use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use super::audit::{Source, shown};
use super::understood;
use crate::agent::audit::{Event, Record, record_alone};
use crate::agent::config::Config;
use crate::agent::store::{
    BackupFault, KeySource, Resealed, Store as Open, StoreKey, Verified, give_to_owner, restore,
};
use crate::common::clock::Clock;
use crate::common::report::{Exit, Report};
use crate::config::values::SecretRef;
use crate::net::local::Client;
use crate::terminal;

/// What the agent keeps: its identity, callers, credentials, links and audit.
#[derive(Debug, Subcommand)]
pub enum Store {
    /// Write an encrypted backup, also while the agent runs. It opens only with the store's key, which is not in it.
    Backup {
        /// A new file for it. By default one in the state folder.
        file: Option<PathBuf>,
    },
    /// Put a backup in the place of a store, here or on another machine that has the store's key. The agent must not
    /// run.
    Restore {
        /// The backup.
        file: PathBuf,
        /// Move a store that is there aside, into a folder beside it.
        #[arg(long)]
        replace: bool,
    },
    /// Change the store's key at once, and seal all secrets anew while the agent runs on.
    Rekey {
        /// A file with the new key: 64 hexadecimal digits. Needed where the key is a systemd credential; where it
        /// lies in a file, a new one is made and put in its place.
        #[arg(long, value_name = "FILE")]
        new_key: Option<PathBuf>,
    },
    /// Read the whole store and open every secret; says what is broken.
    Verify,
}

/// Does one of them.
pub fn store(file: &Path, what: &Store, json: bool) -> Result<(), Report> {
    let config = Config::load(file)?;
    terminal::block_on(async {
        match what {
            Store::Backup { file } => backup(&config, file.as_deref(), json).await,
            Store::Restore { file, replace } => put_back(&config, file, *replace, json).await,
            Store::Rekey { new_key } => rekey(&config, new_key.as_deref(), json).await,
            Store::Verify => verify(&config, json).await,
        }
    })
}

async fn backup(config: &Config, to: Option<&Path>, json: bool) -> Result<(), Report> {
    if let Some(to) = to.filter(|to| to.symlink_metadata().is_ok()) {
        return Err(faulty(&BackupFault::Exists(to.to_owned())));
    }
    let path = if let Some(client) = daemon(config).await? {
        let made = client.post("/store/backup", &json!({})).await?;
        let made = PathBuf::from(made.get("path").and_then(Value::as_str).unwrap_or_default());
        // The daemon may write in its own folder only.
        if made.parent() != Some(config.state.as_path()) {
            let text =
                format!("the daemon says that the backup is {}, which is not in its folder", made.display());
            return Err(Report::new(Exit::Protocol, text));
        }
        to.map_or(Ok(made.clone()), |to| take(&made, to))?
    } else {
        let name = format!("store-{}.backup", Clock::system().unix_seconds());
        let to = to.map_or_else(|| config.state.join(name), Path::to_owned);
        let store = open(config)?;
        store.backup(&to).await.map_err(|fault| faulty(&fault))?;
        record(&store, Event::StoreBackup, &to.display().to_string()).await?;
        to
    };
    if json {
        terminal::say_json(&json!({ "path": path }));
    } else {
        terminal::say(&format!(
            "The backup is {}.\nIt opens only with the store's key, which is not in it: keep a copy of the key \
             elsewhere.",
            path.display()
        ));
    }
    Ok(())
}

async fn put_back(config: &Config, from: &Path, replace: bool, json: bool) -> Result<(), Report> {
    let aside = format!("replaced-{}", Clock::system().unix_seconds());
    let restored = restore(from, &config.state, &config.store.key, replace, &aside);
    let restored = restored.map_err(|fault| faulty(&fault))?;
    record(&open(config)?, Event::StoreRestore, &from.display().to_string()).await?;
    give_to_owner(&config.state);
    if json {
        terminal::say_json(&json!({ "store": restored.store, "moved": restored.moved }));
        return Ok(());
    }
    let mut text = format!("The store {} is back in {}.", restored.store, config.state.display());
    if let Some(moved) = &restored.moved {
        let _ = write!(text, "\nThe store that was there before lies in {} now.", moved.display());
    }
    text.push_str(
        "\nIf the agent that made the backup still runs, or has connected since, the relay takes this one for a copy \
         and refuses it: stop that one, and enrol this one anew with `outhaul-agent enrol --replace`.",
    );
    terminal::say(&text);
    Ok(())
}

async fn rekey(config: &Config, new_key: Option<&Path>, json: bool) -> Result<(), Report> {
    let client = daemon(config).await?;
    let store = if client.is_none() { Some(open(config)?) } else { None };
    let (source, state) = (&config.store.key, &config.state);
    let given =
        new_key.map(|path| KeySource::At(SecretRef::File(path.to_owned())).read_text(state)).transpose();
    let given = given.map_err(|fault| Report::from_error(Exit::Config, &fault))?;
    if given.is_none() && source.make_next(state).map_err(|fault| fault.report())?.is_none() {
        return Err(Report::new(
            Exit::Usage,
            "the store's key does not lie in a file, so no new one can be put there",
        )
        .with_remedy("Write a new key into a file (`openssl rand -hex 32`) and name it with --new-key."));
    }
    if let Some(client) = &client {
        let key = given.as_ref().map(|key| key.expose().as_str());
        client.post("/store/rekey", &json!({ "key": key })).await?;
    }
    if let Some(store) = &store {
        let key = match &given {
            Some(text) => StoreKey::parse(text.expose()),
            None => source.next(state),
        };
        let key = key.ok_or_else(|| Report::new(Exit::Config, "the new key can't be read"))?;
        store.rekey(key).await.map_err(|fault| fault.report())?;
        while store.reseal().await.map_err(|fault| fault.report())? == Resealed::More {}
        record(store, Event::StoreRekey, "").await?;
    }
    if given.is_none() {
        source.take_next(state).map_err(|fault| fault.report())?;
    }
    let place = source.file().map(|path| path.display().to_string());
    if json {
        terminal::say_json(&json!({ "rekeyed": true, "key": place.as_ref().filter(|_| given.is_none()) }));
        return Ok(());
    }
    let mut text = match (&given, &place) {
        (None, Some(place)) => format!("The store has a new key, in {place}. Keep a copy of it in a safe place."),
        _ => "The store has the new key. Put it where the agent reads its key from before the agent starts again."
            .to_owned(),
    };
    text.push_str("\nThe old key opens backups that were made before, and nothing else.");
    if client.is_some() {
        text.push_str("\nThe secrets are being sealed anew; `outhaul-agent status` shows when that is done.");
    }
    terminal::say(&text);
    Ok(())
}

async fn verify(config: &Config, json: bool) -> Result<(), Report> {
    let (mut verified, source): (Verified, _) = if let Some(client) = daemon(config).await? {
        (understood(client.get("/store/verify").await?)?, Source::Daemon(client))
    } else {
        let store = open(config)?;
        (store.verify().await.map_err(|fault| faulty(&fault))?, Source::Store(store))
    };
    // The chain is the audit's affair, and part of what the store keeps.
    let audit = source.verify(&[]).await?;
    verified.broken.extend(audit.broken.as_ref().map(shown));
    if json {
        terminal::say_json(&serde_json::to_value(&verified).unwrap_or_default());
    } else if verified.broken.is_empty() {
        terminal::say(&format!(
            "The store {} is whole; {} secrets open, and the chain of {} audit records holds.",
            verified.store, verified.secrets, audit.records
        ));
    }
    if verified.broken.is_empty() {
        return Ok(());
    }
    let text = format!("the store {} is broken:\n  {}", verified.store, verified.broken.join("\n  "));
    Err(Report::new(Exit::InputOutput, text)
        .with_remedy("Stop the agent, and restore the store from a backup."))
}

/// What was done to a store while no daemon ran.
async fn record(store: &Open, event: Event, detail: &str) -> Result<(), Report> {
    let record = Record::new(event).by("the command line");
    let record = if detail.is_empty() { record } else { record.detail(detail) };
    record_alone(store, &Clock::system(), &record).await.map_err(|fault| fault.report())
}

/// The running daemon, if one runs.
pub(super) async fn daemon(config: &Config) -> Result<Option<Client>, Report> {
    let client = Client::new(&config.admin_socket, super::PROGRAM).patient(PATIENCE);
    match client.get("/status").await {
        Ok(_) => Ok(Some(client)),
        Err(report) if report.exit() == Exit::Unavailable => Ok(None),
        Err(report) => Err(report),
    }
}

/// Never makes a store.
pub fn open(config: &Config) -> Result<Open, Report> {
    if !config.state.join("store.keys").exists() && !config.state.join("store.db").exists() {
        let text = format!("there is no store in {}: this agent was never enrolled", config.state.display());
        return Err(Report::new(Exit::Config, text)
            .with_remedy("Run `outhaul-agent enrol`, or name another file with --config."));
    }
    Open::open(&config.state, &config.store.key).map_err(|fault| fault.report())
}

/// Moves a file of the daemon's to where the person wants it, readable for that person only.
fn take(from: &Path, to: &Path) -> Result<PathBuf, Report> {
    // The folder is another user's: what lies there may have become a link.
    let open =
        File::options().read(true).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()).open(from);
    let copied = open.and_then(|mut from| {
        let mut out = File::options().write(true).create_new(true).mode(0o600).open(to)?;
        std::io::copy(&mut from, &mut out)?;
        out.sync_all()
    });
    copied.map_err(|error| {
        let text = format!(
            "the backup lies at {}, but could not be copied to {}: {error}",
            from.display(),
            to.display()
        );
        Report::new(Exit::CannotCreate, text)
    })?;
    let _ = std::fs::remove_file(from);
    Ok(to.to_owned())
}

fn faulty(fault: &BackupFault) -> Report {
    match fault {
        BackupFault::Store(fault) => fault.report(),
        BackupFault::Exists(_) | BackupFault::Occupied(_) => Report::from_error(Exit::CannotCreate, fault),
        BackupFault::NotABackup(_) => Report::from_error(Exit::Data, fault),
        BackupFault::File { .. } => Report::from_error(Exit::InputOutput, fault),
    }
}

/// A large store takes its time.
const PATIENCE: Duration = Duration::from_secs(3600);
