//! What each subcommand does, says and exits with: 0 done, 1 failed, 2 usage, 3 refused.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is where the program speaks to its user")]

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use model::name::UserName;
use model::role::Role;
use proto::supervision::ServiceManager;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::args::InitArgs;
use crate::check::{self, Wanted};
use crate::config::{Config, ConfigError, DEFAULT_PATH};
use crate::offline::{self, PackTree};
use crate::{init as first, serve};

const FAILED: u8 = 1;
const REFUSED: u8 = 3;

/// `run`: until SIGTERM or Ctrl-C.
pub fn daemon(config: impl FnOnce() -> Result<Config, ConfigError>) -> ExitCode {
    let mut config = match needs_root().and_then(|()| config().map_err(Into::into)) {
        Ok(config) => config,
        Err(error) => return fail(REFUSED, error.as_ref()),
    };
    config.manager = ServiceManager::from_environment(std::process::id(), |name| std::env::var_os(name));
    start_logging();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(FAILED, &error),
    };
    match runtime.block_on(serve_until_signal(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, error.as_ref()),
    }
}

async fn serve_until_signal(config: Config) -> Result<(), Box<dyn Error>> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let on_signal = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        on_signal.cancel();
    });
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}; is another coordinator running?", config.listen))?;
    let address = listener.local_addr()?;
    let manager = config.manager.clone();
    let ready = move || {
        manager.ready();
        // Port 0 is for tests and demonstrations: they read the real one here.
        println!("listening on {address}");
        tracing::info!(%address, "listening");
    };
    Ok(serve::run(config, listener, ready, stop).await?)
}

fn start_logging() {
    let filter = EnvFilter::try_from_env("IMGCTL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}

fn needs_root() -> Result<(), Box<dyn Error>> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err("the coordinator must run as root: it keeps owners, devices and capabilities of root images".into())
}

/// `init`.
pub fn init(args: InitArgs) -> ExitCode {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    match first::init(args, home) {
        Ok(made) => {
            let kept = if made.config_kept {
                "  (was there and stays as it is; edit it to change folders or port)"
            } else {
                ""
            };
            println!("configuration   {}{kept}", made.config.display());
            println!("admin           {}", made.admin_dir.display());
            println!("CA fingerprint  {}", made.fingerprint);
            println!("next: {}", next(&made.config));
            ExitCode::SUCCESS
        }
        Err(error) => fail(REFUSED, &error),
    }
}

/// How it is started: by its unit, or by hand where the configuration is none that the unit reads.
fn next(config: &Path) -> String {
    if config == Path::new(DEFAULT_PATH) {
        return "systemctl enable --now imgctl-coordinator".to_owned();
    }
    format!("imgctl-coordinator run --config {}", config.display())
}

/// `issue`.
pub fn issue(config: &Path, name: &UserName, role: Role, out: &Path, days: u32) -> ExitCode {
    if role == Role::Agent {
        eprintln!(
            "error: a person's role is viewer, operator or admin; agents join with a token: `imgctl agents token` prints how"
        );
        return ExitCode::from(REFUSED);
    }
    match first::issue(config, name, role, out, days) {
        Ok(()) => {
            let out = out.display();
            println!("{name} ({role}) has an identity in {out}");
            println!("here:      imgctl --config {out}/config.toml --identity {out} …");
            println!(
                "elsewhere: copy the folder to ~/.config/imgctl/identity, and its config.toml to ~/.config/imgctl/"
            );
            ExitCode::SUCCESS
        }
        Err(error) => fail(REFUSED, &error),
    }
}

/// `check`.
pub fn check(config: &Path, wanted: Wanted, json: bool) -> ExitCode {
    let looked = needs_root().and_then(|()| Ok(check::check(&Config::load(config)?, wanted)?));
    let report = match looked {
        Ok(report) => report,
        Err(error) => return fail(REFUSED, error.as_ref()),
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&report).expect("a report is made of plain values"));
    } else {
        println!("{report}");
    }
    if report.needs_somebody() { ExitCode::from(FAILED) } else { ExitCode::SUCCESS }
}

/// `pack-tree`.
pub fn pack_tree(
    root: &Path,
    out: &Path,
    method: &str,
    compress: &str,
    exlists: &[PathBuf],
    threads: usize,
) -> ExitCode {
    let order = PackTree {
        root: root.to_owned(),
        out: out.to_owned(),
        method: method.to_owned(),
        compress: compress.to_owned(),
        exlists: exlists.to_vec(),
        threads: NonZeroUsize::new(threads),
    };
    match offline::pack_tree(&order) {
        Ok((report, warnings)) => {
            for warning in warnings {
                eprintln!("warning: {warning}");
            }
            println!("{}: {} entries, {} bytes, {}", out.display(), report.entries, report.bytes_out, report.digest);
            ExitCode::SUCCESS
        }
        Err(error @ (offline::PackTreeError::Format(_) | offline::PackTreeError::Exlist { .. })) => {
            fail(REFUSED, &error)
        }
        Err(error) => fail(FAILED, &error),
    }
}

/// `unpack`, which the coordinator calls itself.
pub fn unpack(dest: &Path, parent: u32) -> ExitCode {
    match offline::unpack(dest, parent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, &error),
    }
}

fn fail(code: u8, error: &(impl Error + ?Sized)) -> ExitCode {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    eprintln!("error: {text}");
    ExitCode::from(code)
}
