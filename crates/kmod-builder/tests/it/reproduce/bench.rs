use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;

use kmod_builder::model::Digest;
use kmod_builder::model::containerfile::TEMPLATE;
use kmod_builder::model::inputs::BuildInputs;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::command_output::{CommandOutput, Program, write_program};
use crate::fedora_key;
use crate::images::{self, Rpms, files};
use crate::rpms::{self, Recipe};

/// Logs its arguments and variables and copies prepared packages to the destination. Fails with the content of
/// `podman-says`, if any.
const PODMAN: &str = r#"#!/bin/sh
here=$(dirname "$(dirname "$0")")
echo "$@" >> "$here/podman.log"
env >> "$here/podman.env"
if [ "$1" = rmi ]; then exit; fi
if [ -e "$here/podman-says" ]; then cat "$here/podman-says" >&2; exit 125; fi
while [ $# -gt 1 ]; do
    case "$1" in
        --target) stage=$2 ;;
        --output) destination=${2#type=local,dest=} ;;
        --iidfile) echo "sha256:$stage" > "$2" ;;
    esac
    shift
done
mkdir -p "$destination" && cp "$here/rpms/${stage%-rpms}"/*.rpm "$destination"
"#;

pub(super) const TARBALL: &str = "/zfs-2.4.3.tar.gz";
pub(super) const KERNEL_DEVEL: &str = "/kernel-devel.rpm";

pub(super) struct ReproduceBench {
    program: Program,
    pub(super) inputs: BuildInputs,
    pub(super) digest: Digest,
    upstream: MockServer,
}

impl Deref for ReproduceBench {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl ReproduceBench {
    pub(super) async fn new() -> Self {
        Self::of(rpms::good()).await
    }

    pub(super) async fn of(recipes: (Vec<Recipe>, Vec<Recipe>)) -> Self {
        let mut program = Program::new();
        let directory = program.path("");
        let at = |name: &str| directory.join(name);
        for name in ["bin", "headers"] {
            fs::create_dir(at(name)).unwrap();
        }
        write_program(&at("bin/podman"), PODMAN);
        let search = std::env::var("PATH").unwrap();
        program.set("PATH", format!("{}:{search}", at("bin").display()));
        program.set("BUILDAH_ISOLATION", "chroot");
        program.set("ZFS_KMODS_ALLOW_BUILDER", "registry.example.org/fedora");

        let tarball = tarball();
        let headers = rpms::kernel_package(&at("headers"), "kernel-devel", &[]);
        fedora_key::sign(&headers);
        fedora_key::write_list(&at("fedora-keys.toml"));
        program.set("ZFS_KMODS_FEDORA_KEYS", at("fedora-keys.toml").display().to_string());
        let upstream = MockServer::start().await;
        for (name, bytes) in [(TARBALL, tarball.clone()), (KERNEL_DEVEL, fs::read(headers).unwrap())] {
            let answer = ResponseTemplate::new(200).set_body_bytes(bytes);
            Mock::given(path(name)).respond_with(answer).mount(&upstream).await;
        }

        let mut inputs = images::inputs();
        inputs.template = Digest::of(TEMPLATE.as_bytes());
        inputs.tarball.url = format!("{}{TARBALL}", upstream.uri());
        inputs.tarball.digest = Digest::of(&tarball);
        inputs.kernel_devel.url = format!("{}{KERNEL_DEVEL}", upstream.uri());
        inputs.source_repository = Some("https://github.com/owner/zfs-kmods".into());

        fs::write(at("zfs-kmods.toml"), images::matrix_row(&inputs.tarball.digest)).unwrap();

        let rpms = Rpms::new(recipes);
        let (layout, built) = rpms.compose_from(&inputs, inputs.compression, &at("images")).await;
        let tag = inputs.target().tag();
        layout.list(built.manifest(), Some(&tag)).unwrap();
        fs::write(at("images").join(format!("{tag}.inputs.json")), inputs.canonical_json()).unwrap();
        let digest = built.digest().clone();
        let bench = Self { program, inputs, digest, upstream };
        bench.will_build(rpms::good());
        bench
    }

    pub(super) fn will_build(&self, recipes: (Vec<Recipe>, Vec<Recipe>)) {
        let rpms = self.path("rpms");
        fs::remove_dir_all(&rpms).ok();
        Rpms::write(recipes, &rpms);
    }

    pub(super) async fn serve(&self, name: &str, bytes: Vec<u8>) {
        let other = Mock::given(path(name)).respond_with(ResponseTemplate::new(200).set_body_bytes(bytes));
        other.with_priority(1).mount(&self.upstream).await;
    }

    /// Inputs with the digest and the signer of the kernel's package.
    pub(super) fn inputs_2(&self, signer: Option<&str>) -> String {
        let package = fs::read(self.path("headers/kernel-devel.rpm")).unwrap();
        let mut inputs: serde_json::Value = serde_json::from_str(&self.inputs.canonical_json()).unwrap();
        inputs["schema"] = 2.into();
        inputs["kernel_devel"]["digest"] = Digest::of(&package).as_str().into();
        if let Some(signer) = signer {
            inputs["kernel_devel"]["signer"] = signer.into();
        }
        inputs.to_string()
    }

    pub(super) async fn lose(&self, name: &str) {
        let gone = Mock::given(path(name)).respond_with(ResponseTemplate::new(404));
        gone.with_priority(1).mount(&self.upstream).await;
    }

    pub(super) fn podman_says(&self, sentence: &str) {
        fs::write(self.path("podman-says"), sentence).unwrap();
    }

    pub(super) fn store(&self) -> String {
        format!("oci:{}", self.path("images").display())
    }

    /// Runs `reproduce` and checks that it leaves no files and does not change the store.
    pub(super) async fn reproduce(&self, arguments: &[&str]) -> CommandOutput {
        let before = files(&self.path("images"));
        let work = self.path("work");
        let store = self.store();
        let mut all = vec!["reproduce", store.as_str(), "--work-directory", work.to_str().unwrap()];
        all.extend(arguments);
        let output = self.run(&all).await;
        assert_eq!(files(&self.path("images")), before, "the store was written to");
        assert_eq!(files(&work), BTreeMap::new(), "the build left something behind");
        assert!(fs::read_dir(&work).map_or(0, Iterator::count) == 0, "the build left a directory behind");
        output
    }

    pub(super) fn set(&mut self, name: &'static str, value: &str) {
        self.program.set(name, value);
    }

    pub(super) fn podman_log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("podman.log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn tarball() -> Vec<u8> {
    let meta = "Meta: 1\nName: zfs\nBranch: 1.0\nVersion: 2.4.3\nRelease: 1\nRelease-Tags: relext\nLicense: CDDL\n\
                Author: OpenZFS\nLinux-Maximum: 7.0\nLinux-Minimum: 4.18\n";
    let mut archive =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(meta.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "zfs-2.4.3/META", meta.as_bytes()).unwrap();
    archive.into_inner().unwrap().finish().unwrap()
}
