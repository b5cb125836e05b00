//! The management node's NFS server: nfs-ganesha, which needs nothing of this machine's kernel.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::network::MN;
use crate::process::Daemon;
use crate::wait::eventually;

/// How long it may take to listen.
const START: Duration = Duration::from_secs(30);

/// What nodes may do with the export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everything, as root.
    Full,
    /// Everything, and root is nobody in particular.
    RootSquash,
    /// Read.
    ReadOnly,
}

impl Access {
    fn lines(self) -> &'static str {
        match self {
            Self::Full => "Access_Type = RW; Squash = No_Root_Squash;",
            Self::RootSquash => "Access_Type = RW; Squash = Root_Squash;",
            Self::ReadOnly => "Access_Type = RO; Squash = No_Root_Squash;",
        }
    }
}

/// A server with one export, `/install`.
#[derive(Debug)]
pub struct Nfs {
    folder: PathBuf,
    export: PathBuf,
    daemon: Option<Daemon>,
}

impl Nfs {
    /// Serves `export`; configuration, log and state lie in `folder`.
    pub fn start(folder: &Path, export: &Path, access: Access) -> Self {
        fs::create_dir_all(folder.join("recovery")).expect("a folder");
        let mut server = Self { folder: folder.to_owned(), export: export.to_owned(), daemon: None };
        server.begin(access);
        server
    }

    /// Starts it again after [`Self::stop`], perhaps with another access.
    pub fn begin(&mut self, access: Access) {
        let config = self.folder.join("ganesha.conf");
        fs::write(&config, self.config(access)).expect("a file");
        let mut command = Command::new("ganesha.nfsd");
        command.arg("-F").arg("-f").arg(&config).arg("-L").arg(self.folder.join("ganesha.log"));
        command.arg("-p").arg(self.folder.join("pid"));
        let mut daemon = Daemon::start(command, &self.folder.join("ganesha.err"));
        eventually("the NFS server to listen", START, || {
            let log = || fs::read_to_string(self.folder.join("ganesha.log")).unwrap_or_default();
            assert!(daemon.ended().is_none(), "ganesha ended: {}{}", daemon.log(), log());
            TcpStream::connect((MN, 2049)).ok()
        });
        self.daemon = Some(daemon);
    }

    /// Ends it as a crash would: what clients hold they must claim again.
    pub fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill();
        }
    }

    fn config(&self, access: Access) -> String {
        let (recovery, export) = (self.folder.join("recovery"), &self.export);
        format!(
            "NFS_CORE_PARAM {{ Protocols = 4; NFS_Port = 2049; Enable_NLM = false; Enable_RQUOTA = false;
              Enable_UDP = false; Bind_addr = {MN}; mount_path_pseudo = true; fsid_device = true; }}
             NFSv4 {{ Grace_Period = 5; Lease_Lifetime = 10; RecoveryBackend = fs; RecoveryRoot = {recovery:?};
              Minor_Versions = 1,2; Only_Numeric_Owners = true; Allow_Numeric_Owners = true; }}
             EXPORT {{ Export_Id = 1; Path = {export:?}; Pseudo = /install; {} Protocols = 4; Transports = TCP;
              PrivilegedPort = false; SecType = sys; FSAL {{ Name = VFS; }} }}\n",
            access.lines()
        )
    }
}
