//! genimage's options: what each comes to in the plan.

use model::plan::{SourceKind, Take};

use super::*;

const URL: &str = "pkgdir=http://r/x bookworm main";

impl Mn {
    fn resolve_once(&self, words: &[&str], set: &[&str]) -> Result<BuildPlan, Vec<String>> {
        let root = self.dir.path().display().to_string();
        let set = set.iter().map(|word| word.replace('@', &root)).collect();
        let wish = GenimageWish { set, ..GenimageWish::default() };
        let found = resolve_with(&self.osimage(words), &wish, &self.site);
        let problems =
            |problems: Vec<Problem>| problems.iter().map(|problem| self.short(&problem.to_string())).collect();
        found.map(|found| found.plan).map_err(problems)
    }
}

fn origin<'a>(plan: &'a BuildPlan, name: &str) -> Option<(&'a str, &'a Origin)> {
    plan.attributes.iter().find(|one| one.name == name).map(|one| (one.value.as_str(), &one.origin))
}

#[test]
fn every_attribute_of_the_command_line_reaches_the_plan_and_says_so() {
    let mn = Mn::new();
    mn.write("lists/base", BOOT);
    let words =
        with(&DEBIAN, &["pkglist=@/lists/base", URL, "nodebootif=eth9", "netdrivers=tg3", "provmethod=statelite"]);
    type Reached = fn(&BuildPlan) -> bool;
    let table: [(&str, Reached); 7] = [
        ("nodebootif=eth0", |plan| plan.interfaces.boot.as_deref() == Some("eth0")),
        ("otherifce=eth1,eth2", |plan| plan.interfaces.others == ["eth1", "eth2"]),
        ("netdrivers=ice,r8169", |plan| plan.drivers.named == ["ice", "r8169"]),
        ("kernelver=6.1.0-50-amd64", |plan| {
            let version = "6.1.0-50-amd64".to_owned();
            plan.kernel == KernelChoice::Exactly { version }
                && plan.passes[0].install.iter().any(|i| i.at == "kernelver")
        }),
        ("krpmver=5.14", |plan| plan.warnings.iter().any(|text| text.contains("krpmver `5.14` is not used"))),
        ("kerneldir=http://k/x ./", |plan| plan.warnings.iter().any(|text| text.contains("kerneldir"))),
        ("permission=750", |plan| plan.statelite_mode == Some(0o750)),
    ];
    let plain = mn.resolve_once(&words, &[]).unwrap();
    assert_eq!(origin(&plain, "nodebootif"), Some(("eth9", &Origin::Given)));
    for (text, reached) in table {
        let (name, value) = text.split_once('=').unwrap();
        let plan = mn.resolve_once(&words, &[text]).unwrap();
        assert!(reached(&plan), "{text}: {plan:#?}");
        if !["krpmver", "kerneldir"].contains(&name) {
            assert!(!reached(&plain), "{text} is in the plan without being asked for");
            assert_eq!(origin(&plan, name), Some((value, &Origin::Once)), "{text}");
        }
        assert_eq!((plan.revision, plan.wish.set.as_slice()), (plain.revision, [text.to_owned()].as_slice()));
    }
    let both = mn.resolve_once(&words, &["kernelver=6.1.0-50-amd64", "kerneldir=http://k/x ./"]).unwrap();
    assert_eq!(both.repositories.last().unwrap().url, "http://k/x");
    let refused = mn.resolve_once(&words, &["rootimgdir=/x"]).unwrap_err();
    assert!(refused[0].starts_with("rootimgdir says which image it is"), "{refused:?}");
}

#[test]
fn drivers_that_are_named_come_in_front_and_the_list_stays() {
    let mn = Mn::new();
    mn.write("lists/base", BOOT);
    mn.write("lists/rpm", "kernel\ndracut\ndracut-network\ncurl\n");
    let debian = with(&DEBIAN, &["pkglist=@/lists/base", URL]);
    let rocky = with(&ROCKY, &["pkglist=@/lists/rpm", "pkgdir=http://r/x"]);
    for words in [&debian, &rocky] {
        let plain = mn.resolve_once(words, &[]).unwrap().drivers;
        assert!(plain.named.is_empty() && plain.take == Take::Nothing);
        for driver in ["tg3", "mlx5_core", "ice", "i40e", "ixgbe", "bnxt_en", "ena", "virtio_net", "ext4"] {
            assert!(plain.load.iter().any(|known| known == driver), "{driver}");
        }
        let drivers = mn.resolve_once(words, &["netdrivers=qede.ko, igb,qede"]).unwrap().drivers;
        assert_eq!((drivers.named.as_slice(), drivers.take), (["qede".into(), "igb".into()].as_slice(), Take::Named));
        assert_eq!(drivers.load[..2], ["qede", "igb"]);
        assert_eq!(drivers.load.len(), plain.load.len() + 1);
    }
}

#[test]
fn driver_disks_and_packages_are_found_where_agents_can_see_them() {
    let mn = Mn::new();
    mn.write("lists/base", BOOT);
    mn.write("outside.rpm", "");
    for name in ["d/a.iso", "d/b.rpm", "driverdisk/debian12/amd64/z.img", "driverdisk/debian12/amd64/.z.img"] {
        mn.write(&format!("install/{name}"), "");
    }
    let words = with(&DEBIAN, &["pkglist=@/lists/base", URL]);
    let plan = mn.resolve_once(&words, &[]).unwrap();
    let shown = |plan: &BuildPlan| {
        let one = |source: &model::plan::DriverSource| (source.kind, mn.short(&source.path.display().to_string()));
        plan.drivers.sources.iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(shown(&plan), [(SourceKind::Disk, "@/install/driverdisk/debian12/amd64/z.img".to_owned())]);
    assert!(plan.needs_install[0].contains("the drivers in"), "{:?}", plan.needs_install);
    let sources = "driverupdatesrc=dud:@/install/d/a.iso,@/install/d/b.rpm";
    let plan = mn.resolve_once(&words, &[sources]).unwrap();
    let expected =
        [(SourceKind::Disk, "@/install/d/a.iso".to_owned()), (SourceKind::Package, "@/install/d/b.rpm".to_owned())];
    assert_eq!(shown(&plan), expected);
    assert!(plan.warnings.iter().any(|text| text.starts_with("nothing is taken from driver packages")));
    let plan = mn.resolve_once(&words, &[sources, "netdrivers=allupdate"]).unwrap();
    assert_eq!((plan.drivers.take, plan.warnings.len(), plan.drivers.named.len()), (Take::All, 0, 0));
    let bad = mn.resolve_once(&words, &["driverupdatesrc=rpm:@/outside.rpm,dud:@/install/gone.iso"]).unwrap_err();
    assert!(bad[0].contains("lies outside the install root"), "{bad:?}");
    assert_eq!(bad[1], "The driverupdatesrc specified '@/install/gone.iso' does not exist!");
}
