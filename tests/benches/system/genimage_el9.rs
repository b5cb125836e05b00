//! The same for a distribution of Red Hat's family: the stock list of the EL 9 medium beside `dnf --installroot` and
//! dracut twice.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tests::Site;
use tests::el9::medium;

use crate::genimage::{compare, dracut_twice, run_quietly};

pub(crate) fn run() {
    let mut site = Site::start();
    let (medium, install) = (medium(), site.install_dir().to_owned());
    medium.lay_into(&install);
    site.agent("n1");
    let stock = fs::read_to_string(medium.stock_list()).unwrap();
    // By hand dracut compresses with it, as xCAT has it do where the image holds it.
    let list = site.write("lists/compute.pkglist", &format!("{stock}pigz\n"));
    let attributes = [
        format!("osvers={}", medium.osver()),
        format!("osarch={}", medium.arch()),
        format!("pkglist={}", list.display()),
    ];
    let attributes: Vec<&str> = attributes.iter().map(String::as_str).collect();
    let head = ["osimage", "create", "compute", "provmethod=netboot", "profile=compute"];
    site.cli.run_args(&[&head[..], &attributes].concat(), b"").succeeded();
    compare(&site, "dnf --installroot", |root| by_hand(&install, &list, root));
}

fn by_hand(install: &Path, list: &Path, root: &Path) -> Duration {
    let (medium, home) = (medium(), root.with_extension("home"));
    fs::create_dir_all(&home).unwrap();
    // Who knows: Debian's rpm keeps the database in its home.
    fs::write(home.join(".rpmmacros"), "%_dbpath /var/lib/rpm\n").unwrap();
    let key = install.join(medium.key());
    let repository = |name: &str| {
        let url = install.join(medium.tree()).join(name);
        format!(
            "[{name}]\nname={name}\nbaseurl=file://{}\ngpgcheck=1\ngpgkey=file://{}\n",
            url.display(),
            key.display()
        )
    };
    let cache = home.join("cache");
    let main = format!("[main]\ncachedir={}\nreposdir=/nonexistent\nplugins=0\n", cache.display());
    fs::write(home.join("dnf.conf"), format!("{main}{}{}", repository("BaseOS"), repository("AppStream"))).unwrap();
    let list = fs::read_to_string(list).unwrap();
    let began = Instant::now();
    let script = "mkdir -p \"$0/dev\" \"$0/proc\" \"$0/sys\"; mount --rbind /dev \"$0/dev\"; mount -t proc proc \"$0/proc\"; \
        mount -t sysfs sysfs \"$0/sys\"; root=$0; conf=$1; shift; \
        dnf -y -c \"$conf\" --installroot=\"$root\" --releasever=9 --setopt=module_platform_id=platform:el9 install \"$@\"";
    let mut dnf = Command::new("unshare");
    dnf.args(["--mount", "--propagation", "private", "sh", "-ec", script]).arg(root).arg(home.join("dnf.conf"));
    run_quietly(dnf.args(list.lines()).env("HOME", &home).env("LC_ALL", "C.UTF-8"));
    let packages = began.elapsed();
    dracut_twice(root, "--compress 'pigz -p 2'");
    let took = began.elapsed();
    println!(
        "by hand: packages {:.1} s, dracut twice {:.1} s",
        packages.as_secs_f64(),
        (took - packages).as_secs_f64()
    );
    rootfs::remove::remove_tree(root).unwrap();
    rootfs::remove::remove_tree(&home).unwrap();
    took
}
