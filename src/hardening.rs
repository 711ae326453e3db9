//! Keeps a process's memory, and the secrets in it, to itself: no core dump, and no look inside by other processes.
//!
//! Both programs call [`harden`] before they read anything. There is no switch: who must debug a running process is
//! root, and root may still trace it.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit, set_dumpable_behavior, setrlimit,
};

/// What holds for this process, as the kernel tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hardening {
    /// No core file is written: `RLIMIT_CORE` is 0, hard limit included.
    pub no_core_file: bool,
    /// Not “dumpable” (`PR_SET_DUMPABLE`, prctl(2)): other processes of the same user can't trace it or read its memory and
    /// environment, and no core goes to a program that collects them either, which the limit alone does not prevent (core(5)).
    pub closed: bool,
}

impl Hardening {
    /// Whether both hold.
    pub fn is_whole(self) -> bool {
        self.no_core_file && self.closed
    }
}

/// Takes core dumps and foreign looks away, for this process and for good. Gives what holds then.
pub fn harden() -> Hardening {
    // Only a sandbox that forbids the calls makes them fail; what holds is asked of the kernel and shown.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    state()
}

/// What holds now.
pub fn state() -> Hardening {
    let limit = getrlimit(Resource::Core);
    Hardening {
        no_core_file: limit.current == Some(0) && limit.maximum == Some(0),
        closed: dumpable_behavior() == Ok(DumpableBehavior::NotDumpable),
    }
}

/// For the log, once there is one.
pub fn tell() {
    let state = state();
    if state.is_whole() {
        tracing::debug!("no core dumps, and no other process of this user may read this one's memory");
    } else {
        let Hardening { no_core_file, closed } = state;
        tracing::warn!(
            no_core_file,
            closed,
            "this process could not be closed to core dumps or to other processes of its user: secrets in its memory \
             are less safe; look for a sandbox that forbids setrlimit or prctl"
        );
    }
}
