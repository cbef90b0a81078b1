//! The lab's services on loopback: a registry, and an HTTP server with Fedora's packages, CoreOS's stream metadata and
//! the parts of GitHub's REST API that the program uses.

pub(crate) mod coreos_streams;
pub(crate) mod github;
pub(crate) mod http;
pub(crate) mod issues;
pub(crate) mod release_manager;
pub(crate) mod services;

use std::{fs, path::Path, process::Command};

use crate::error::Result;
use crate::lab::cache::LabCache;
use crate::lab::environment::REGISTRY;
use crate::lab::make::Products;
use crate::lab::oci::LabLayout;
use crate::tools;
use services::LabServices;

/// Starts the services with these products. `stay`: they outlive this process.
pub(crate) fn start(cache: &LabCache, products: &Products, stay: bool) -> Result<LabServices> {
    let run = cache.run();
    coreos_streams::publish(&run.join("www"), &products.coreos, &products.repository, &products.tarball)?;
    let _ = fs::remove_file(run.join(http::LOG));
    // The lab's builds keep their versions when their content changes; a build of Fedora CoreOS does not.
    let _ = fs::remove_dir_all(run.join("program/answers"));
    let services = LabServices::start(cache, stay)?;
    push(cache, &products.fedora, "fedora/fedora")?;
    push(cache, &products.coreos.layout, "fedora/fedora-coreos")?;
    Ok(services)
}

/// Copies every tag of a layout to the registry.
fn push(cache: &LabCache, layout: &Path, repository: &str) -> Result {
    for tag in LabLayout::open(layout).tags()? {
        let mut copy = Command::new("skopeo");
        copy.args(["copy", "--quiet", "--all", "--preserve-digests", "--dest-tls-verify=false"]);
        copy.arg(format!("oci:{}:{tag}", layout.display()))
            .arg(format!("docker://{REGISTRY}/{repository}:{tag}"));
        tools::run_logged(&format!("pushing {repository}:{tag}"), &copy, &cache.log("push"))?;
    }
    Ok(())
}
