//! `build`, `genimage`, `packimage`: what to queue.

use model::arch::Arch;
use model::osimage::Osimage;
use proto::v1;

use super::Context;
use super::once::{Once, once as read_once};
use super::submit::{Order, new_request_id, submit};
use crate::args::{BuildArgs, GenimageArgs, PackArgs, PackimageArgs, RunArgs};
use crate::failure::{Exit, Failure};
use crate::view::taken_all;

pub(super) async fn build(args: BuildArgs, context: &Context) -> Result<Exit, Failure> {
    let BuildArgs { mut names, arch, no_pack, all, yes, run, pack, once } = args;
    let once = read_once(once, context)?;
    if names.is_empty() {
        names = all_of(&arch, yes, context).await?;
    }
    let part = if no_pack { v1::Part::Genimage } else { v1::Part::Both };
    let mut request = request(names, part, &run, pack, once);
    request.arches = arch.iter().map(ToString::to_string).collect();
    request.all = all;
    submit(Order::Submit(request), run.detach, context).await
}

pub(super) async fn genimage(args: GenimageArgs, context: &Context) -> Result<Exit, Failure> {
    let GenimageArgs { name, run, once } = args;
    let once = read_once(once, context)?;
    let request = request(vec![name], v1::Part::Genimage, &run, PackArgs::default(), once);
    submit(Order::Submit(request), run.detach, context).await
}

pub(super) async fn packimage(args: PackimageArgs, context: &Context) -> Result<Exit, Failure> {
    let PackimageArgs { name, pack, detach } = args;
    let request = request(vec![name], v1::Part::Packimage, &RunArgs::default(), pack, Once::default());
    submit(Order::Submit(request), detach, context).await
}

fn request(names: Vec<String>, part: v1::Part, run: &RunArgs, pack: PackArgs, once: Once) -> v1::SubmitRequest {
    let Once { wish, save, dry_run } = once;
    let RunArgs { agent, detach: _, discard_edits, priority } = run;
    let PackArgs { method, compress, nosyncfiles } = pack;
    v1::SubmitRequest {
        names,
        arches: Vec::new(),
        agent: agent.clone().map(String::from).unwrap_or_default(),
        part: part.into(),
        discard_edits: *discard_edits,
        priority: *priority,
        all: false,
        method: method.unwrap_or_default(),
        compress: compress.unwrap_or_default(),
        nosyncfiles,
        request_id: new_request_id(),
        genimage: Some(wish),
        save,
        dry_run,
    }
}

/// Every osimage of these architectures, after asking whether that is meant.
async fn all_of(arches: &[Arch], yes: bool, context: &Context) -> Result<Vec<String>, Failure> {
    if arches.is_empty() {
        return Err(Failure::usage("nothing to build is named")
            .hint("name osimages or a profile, or give --arch for all osimages of an architecture"));
    }
    let answer = context.client.osimages().list(v1::ListOsimagesRequest {}).await;
    let osimages = answer.map_err(|status| context.client.failure(&status))?.into_inner().osimages;
    let osimages: Vec<Osimage> = taken_all(&context.client, osimages)?;
    let names = buildable(&osimages, arches);
    let words = arches.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
    if names.is_empty() {
        return Err(Failure::refused(format!("there is no netboot or statelite osimage of {words}")));
    }
    if !yes {
        context.printer.usage(&format!("osimages of {words}:\n  {}", names.join("\n  ")));
        confirm(names.len(), context).await?;
    }
    Ok(names)
}

async fn confirm(count: usize, context: &Context) -> Result<(), Failure> {
    if !context.printer.can_ask() {
        return Err(Failure::usage("building all of them needs --yes where nobody can be asked"));
    }
    match context.printer.ask(&format!("build all {count} of them? [y/N]")).await.as_deref() {
        Some("y" | "Y" | "yes") => Ok(()),
        _ => Err(Failure::refused("nothing was queued")),
    }
}

fn buildable(osimages: &[Osimage], arches: &[Arch]) -> Vec<String> {
    let attribute = |osimage: &Osimage, name: &str| osimage.attributes.get(name).cloned().unwrap_or_default();
    let fits = |osimage: &&Osimage| {
        let arch: Option<Arch> = attribute(osimage, "osarch").parse().ok();
        let diskless = ["netboot", "statelite"].contains(&attribute(osimage, "provmethod").as_str());
        diskless && arch.is_some_and(|arch| arches.contains(&arch))
    };
    osimages.iter().filter(fits).map(|osimage| osimage.name.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn osimage(name: &str, arch: &str, provmethod: &str) -> Osimage {
        let attributes = [("osarch", arch), ("provmethod", provmethod)];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Osimage { name: name.parse().unwrap(), revision: 1, attributes, created_ms: 0, modified_ms: 0 }
    }

    #[test]
    fn an_architecture_means_its_diskless_osimages_in_either_spelling() {
        let osimages = [
            osimage("a", "x86_64", "netboot"),
            osimage("b", "ppc64el", "netboot"),
            osimage("c", "ppc64le", "statelite"),
            osimage("d", "ppc64le", "install"),
            osimage("e", "", "netboot"),
        ];
        assert_eq!(buildable(&osimages, &[Arch::Ppc64le]), ["b", "c"]);
        assert_eq!(buildable(&osimages, &[Arch::Ppc64le, Arch::X86_64]), ["a", "b", "c"]);
    }
}
