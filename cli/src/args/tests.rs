use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("imgctl").chain(line.split_whitespace()))
}

#[test]
fn the_tree_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_stands_in_a_group_and_has_an_example() {
    fn leaves(command: &clap::Command, path: &str) {
        for sub in command.get_subcommands() {
            let path = format!("{path} {}", sub.get_name());
            if sub.has_subcommands() {
                leaves(sub, &path);
            } else {
                let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains(&path), "{path} has no example");
            }
        }
    }
    let command = Cli::command();
    for verb in command.get_subcommands() {
        assert!(GROUPS.contains(&format!("\n  {} ", verb.get_name())), "{}", verb.get_name());
    }
    leaves(&command, "imgctl");
}

#[test]
fn lines_that_users_type_are_understood() {
    for line in [
        "build compute",
        "build compute login --arch amd64,ppc64le --agent n1 --detach --json",
        "build --arch x86_64 --yes",
        "build compute --no-pack --discard-edits --all",
        "build compute --method squashfs --compress zstd --nosyncfiles",
        "genimage compute -d",
        "genimage compute -i eth0 -r eth1,eth2 -n ice -k 6.1.0-50-amd64 -g 5.14 --kerneldir /k --permission 755 --save",
        "genimage compute -l 8G -t 10m --noupdate --ignorekernelchk --dryrun --json",
        "build compute -n ice --set exlist= --set pkglist+=/a",
        "resolve compute --set netdrivers=ice",
        "packimage compute -m tar -c gzip --nosyncfiles",
        "osimage create a osarch=x86_64 addkcmdline=a=b",
        "osimage set a --revision 3 pkglist+=/a pkglist-=/b synclists=",
        "osimage show a b -i pkglist,osarch",
        "osimage import --replace -",
        "osimage export -o f",
        "builds list --active --osimage a -n 5",
        "builds logs -f 12 --attempt 2 --from 100",
        "builds cancel 1 #2",
        "builds retry 1 --detach",
        "agents token --agent n1 --valid 90m",
        "generations show a 0",
        "explain 12 --coordinator mn:7443 --identity /id --no-color --quiet",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn slips_are_usage_errors() {
    for (line, kind) in [
        ("", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("bild compute", ErrorKind::InvalidSubcommand),
        ("build a --arch vax", ErrorKind::ValueValidation),
        ("build a --no-pack --method tar", ErrorKind::ArgumentConflict),
        ("genimage a -l lots", ErrorKind::ValueValidation),
        ("genimage a --set pkglist", ErrorKind::ValueValidation),
        ("osimage set a", ErrorKind::MissingRequiredArgument),
        ("osimage set a pkglist", ErrorKind::ValueValidation),
        ("osimage show ../x", ErrorKind::ValueValidation),
        ("builds show 0", ErrorKind::ValueValidation),
        ("agents token --valid soon", ErrorKind::ValueValidation),
    ] {
        assert_eq!(parse(line).unwrap_err().kind(), kind, "{line}");
    }
}
