//! Man pages and completions of the three programs, made from the definitions of their command lines.
//!
//! A folder a program: `imgctl/imgctl-builds-list.1` and so on, and `completion.{bash,zsh,fish}`. Administrators' programs
//! have their pages in section 8.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

/// Writes them all below `folder`.
pub fn write(folder: &Path) -> io::Result<()> {
    let programs = [
        (cli::args::Cli::command(), "1"),
        (agent::args::Cli::command(), "8"),
        (coordinator::args::Args::command(), "8"),
    ];
    for (command, section) in programs {
        let folder = folder.join(command.get_name());
        fs::create_dir_all(&folder)?;
        completions(command.clone(), &folder)?;
        // Verbs of the program get its name in theirs when it is built.
        let mut command = command.disable_help_subcommand(true);
        command.build();
        pages(&command, section, &folder)?;
    }
    Ok(())
}

/// The page of a command and those of its verbs.
fn pages(command: &Command, section: &str, folder: &Path) -> io::Result<()> {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        pages(verb, section, folder)?;
    }
    let man = Man::new(command.clone()).section(section).manual("imgctl");
    man.source(format!("imgctl {}", env!("CARGO_PKG_VERSION"))).generate_to(folder)?;
    Ok(())
}

fn completions(mut command: Command, folder: &Path) -> io::Result<()> {
    let name = command.get_name().to_owned();
    for (shell, ending) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
        let mut file = File::create(folder.join(format!("completion.{ending}")))?;
        clap_complete::generate(shell, &mut command, &name, &mut file);
    }
    Ok(())
}
