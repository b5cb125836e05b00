//! The system's figures: `cargo bench -p tests --bench system -- [SECTION]…`, after a release build of the programs.
//!
//! Real daemons, real TLS, on loopback. Nothing here passes or fails; what is printed goes into docs/PERFORMANCE.md.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints figures and what it is doing")]

mod figures;
mod fleet;
mod genimage;
mod genimage_el9;
mod lines;
mod node;
mod start;

const SECTIONS: [(&str, fn()); 5] = [
    ("start", start::run),
    ("lines", lines::run),
    ("genimage", genimage::run),
    ("el9", genimage_el9::run),
    ("fleet", fleet::run),
];

fn main() {
    // cargo adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let known: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = wanted.iter().find(|name| !known.contains(&name.as_str())) {
        eprintln!("`{unknown}` is none of {}", known.join(", "));
        std::process::exit(2);
    }
    for (name, section) in SECTIONS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            println!("\n== {name}");
            section();
        }
    }
}
