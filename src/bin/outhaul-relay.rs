//! The relay: see `outhaul::relay`.

fn main() -> std::process::ExitCode {
    outhaul::relay::main()
}
