//! A machine under emulation: one QEMU process with a console log, two disks and a card, and an agent in it that runs
//! commands.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::disks::Disk;
use super::qga::{Answer, Qga};
use crate::process::Daemon;

/// What differs from one machine to the next.
#[derive(Debug, Clone)]
pub struct GuestOptions {
    /// Its host name. From the first moment on: by it an NFS server tells clients apart.
    pub name: &'static str,
    /// MiB.
    pub memory: u32,
    /// Processors.
    pub cpus: u8,
    /// The card on the host's side.
    pub tap: String,
    /// Of the card on its own side.
    pub mac: String,
    /// A tar archive that its first boot unpacks into the root.
    pub own: PathBuf,
}

/// See the module.
#[derive(Debug)]
pub struct Guest {
    folder: PathBuf,
    disk: Disk,
    options: GuestOptions,
    qga: Qga,
    machine: Option<Daemon>,
}

impl Guest {
    /// A machine that is off. Its layer of the disk, which stays for later starts, and its console's log lie in `folder`.
    pub fn new(folder: &Path, disk: &Disk, options: GuestOptions) -> Self {
        fs::create_dir_all(folder).expect("a folder");
        let layer = folder.join("layer.qcow2");
        if !layer.exists() {
            let mut command = Command::new("qemu-img");
            command.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(disk.root()).arg(&layer);
            assert!(command.status().expect("there is a qemu-img").success(), "no layer above {:?}", disk.root());
        }
        let qga = Qga::new(&folder.join("qga"));
        Self { folder: folder.to_owned(), disk: disk.clone(), options, qga, machine: None }
    }

    /// Switches it on and waits until it runs commands.
    pub fn boot(&mut self, limit: Duration) {
        self.switch_on();
        self.is_up(limit);
    }

    /// Switches it on.
    pub fn switch_on(&mut self) {
        // One of an earlier run would look like this one's.
        let _ = fs::remove_file(self.folder.join("qga"));
        self.machine = Some(Daemon::start(self.command(), &self.folder.join("qemu.log")));
    }

    /// Waits until it runs commands.
    pub fn is_up(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while !self.qga.is_there() {
            let ended = self.machine.as_mut().is_none_or(|machine| machine.ended().is_some());
            assert!(!ended, "the machine is off:\n{}", self.console());
            assert!(Instant::now() < deadline, "waited {limit:?} for the guest to be up:\n{}", self.console());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Takes its power away.
    pub fn kill(&mut self) {
        if let Some(mut machine) = self.machine.take() {
            machine.kill();
        }
    }

    /// Runs a script in it.
    pub fn run(&self, script: &str, limit: Duration) -> Answer {
        let answer = self.qga.run(script, Instant::now() + limit);
        answer.unwrap_or_else(|| panic!("the guest has not run `{script}` within {limit:?}:\n{}", self.console()))
    }

    /// Runs a script that must end well; gives what it printed.
    pub fn ok(&self, script: &str, limit: Duration) -> String {
        let Answer { code, text } = self.run(script, limit);
        assert_eq!(code, 0, "`{script}` in the guest:\n{text}");
        text
    }

    /// The last lines on its console.
    pub fn console(&self) -> String {
        let bytes = fs::read(self.folder.join("console.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().rev().take(60).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn command(&self) -> Command {
        // What is started with this ends with the thread that started it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        let console = match self.disk.arch.as_str() {
            "ppc64le" => {
                // Firmware of QEMU's own that does nothing but start the kernel; TCG has no mitigations to offer.
                command.args(["qemu-system-ppc64", "-cpu", "power9", "-machine"]);
                command.arg("pseries,x-vof=on,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off");
                "hvc0"
            }
            _ => {
                // With all that TCG 7.2 has (`-cpu max`) it gets string instructions wrong: a static busybox aborts.
                command.args(["qemu-system-x86_64", "-cpu", "qemu64,-svm,+ssse3,+sse4.1,+sse4.2,+popcnt"]);
                "ttyS0"
            }
        };
        let GuestOptions { name, memory, cpus, tap, mac, own } = &self.options;
        let path = |name: &str| self.folder.join(name).display().to_string();
        // QEMU 7.2 has crashed kernels of 6.12 with two processors and `-cpu max`; 6.1 has run well with this one, and so has ppc64le.
        let (cpus, memory) = (cpus.to_string(), memory.to_string());
        command.args(["-accel", "tcg", "-smp", &cpus, "-m", &memory, "-nodefaults", "-no-user-config"]);
        command.args(["-display", "none", "-vga", "none", "-no-reboot", "-serial", "chardev:console"]);
        command.arg("-chardev").arg(format!("file,id=console,path={},append=on", path("console.log")));
        command.arg("-kernel").arg(self.disk.kernel()).arg("-initrd").arg(self.disk.initrd());
        // What is drawn on a serial line costs an emulated processor more than what it tells of.
        // And it must not judge its timer by how soon it ticks: on a busy machine that ends in a panic.
        let quiet = "no_timer_check loglevel=4 systemd.show_status=auto systemd.mask=getty.target systemd.mask=e2scrub_reap.service";
        command
            .arg("-append")
            .arg(format!("console={console} panic=-1 net.ifnames=0 mitigations=off systemd.hostname={name} {quiet}"));
        // The layer has to survive the guest, not this machine.
        command.arg("-drive").arg(format!("file={},if=virtio,format=qcow2,cache=unsafe", path("layer.qcow2")));
        command.arg("-drive").arg(format!("file={},if=virtio,format=raw,readonly=on", own.display()));
        command.arg("-netdev").arg(format!("tap,id=lan,ifname={tap},script=no,downscript=no"));
        command.arg("-device").arg(format!("virtio-net-pci,netdev=lan,mac={mac},romfile="));
        command.args(["-device", "virtio-rng-pci", "-device", "virtio-serial-pci"]);
        command.arg("-chardev").arg(format!("socket,id=qga,path={},server=on,wait=off", path("qga")));
        command.args(["-device", "virtserialport,chardev=qga,name=org.qemu.guest_agent.0"]);
        command
    }
}

/// Runs a script in the guest whose folder this is, from wherever that can be seen; `None` if there is no answer in time.
pub fn run_in(folder: &Path, script: &str, limit: Duration) -> Option<Answer> {
    Qga::new(&folder.join("qga")).run(script, Instant::now() + limit)
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the console of {}\n{}", self.folder.display(), self.console());
        }
    }
}
