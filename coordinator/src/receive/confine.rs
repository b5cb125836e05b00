//! [`confine`]: shuts this process in with one folder.
//!
//! In a mount namespace of its own the process gets a root that holds two things: the folder, as [`INSIDE`], and
//! `/proc/self/fd`, through which extended attributes are set; the rest of `/proc/self` has a way out, its `root`. So
//! even an unpacker that followed a link would find nothing to write to. The mounts die with the process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::process::{Pid, Signal};

/// Where the folder is seen from inside.
pub(super) const INSIDE: &str = "/tree";

/// Why the process is not shut in, so nothing may be unpacked.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} `{}`; the coordinator must run as root, with CAP_SYS_ADMIN", path.display())]
pub(crate) struct ConfineError {
    doing: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn failed<E: Into<io::Error>>(doing: &'static str, path: &Path) -> impl FnOnce(E) -> ConfineError {
    move |source| ConfineError { doing, path: path.to_owned(), source: source.into() }
}

/// Ties this process's life to its parent's. The parent may be gone already: then the process ends here.
pub(super) fn die_with(parent: u32) -> Result<(), ConfineError> {
    let itself = Path::new("/proc/self");
    let watch = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    watch.map_err(failed("watch the parent of", itself))?;
    let now = rustix::process::getppid().map(Pid::as_raw_nonzero);
    if now.and_then(|pid| u32::try_from(pid.get()).ok()) == Some(parent) {
        return Ok(());
    }
    Err(failed("find the parent of", itself)(io::Error::other("it is gone")))
}

/// Leaves this process nothing but `folder`, as [`INSIDE`].
pub(super) fn confine(folder: &Path) -> Result<(), ConfineError> {
    own_mounts().map_err(failed("make a mount namespace for", folder))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(failed("keep mounts private below", Path::new("/")))?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::PATH | OFlags::CLOEXEC;
    let handle = rustix::fs::open(folder, flags, Mode::empty()).map_err(failed("open", folder))?;
    let tmpfs = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("imgctl", folder, "tmpfs", tmpfs, Some(c"size=64k,mode=700")).map_err(failed("mount over", folder))?;
    let (tree, own_files) = (folder.join("tree"), folder.join("proc/self/fd"));
    fs::create_dir(&tree).and_then(|()| fs::create_dir_all(&own_files)).map_err(failed("make folders in", folder))?;
    let by_handle = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&handle));
    mount_bind(by_handle, &tree).map_err(failed("bind", &tree))?;
    mount_bind("/proc/self/fd", &own_files).map_err(failed("bind", &own_files))?;
    rustix::process::chroot(folder).map_err(failed("change root to", folder))?;
    rustix::process::chdir("/").map_err(failed("change to", folder))
}

#[expect(unsafe_code, reason = "rustix marks all of unshare unsafe, for the sake of its FILES flag")]
fn own_mounts() -> rustix::io::Result<()> {
    // SAFETY: only the mount namespace (and with it the working directory) is unshared, no file table.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }
}
