//! The subcommands up to their exit status.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "joining is done by a person, who reads the answer here"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use model::arch::Arch;
use proto::supervision::ServiceManager;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args::Join;
use crate::build::failure::chain;
use crate::config::{Config, proxies};
use crate::join::Joined;
use crate::{join as joining, worker};

/// How long what can't be interrupted may hold up the end of the process.
const LEAVING: Duration = Duration::from_secs(1);

/// `imgctl-agent run`.
pub fn run(config: &Path, allow_emulation: &[Arch]) -> ExitCode {
    if !rustix::process::geteuid().is_root() {
        return fail("imgctl-agent must run as root: it mounts, makes device nodes and changes owners", 2);
    }
    let mut config = match Config::load(config) {
        Ok(config) => config,
        Err(error) => return fail(&chain(&error), 2),
    };
    config.proxies = proxies(std::env::vars_os());
    config.allow_emulation.extend(allow_emulation);
    config.manager = ServiceManager::from_environment(std::process::id(), |name| std::env::var_os(name));
    let ended = Runtime::new().map_err(crate::AgentError::Runtime).and_then(|runtime| {
        let ended = runtime.block_on(until_stopped(config));
        // A tree that is still being deleted is found at the next start.
        runtime.shutdown_timeout(LEAVING);
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        // As above: it takes a person, so its unit isn't started again and again.
        Err(error @ crate::AgentError::Identity(_)) => fail(&chain(&error), 2),
        Err(error) => fail(&chain(&error), 1),
    }
}

async fn until_stopped(config: Config) -> Result<(), crate::AgentError> {
    let shutdown = CancellationToken::new();
    let asked = shutdown.clone();
    let (mut term, mut int) = (
        signal(SignalKind::terminate()).map_err(crate::AgentError::Runtime)?,
        signal(SignalKind::interrupt()).map_err(crate::AgentError::Runtime)?,
    );
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("stopping");
        asked.cancel();
    });
    crate::run(config, shutdown).await
}

/// `imgctl-agent join`.
pub fn join(args: &Join) -> ExitCode {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.to_string(), 1),
    };
    match runtime.block_on(joining::join(args)) {
        Ok(Joined { name, folder, elsewhere }) => {
            println!("joined as {name}; the identity is in {}", folder.display());
            if let Some(coordinator) = elsewhere {
                println!(
                    "note: the configuration names {coordinator} as the coordinator, so that is where it will connect"
                );
            }
            // Its unit reads the usual configuration.
            let by_hand = |path: &PathBuf| format!("imgctl-agent run --config {}", path.display());
            println!(
                "next: {}",
                args.config.as_ref().map_or("systemctl enable --now imgctl-agent".to_owned(), by_hand)
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

/// `imgctl-agent worker`.
pub fn worker(order: &Path, recipe: bool) -> ExitCode {
    let ended = if recipe { worker::carry_out(order) } else { worker::init::run(order) };
    ended.unwrap_or_else(|error| fail(&chain(&error), 1))
}

fn fail(text: &str, code: u8) -> ExitCode {
    tracing::error!("{text}");
    ExitCode::from(code)
}
