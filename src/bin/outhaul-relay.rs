//! The relay: see `outhaul::relay`.

/// Calls are many small blocks of short life; the C library's allocator spent a sixth of their time.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    outhaul::relay::main()
}
