//! The agent: see `outhaul::agent`.

fn main() -> std::process::ExitCode {
    outhaul::agent::main()
}
