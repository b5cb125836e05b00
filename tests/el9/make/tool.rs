//! Running the tools, in a home of their own, and several pieces of work at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use super::recipe::Recipe;

/// Folders for what is needed while a medium is made.
#[derive(Debug)]
pub(super) struct Workshop {
    folder: PathBuf,
    home: tempfile::TempDir,
}

impl Workshop {
    /// A workshop in an empty folder.
    pub(super) fn open(folder: &Path) -> Self {
        // gpg's agent listens below its home, and a socket's path may have 107 bytes: not in `folder`, which may be deep.
        let home = tempfile::Builder::new().prefix("el9-").tempdir_in("/tmp").expect("/tmp can be written");
        let workshop = Self { folder: folder.to_owned(), home };
        // Debian's librpm keeps its database in the home otherwise, that of any root it installs into, too.
        let macros = format!("%_dbpath {}\n", folder.join("rpmdb").display());
        fs::write(workshop.home.path().join(".rpmmacros"), macros).expect("the home can be written");
        fs::create_dir_all(workshop.path("roots")).expect("the workshop can be written");
        workshop
    }

    /// A path in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The home of whatever is run here.
    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where the files of a package are laid out.
    pub(super) fn build_root(&self, recipe: &Recipe) -> PathBuf {
        self.path("roots").join(recipe.label())
    }

    /// A command that knows nothing of the user's own settings.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.home())
            .env("LANG", "C.UTF-8")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("GNUPGHOME", self.home().join("gnupg")).stdin(Stdio::null());
        command
    }
}

/// Runs a command to its end; panics with what it said when it fails.
pub(super) fn run(command: &mut Command) -> String {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().unwrap_or_else(|error| {
        panic!("cannot start {name} ({error}); deploy/tools/install.sh test installs what the tests need")
    });
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let end: Vec<&str> = said.lines().rev().take(20).collect();
        let end: Vec<&str> = end.into_iter().rev().collect();
        panic!(
            "{name} failed, {}, its last argument {:?}:\n{}",
            output.status,
            command.get_args().last(),
            end.join("\n")
        );
    }
    String::from_utf8(output.stdout).unwrap_or_else(|error| panic!("{name} did not write UTF-8: {error}"))
}

/// Does something for every item, as many at once as there are processors, and at least two.
pub(super) fn all<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let threads = std::thread::available_parallelism().map_or(2, |number| number.get().clamp(2, 8));
    let waiting = Mutex::new(items.iter());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(item) = waiting.lock().expect("nobody panics holding it").next() else { break };
                    work(item);
                }
            });
        }
    });
}
