//! The `imgctl` command: a shim over the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("the system has threads to give");
    let env = |name: &str| std::env::var(name).ok();
    let exit = runtime.block_on(cli::run(std::env::args_os(), env, cli::Streams::of_process()));
    // A question that nobody answered still reads standard input; it must not hold the process.
    runtime.shutdown_background();
    exit.into()
}
