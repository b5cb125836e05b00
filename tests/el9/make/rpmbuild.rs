//! rpmbuild, for a package whose files are laid out already.

use std::fs;
use std::path::Path;

use super::recipe::Recipe;
use super::tool::{Workshop, run};

/// Builds a package out of its build root into `folder`. Nothing is compiled, stripped or looked into.
pub(super) fn build(workshop: &Workshop, recipe: &Recipe, arch: &str, folder: &Path) {
    let root = workshop.build_root(recipe);
    fs::create_dir_all(&root).expect("the workshop can be written");
    let spec = workshop.path(&format!("{}.spec", recipe.label()));
    fs::write(&spec, recipe.spec()).expect("the workshop can be written");
    let mut command = workshop.command("rpmbuild");
    command.args(["-bb", "--noclean", "--quiet", "--target", arch]).arg("--buildroot").arg(&root);
    let defines = [
        format!("_rpmdir {}", folder.display()),
        "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm".to_owned(),
        format!("_topdir {}", workshop.path("rpmbuild").display()),
        // zstd at its third level: most of the time would go into compression.
        "_binary_payload w3.zstdio".to_owned(),
        "_source_filedigest_algorithm 8".to_owned(),
        "_binary_filedigest_algorithm 8".to_owned(),
        "_build_id_links none".to_owned(),
        "debug_package %{nil}".to_owned(),
        "__os_install_post %{nil}".to_owned(),
        // The usual one empties the build root.
        "__spec_install_pre %{___build_pre}".to_owned(),
    ];
    for define in defines {
        command.arg("--define").arg(define);
    }
    run(command.arg(&spec));
}
