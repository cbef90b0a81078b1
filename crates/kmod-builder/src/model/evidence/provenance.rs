//! The SLSA provenance v1 predicate (slsa.dev, "Provenance", v1.0).

use kmod_query::PinnedImage;
use serde_json::{Value, json};

use super::Claims;
use crate::model::Digest;
use crate::model::inputs::BuildInputs;

/// The build type of a run in GitHub Actions, which verifiers of GitHub's attestations expect.
pub const ACTIONS_BUILD_TYPE: &str = "https://actions.github.io/buildtypes/workflow/v1";
/// The build type outside GitHub Actions; see `docs/build-type.md`.
pub const LOCAL_BUILD_TYPE: &str = "urn:zfs-kmods:build-type:local:v1";
/// The builder outside GitHub Actions: the owner of the key that signs the provenance.
pub const LOCAL_BUILDER: &str = "urn:zfs-kmods:builder:local:v1";

/// The internal parameter with the complete [`BuildInputs`].
///
/// An extension field, named as the SLSA provenance specification requires ("Extension fields"): vendor, `_`, name.
pub const INPUTS: &str = "zfskmods_inputs";
/// The internal parameter with [`BuildInputs::digest`], which is also a label of the image.
pub const INPUTS_DIGEST: &str = "zfskmods_inputsDigest";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildPlatform {
    /// Identified by an OIDC token.
    Actions(Box<Claims>),
    Local {
        /// The commit that the program was built from or run in, if known.
        source: Option<SourceCommit>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceCommit {
    /// Repository and ref: `git+https://github.com/owner/zfs-kmods@refs/heads/main`.
    pub uri: String,
    pub commit: String,
}

pub fn predicate(inputs: &BuildInputs, origin: &BuildPlatform) -> Value {
    let (build_type, external, mut internal, source, run) = match origin {
        BuildPlatform::Actions(claims) => actions(claims),
        BuildPlatform::Local { source } => (
            LOCAL_BUILD_TYPE,
            json!({"zfs": inputs.zfs, "kernel": inputs.kernel}),
            json!({}),
            source.clone(),
            json!({"builder": {"id": LOCAL_BUILDER, "version": {"zfs-kmods": inputs.tool}}}),
        ),
    };
    internal[INPUTS] = inputs_value(inputs);
    internal[INPUTS_DIGEST] = inputs.digest().as_str().into();
    let source =
        source.map(|SourceCommit { uri, commit }| json!({"uri": uri, "digest": {"gitCommit": commit}}));
    let dependencies: Vec<_> = source.into_iter().chain(dependencies(inputs)).collect();
    json!({
        "buildDefinition": {
            "buildType": build_type,
            "externalParameters": external,
            "internalParameters": internal,
            "resolvedDependencies": dependencies,
        },
        "runDetails": run,
    })
}

type Parts = (&'static str, Value, Value, Option<SourceCommit>, Value);

/// All from the token, in the members that GitHub's own action writes (`@actions/attest`, `provenance.ts`) and its
/// verifiers read.
fn actions(claims: &Claims) -> Parts {
    let server = claims.server();
    let repository = format!("{server}/{}", claims.repository);
    let external = json!({"workflow": {
        "ref": claims.reference,
        "repository": repository,
        "path": claims.workflow_path(),
    }});
    let internal = json!({"github": {
        "event_name": claims.event_name,
        "repository_id": claims.repository_id,
        "repository_owner_id": claims.repository_owner_id,
        "runner_environment": claims.runner_environment,
    }});
    let source =
        SourceCommit { uri: format!("git+{repository}@{}", claims.reference), commit: claims.sha.clone() };
    let run = json!({
        "builder": {"id": format!("{server}/{}", claims.job_workflow_ref)},
        "metadata": {
            "invocationId": format!(
                "{repository}/actions/runs/{}/attempts/{}", claims.run_id, claims.run_attempt
            ),
        },
    });
    (ACTIONS_BUILD_TYPE, external, internal, Some(source), run)
}

fn inputs_value(inputs: &BuildInputs) -> Value {
    serde_json::from_str(&inputs.canonical_json()).expect("canonical JSON is JSON")
}

/// The resolved dependencies, as resource descriptors (in-toto attestation framework,
/// `spec/v1/resource_descriptor.md`).
fn dependencies(inputs: &BuildInputs) -> Vec<Value> {
    let tarball = json!({
        "name": format!("zfs-{}.tar.gz", inputs.zfs),
        "uri": inputs.tarball.url,
        "digest": {"sha256": inputs.tarball.digest.hex()},
    });
    let base = inputs.source_image.as_ref().map(|base| {
        let mut resource = image("base", &base.image);
        if let Some(version) = &base.version {
            resource["annotations"] = json!({"version": version});
        }
        resource
    });
    let mut kernel_devel = json!({"name": inputs.kernel_devel.nevra, "uri": inputs.kernel_devel.url});
    if let Some(digest) = &inputs.kernel_devel.digest {
        kernel_devel["digest"] = json!({"sha256": digest.hex()});
        let signed = if inputs.kernel_devel.is_unsigned() { "no" } else { "by Fedora" };
        kernel_devel["annotations"] = json!({"headerSigned": signed});
    }
    let others = [
        image("builder", &inputs.builder_image),
        kernel_devel,
        json!({"name": "Containerfile.in", "digest": {"sha256": inputs.template.hex()}}),
    ];
    std::iter::once(tarball).chain(base).chain(others).collect()
}

fn image(name: &str, image: &PinnedImage) -> Value {
    json!({
        "name": name,
        "uri": oci_purl(&image.store.to_string(), image.digest.as_str()),
        "digest": {"sha256": image.digest.hex()},
    })
}

/// The package URL of an image (purl specification, type `oci`).
pub(super) fn oci_purl(repository: &str, digest: &str) -> String {
    let name = repository.rsplit('/').next().unwrap_or(repository);
    format!("pkg:oci/{name}@{}?repository_url={repository}", digest.replace(':', "%3A"))
}

/// The inputs in a predicate, and their stated digest.
#[derive(Debug)]
pub struct ProvenanceInputs {
    pub inputs: BuildInputs,
    /// The value of [`INPUTS_DIGEST`].
    pub digest: Digest,
}

/// Reads a predicate and checks its completeness: a known build type, a builder, inputs with the stated digest, and
/// every dependency that these inputs name. The error is a sentence.
pub fn read(predicate: &Value) -> Result<ProvenanceInputs, String> {
    let missing = |name: &str| format!("the provenance has no usable `{name}`");
    let text =
        |pointer: &str| predicate.pointer(pointer).and_then(Value::as_str).ok_or_else(|| missing(pointer));
    let build_type = text("/buildDefinition/buildType")?;
    if ![ACTIONS_BUILD_TYPE, LOCAL_BUILD_TYPE].contains(&build_type) {
        return Err(format!(
            "the provenance is of build type `{build_type}`, which this program does not write"
        ));
    }
    text("/runDetails/builder/id")?;
    let internal = &predicate["buildDefinition"]["internalParameters"];
    let inputs = internal.get(INPUTS).ok_or_else(|| missing(INPUTS))?;
    let inputs = BuildInputs::parse(&inputs.to_string())
        .map_err(|error| format!("the provenance's inputs cannot be read: {error}"))?;
    let stated_inputs: Digest = internal[INPUTS_DIGEST]
        .as_str()
        .and_then(|digest| digest.parse().ok())
        .ok_or_else(|| missing(INPUTS_DIGEST))?;
    if stated_inputs != inputs.digest() {
        return Err(format!(
            "the provenance states the inputs digest {stated_inputs}, but its inputs have {}",
            inputs.digest()
        ));
    }
    let listed = predicate["buildDefinition"]["resolvedDependencies"].as_array();
    let listed = listed.ok_or_else(|| missing("/buildDefinition/resolvedDependencies"))?;
    for dependency in dependencies(&inputs) {
        let is_this = |other: &Value| ["uri", "digest"].iter().all(|name| other[name] == dependency[name]);
        if !listed.iter().any(is_this) {
            let name = &dependency["name"];
            return Err(format!("the provenance does not list {name} among its resolved dependencies"));
        }
    }
    Ok(ProvenanceInputs { inputs, digest: stated_inputs })
}

#[cfg(test)]
mod tests {
    use super::super::tests::inputs;
    use super::*;

    #[test]
    fn a_predicate_that_lacks_anything_is_refused() {
        let whole = predicate(&inputs(), &BuildPlatform::Local { source: None });
        let refused = |change: &dyn Fn(&mut Value), reason: &str| {
            let mut changed = whole.clone();
            change(&mut changed["buildDefinition"]);
            let error = read(&changed).unwrap_err();
            assert!(error.contains(reason), "{error}");
        };
        refused(&|definition| definition["buildType"] = "https://example.org/build".into(), "of build type");
        refused(&|definition| definition["internalParameters"] = json!({}), INPUTS);
        refused(
            &|definition| definition["internalParameters"][INPUTS]["zfs"] = "2.4.2".into(),
            "its inputs have",
        );
        for position in 0..5 {
            let remove = |definition: &mut Value| {
                drop(definition["resolvedDependencies"].as_array_mut().unwrap().remove(position));
            };
            refused(&remove, "does not list");
        }
        let mut changed = whole;
        changed["runDetails"] = json!({});
        read(&changed).unwrap_err();
    }
}
