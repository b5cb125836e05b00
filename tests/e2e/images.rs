//! Whole builds of a real Debian, and what can be done with what they leave.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::{AgentOptions, Site};

/// What a Debian needs to be booted as a stateless node.
pub(crate) const BOOTABLE: &str = "linux-image-cloud-amd64\ndracut\ndracut-network\nisc-dhcp-client\niproute2\nprocps\n\
    nfs-common\ncurl\nsystemd\nsystemd-sysv\nudev\nkmod\n";

/// How long a kernel under emulation may take to bring the network up.
const BOOT: Duration = Duration::from_secs(300);

fn shell(script: &str) -> String {
    let output = Command::new("bash").args(["-euo", "pipefail", "-c", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn cat(archive: &Path, name: &str) -> String {
    shell(&format!("gzip -dc {} | cpio -i --quiet --to-stdout {name}", archive.display()))
}

/// The documented flow from end to end, on one site: the steps need one another's results.
#[test]
fn an_image_is_built_edited_packed_rebuilt_and_boots() {
    let mut site = Site::start();
    site.agent("n1");
    let dir = site.rootimgdir("compute");
    define(&site);

    built_with_one_command(&site, &dir);
    archive_is_whole(&dir);
    boots(&dir);
    a_changed_list_is_told_and_edits_are_packed_and_kept_from_being_lost(&site, &dir);
    packing_again_makes_a_generation_with_the_same_tree(&site, &dir);
    an_older_generation_goes_live_by_hand_and_is_kept(&site, &dir);
    only_the_last_generations_are_kept(&site, &dir);
}

fn define(site: &Site) {
    let motd = site.write("sync/motd", "welcome to the cluster\n");
    let list = site.write("lists/compute.synclist", &format!("{} -> /etc/motd\n", motd.display()));
    let exlist = site.write("lists/compute.exlist", "./boot*\n./usr/share/doc/*\n+./usr/share/doc/dracut*\n");
    let script = site.write(
        "scripts/post.sh",
        "#!/bin/sh\nset -e\necho \"$1 $2 $3 $4 $5\" > \"$1/etc/postinstall-args\"\nenv | grep ^IMG_ | sort > \"$1/etc/postinstall-env\"\n\
         setcap cap_net_raw+ep \"$1/usr/bin/ping-like\" 2>/dev/null || { cp \"$1/bin/true\" \"$1/usr/bin/ping-like\"; setcap cap_net_raw+ep \"$1/usr/bin/ping-like\"; }\n\
         if touch INSTALL_DIR/scribbled 2>/dev/null; then echo the install root is writable; exit 1; fi\n",
    );
    let text = fs::read_to_string(&script).unwrap();
    fs::write(&script, text.replace("INSTALL_DIR", &site.install_dir().display().to_string())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let attributes = [
        format!("exlist={}", exlist.display()),
        format!("synclists={}", list.display()),
        format!("postinstall={} extra", script.display()),
    ];
    site.osimage("compute", &packages("less"), &attributes);
}

fn packages(extra: &str) -> String {
    format!("{BOOTABLE}#NEW_INSTALL_LIST#\n#ENV:GREETING=hello#\n{extra}\n")
}

fn built_with_one_command(site: &Site, dir: &Path) {
    let ran = site.cli.run("build compute").succeeded();
    let said = format!("{}{}", ran.out, ran.err);
    for artefact in ["kernel", "initrd-stateless.gz", "initrd-statelite.gz", "rootimg", "rootimg.cpio.gz"] {
        assert!(dir.join(artefact).exists(), "{artefact} is missing");
        assert!(said.contains(artefact), "{artefact} is not named at the end:\n{said}");
    }
    assert!(said.contains("Setting up dracut"), "the package manager's own words are in the log");
    let build = site.cli.json("builds show 1");
    let stages = build["attempts"][0]["stages"].as_array().unwrap();
    let statuses: Vec<&str> = stages.iter().map(|stage| stage["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["done", "done", "skipped", "done", "done", "done", "done"]);
    let rootimg = dir.join("rootimg");
    let args = fs::read_to_string(rootimg.join("etc/postinstall-args")).unwrap();
    let words: Vec<&str> = args.split_whitespace().collect();
    assert_eq!(words[0], rootimg.display().to_string());
    assert_eq!(&words[2..], [tests::arch(), "compute", "extra"]);
    let env = fs::read_to_string(rootimg.join("etc/postinstall-env")).unwrap();
    assert!(env.contains("IMG_NAME=compute") && env.contains("IMG_KERNELVERSION=6."), "{env}");
    let fstab = fs::read_to_string(rootimg.join("etc/fstab")).unwrap();
    assert!(fstab.contains("gid=5,mode=620") && fstab.contains("compute_"), "{fstab}");
    assert!(!rootimg.join("usr/sbin/policy-rc.d").exists());
    site.scratch_is_cleared("n1");
    assert!(
        fs::read_to_string("/proc/mounts")
            .unwrap()
            .lines()
            .all(|line| !line.contains("imgctl-test-") || line.contains("/small ") || line.contains("/install ")),
        "a mount is left"
    );
}

fn archive_is_whole(dir: &Path) {
    let archive = dir.join("rootimg.cpio.gz");
    assert_eq!(fs::metadata(&archive).unwrap().mode() & 0o777, 0o644);
    shell(&format!("gzip -t {}", archive.display()));
    let names = shell(&format!("gzip -dc {} | cpio -t --quiet", archive.display()));
    let has = |name: &str| names.lines().any(|line| line.trim_start_matches("./") == name);
    assert!(has("etc/fstab") && has("usr/bin/less") && has("opt/xcat/xcatinfo") && has(".imgctl/xattrs"));
    assert!(!has("usr/share/doc/kmod") && has("usr/share/doc/dracut"), "exlist");
    assert!(names.lines().all(|line| !line.contains("boot/vmlinuz")), "exlist");
    assert_eq!(cat(&archive, "etc/motd"), "welcome to the cluster\n");
    assert_ne!(fs::read_to_string(dir.join("rootimg/etc/motd")).unwrap_or_default(), "welcome to the cluster\n");
    assert!(cat(&archive, "etc/shadow").starts_with("root:*:"));
    assert!(cat(&archive, "opt/xcat/xcatinfo").contains("IMAGENAME='compute'"));
    let xattrs = cat(&archive, ".imgctl/xattrs");
    assert!(xattrs.contains("/usr/bin/ping-like security.capability 0x"), "{xattrs}");
}

/// Under emulation the kernel and its initrd must come as far as asking for their NFS root over the network: that
/// takes dracut's initqueue, the driver of the card, and an address by DHCP.
pub(crate) fn boots(dir: &Path) {
    for initrd in ["initrd-stateless.gz", "initrd-statelite.gz"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let append = format!(
            "console=ttyS0 ip=dhcp rd.neednet=1 root=nfs4:10.0.2.2:/install:port={port},vers=4.1 rd.shell=0 panic=1"
        );
        let console = dir.join(format!("../{initrd}.console"));
        let mut qemu = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "1024", "-nodefaults", "-display", "none"])
            .args(["-no-reboot", "-serial", "stdio", "-netdev", "user,id=n0"])
            .args(["-device", "virtio-net-pci,netdev=n0,romfile=", "-device", "virtio-rng-pci"])
            .arg("-kernel")
            .arg(dir.join("kernel"))
            .arg("-initrd")
            .arg(dir.join(initrd))
            .args(["-append", &append])
            .stdin(Stdio::null())
            .stdout(fs::File::create(&console).unwrap())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let deadline = std::time::Instant::now() + BOOT;
        let asked = loop {
            if listener.accept().is_ok() {
                break true;
            }
            if qemu.try_wait().unwrap().is_some() || std::time::Instant::now() > deadline {
                break false;
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        // It may have ended by itself.
        let _ = qemu.kill();
        qemu.wait().unwrap();
        let said = String::from_utf8_lossy(&fs::read(&console).unwrap()).into_owned();
        assert!(asked, "{initrd} never asked for its root:\n{said}");
        assert!(said.contains("dracut"), "{said}");
    }
}

fn a_changed_list_is_told_and_edits_are_packed_and_kept_from_being_lost(site: &Site, dir: &Path) {
    site.write("lists/compute.pkglist", &packages("bzip2"));
    let dry = site.cli.run("genimage compute --dryrun").succeeded();
    let lists = "compute: since generation 1 was built, the lists gained bzip2 and lost less";
    assert!(dry.err.contains(lists), "{}", dry.err);
    let ran = site.cli.run("build compute --no-pack").succeeded();
    assert!(ran.err.contains(lists), "{}", ran.err);
    let told = "since generation 1, packages: 1 added, 1 gone (";
    assert!(ran.out.contains(told) && ran.out.contains("  + bzip2 ") && ran.out.contains("  - less "), "{}", ran.out);
    let diff = site.cli.json("generations diff compute 1 2");
    assert_eq!((&diff["packages"][0]["name"], &diff["packages"][1]["name"]), (&"bzip2".into(), &"less".into()));
    let diff = site.cli.ok("generations diff compute --files");
    assert!(diff.contains("  + /usr/bin/bzip2\n") && diff.contains("  - /usr/bin/less\n"), "{diff}");
    site.cli.run("generations diff compute 1 9").exited(3).says("`compute` has no generation 9");
    assert_eq!(number(dir, "current"), 1, "a built generation doesn't replace a packed one");
    let tree = dir.join(".generations/2/rootimg");
    let fstab = tree.join("etc/fstab");
    let edited = format!("{}server:/home /home nfs defaults 0 0\n", fs::read_to_string(&fstab).unwrap());
    fs::write(&fstab, &edited).unwrap();
    fs::write(tree.join("etc/added"), "x").unwrap();

    site.cli.run("build compute").exited(3).says("etc/fstab").says("etc/added").says("--discard-edits");
    site.cli.run("genimage compute").exited(3).says("etc/fstab");
    let shown = site.cli.ok("generations show compute 2");
    assert!(shown.contains("etc/fstab"), "{shown}");

    site.cli.ok("packimage compute");
    assert_eq!(number(dir, "current"), 2);
    assert_eq!(cat(&dir.join("rootimg.cpio.gz"), "etc/fstab"), edited);
    assert_eq!(cat(&dir.join("rootimg.cpio.gz"), "etc/added"), "x");
    site.cli.run("build compute").exited(3).says("a postinstall script keeps an edit for good");
}

fn packing_again_makes_a_generation_with_the_same_tree(site: &Site, dir: &Path) {
    let before = cat(&dir.join("rootimg.cpio.gz"), "opt/xcat/xcatinfo");
    site.cli.ok("packimage compute --nosyncfiles");
    assert_eq!(number(dir, "current"), 3);
    assert_eq!(fs::read_link(dir.join(".generations/3/rootimg")).unwrap(), Path::new("../2/rootimg"));
    let archive = dir.join("rootimg.cpio.gz");
    assert_ne!(cat(&archive, "opt/xcat/xcatinfo"), before, "every pack has a UUID of its own");
    assert_ne!(cat(&archive, "etc/motd"), "welcome to the cluster\n");
}

fn an_older_generation_goes_live_by_hand_and_is_kept(site: &Site, dir: &Path) {
    site.cli.run("generations activate compute 9").exited(3).says("9");
    assert_eq!(number(dir, "current"), 3);
    let said = site.cli.ok("generations activate compute 1");
    assert!(said.contains("generation 1 of compute is live; generation 3 was live before"), "{said}");
    assert_eq!(number(dir, "current"), 1);
    site.cli.ok("generations activate compute 3");
    // One that lacks what nodes boot neither goes live nor makes another that would.
    let (kernel, away) = (dir.join(".generations/3/kernel"), dir.join(".generations/3/kernel.away"));
    fs::rename(&kernel, &away).unwrap();
    site.cli.run("generations activate compute 3").exited(3).says("kernel");
    site.cli.run("packimage compute").exited(1).says("kernel").says("`imgctl build` makes a new generation");
    assert_eq!(number(dir, "current"), 3);
    fs::rename(&away, &kernel).unwrap();
    // Nor does one with another byte in it.
    let sound = fs::read(&kernel).unwrap();
    let damaged: Vec<u8> = sound.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == 1000)).collect();
    fs::write(&kernel, damaged).unwrap();
    site.cli.run("generations activate compute 3").exited(3).says("generation 3 is not whole").says("digest");
    fs::write(&kernel, sound).unwrap();
    site.cli.ok("generations activate compute 3");
}

fn only_the_last_generations_are_kept(site: &Site, dir: &Path) {
    for _ in 0..2 {
        site.cli.ok("packimage compute");
    }
    let mut kept: Vec<u32> = fs::read_dir(dir.join(".generations"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .collect();
    kept.sort_unstable();
    assert_eq!(kept, [3, 4, 5]);
    assert!(dir.join("rootimg/etc/added").exists(), "the shared tree has moved along");
    let listed = site.cli.json("generations list compute");
    let numbers: Vec<u64> = listed.as_array().unwrap().iter().map(|one| one["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [5, 4, 3]);
    assert_eq!(listed[0]["live"], true);
    site.cli.ok("packimage compute");
    assert!(dir.join("rootimg/etc/added").exists() && dir.join("rootimg.cpio.gz").exists());
}

fn number(dir: &Path, link: &str) -> u32 {
    let target = fs::read_link(dir.join(link)).unwrap();
    target.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

#[test]
fn an_agent_without_the_install_root_uploads_and_several_builds_run_side_by_side() {
    let mut site = Site::start();
    let options = AgentOptions { install: "none", config: "slots = 2".into(), ..AgentOptions::default() };
    site.agent_with("n1", options);
    site.osimage("a", BOOTABLE, &[]);
    site.osimage("b", "no-such-package-anywhere\n", &[]);
    let ran = site.cli.run("build a b").exited(1);
    let said = format!("{}{}", ran.out, ran.err);
    assert!(said.contains("[a]") && said.contains("[b]"), "each build has lines of its own:\n{said}");
    assert!(site.rootimgdir("a").join("rootimg.cpio.gz").exists());
    let states = site.cli.json("builds list");
    let state = |at: usize| states[at]["state"]["name"].as_str().unwrap().to_owned();
    assert_eq!((state(0), state(1)), ("failed".into(), "succeeded".into()));
    initrds_alone_are_made_anew(&site);
    // A script that reads the install root can't run on such an agent.
    let script = site.write("scripts/p", &format!("#!/bin/sh\ncat {}/x\n", site.install_dir().display()));
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    site.osimage("c", BOOTABLE, &[format!("postinstall={}", script.display())]);
    site.cli.ok("build c --detach");
    let why = tests::eventually("the build to say why it waits", Duration::from_secs(10), || {
        let out = site.cli.ok("explain 4");
        out.contains("install root").then_some(out)
    });
    assert!(why.contains("n1"), "{why}");
    site.cli.ok("builds cancel 4");
}

/// With the tree that is there, and another limit on the root's tmpfs than before.
fn initrds_alone_are_made_anew(site: &Site) {
    let said = site.cli.ok("genimage a --onlyinitrd -l 50%");
    assert!(said.contains("the tree is that of generation 1") && !said.contains("mmdebstrap"), "{said}");
    let generation = |number: u32| site.rootimgdir("a").join(format!(".generations/{number}"));
    let packages = |number: u32| {
        let record = fs::read(generation(number).join("build.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&record).unwrap()["packages"].clone()
    };
    assert_eq!(packages(1), packages(2));
    let archive = |number: u32| generation(number).join("initrd-stateless.gz");
    assert_eq!(cat(&archive(2), "etc/cmdline"), "rootlimit=50%\n");
    assert_eq!(cat(&archive(1), "etc/cmdline"), "");
}
