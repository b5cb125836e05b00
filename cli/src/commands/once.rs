//! genimage's options on their way to the coordinator.

use proto::v1;

use super::Context;
use crate::args::OnceArgs;
use crate::failure::Failure;

/// What a submission says of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Once {
    pub(super) wish: v1::GenimageWish,
    pub(super) save: bool,
    pub(super) dry_run: bool,
}

/// Reads the options, or says which of them can't be.
pub(super) fn once(args: OnceArgs, context: &Context) -> Result<Once, Failure> {
    if args.interactive {
        let why =
            "--interactive can't be: the package manager runs on a build node, where no terminal is and nobody answers";
        return Err(
            Failure::usage(why).hint("what it would ask is answered by the lists; --dryrun shows what they come to")
        );
    }
    if args.tmp_limit.is_some() {
        context.printer.warning("-t has no effect: systemd sizes /tmp and /var/tmp itself (tmp.mount)");
    }
    let once = Once { save: args.save, dry_run: args.dryrun, wish: wish(args) };
    if once.save && once.wish.set.is_empty() {
        return Err(Failure::usage("--save has nothing to save: no attribute is given")
            .hint("-l, --ignorekernelchk and --onlyinitrd are no attributes of an osimage"));
    }
    Ok(once)
}

fn wish(args: OnceArgs) -> v1::GenimageWish {
    let attributes = [
        ("nodebootif", args.boot_interface),
        ("otherifce", args.other_interfaces),
        ("netdrivers", args.drivers),
        ("kernelver", args.kernel),
        ("krpmver", args.kernel_package),
        ("kerneldir", args.kerneldir),
        ("permission", args.permission),
        ("update", args.noupdate.then(|| "no".to_owned())),
    ];
    let given = attributes.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?)));
    v1::GenimageWish {
        set: given.chain(args.set).collect(),
        root_limit: args.root_limit.map(String::from).unwrap_or_default(),
        ignore_kernel_check: args.ignorekernelchk,
        only_initrd: args.onlyinitrd,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Verb};

    fn wish_of(line: &str) -> v1::GenimageWish {
        let cli = Cli::try_parse_from(["imgctl", "genimage", "a"].into_iter().chain(line.split_whitespace())).unwrap();
        let Verb::Genimage(args) = cli.verb else { panic!("{line}") };
        wish(args.once)
    }

    #[test]
    fn every_option_of_xcat_is_what_it_is_called_there() {
        for (line, expected) in [
            ("-i eth0", "nodebootif=eth0"),
            ("-r eth1,eth2", "otherifce=eth1,eth2"),
            ("-n ice,mlx5_core", "netdrivers=ice,mlx5_core"),
            ("-k 5.14.0-70.el9.x86_64", "kernelver=5.14.0-70.el9.x86_64"),
            ("-g 5.14.21", "krpmver=5.14.21"),
            ("--kerneldir /install/kernels/a", "kerneldir=/install/kernels/a"),
            ("--permission 750", "permission=750"),
            ("--noupdate", "update=no"),
            ("--set pkglist+=/a", "pkglist+=/a"),
        ] {
            assert_eq!(
                wish_of(line),
                v1::GenimageWish { set: vec![expected.to_owned()], ..Default::default() },
                "{line}"
            );
        }
        let rest = v1::GenimageWish {
            set: Vec::new(),
            root_limit: "50%".to_owned(),
            ignore_kernel_check: true,
            only_initrd: true,
        };
        assert_eq!(wish_of("-l 50% -t 10m --ignorekernelchk --onlyinitrd --save --dryrun"), rest);
        // A later change of the same attribute comes after the option's, so it is the one that stays.
        assert_eq!(wish_of("-i eth0 --set nodebootif=eth9").set, ["nodebootif=eth0", "nodebootif=eth9"]);
    }
}
