//! Makes the wire types from the .proto files with protox, so that no protoc is needed.

use std::error::Error;

const FILES: [&str; 7] = ["problem", "osimage", "build", "generation", "agent", "session", "enrolment"];

fn main() -> Result<(), Box<dyn Error>> {
    let files = FILES.map(|name| format!("imgctl/v1/{name}.proto"));
    for file in &files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    tonic_prost_build::configure().bytes(".imgctl.v1").compile_fds(descriptors)?;
    Ok(())
}
