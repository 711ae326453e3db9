//! Through relay and agent against direct: whatever passes, passes unchanged, and what breaks off is never taken for
//! whole. Real processes, and an upstream whose every byte the test decides.

mod answers;
mod crowd;
mod ends;
mod heads;
mod matrix;
mod pace;
