use kmod_compat::Arch;
use kmod_query::coreos::{fetch_index, fetch_newest};
use kmod_query::{CoreOsRelease, Http, KernelSource, QueryError, Stream};
use wiremock::{MockServer, ResponseTemplate};

use crate::image::{digest, serve_image};
use crate::support::{asked, cached_http, endpoints, get, http, json, registries};

const BUILD: &str = "/coreos/prod/streams/stable/builds/43.20260301.3.1/x86_64";
const KERNEL: &str = "6.18.13-200.fc43.x86_64";

/// A stream whose newest release is the image with that configuration.
async fn server(config: &str) -> MockServer {
    let server = MockServer::start().await;
    let manifest = serve_image(&server, "fedora/fedora-coreos", config).await;
    let index = include_str!("../fixtures/coreos-releases.json");
    let index = index.replace(&format!("sha256:{}", "1".repeat(64)), &digest(&manifest));
    get(&server, "/coreos/prod/streams/stable/releases.json", json(index)).await;
    server
}

async fn ask(server: &MockServer) -> Result<CoreOsRelease, QueryError> {
    ask_with(&http(), server).await
}

async fn ask_with(http: &Http, server: &MockServer) -> Result<CoreOsRelease, QueryError> {
    let endpoints = endpoints(server);
    let index = fetch_index(http, &endpoints, Stream::Stable).await?;
    fetch_newest(http, &registries(), &endpoints, &index, Arch::X86_64).await
}

const NO_LABEL: &str = r#"{"architecture": "amd64", "config": {"Labels": {"containers.bootc": "1"}}}"#;

fn commit_meta() -> ResponseTemplate {
    json(format!(r#"{{"ostree.linux": "{KERNEL}"}}"#))
}

fn lockfile() -> ResponseTemplate {
    json(format!(r#"{{"packages": {{"kernel": {{"evra": "{KERNEL}"}}}}}}"#))
}

#[tokio::test]
async fn the_usual_way_takes_two_requests() {
    let server = server(NO_LABEL).await;
    get(&server, &format!("{BUILD}/commitmeta.json"), commit_meta()).await;
    let http = http();
    let release = ask_with(&http, &server).await.unwrap();
    assert_eq!(release.kernel.to_string(), KERNEL);
    assert_eq!(release.kernel_source, KernelSource::CommitMeta);
    assert_eq!((release.version.to_string().as_str(), release.fedora.number()), ("43.20260301.3.1", 43));
    let repository = format!("{}/fedora/fedora-coreos", server.address());
    assert_eq!(release.image.store.to_string(), repository, "the repository was overridden");
    assert_eq!(http.stats().requests, 2);
}

#[tokio::test]
async fn the_documents_of_a_build_are_asked_for_once() {
    let (_directory, http) = cached_http();
    let server = server(NO_LABEL).await;
    let at = format!("{BUILD}/commitmeta.json");
    // What a server in trouble says is no answer for ever.
    get(&server, &at, json("{\"ostree.linux\": 1}").insert_header("ETag", "\"one\"")).await;
    assert!(ask_with(&http, &server).await.is_err());
    server.reset().await;
    let index = include_str!("../fixtures/coreos-releases.json");
    get(&server, "/coreos/prod/streams/stable/releases.json", json(index)).await;
    get(&server, &at, commit_meta().insert_header("ETag", "\"two\"")).await;
    for _ in 0..3 {
        assert_eq!(ask_with(&http, &server).await.unwrap().kernel.to_string(), KERNEL);
    }
    assert_eq!(asked(&server, &at).await, 1);
}

/// The kernel, and where it was found.
async fn found(server: &MockServer) -> (String, KernelSource) {
    let release = ask(server).await.unwrap();
    (release.kernel.to_string(), release.kernel_source)
}

#[tokio::test]
async fn the_metadata_has_the_package_list_too() {
    let server = server(NO_LABEL).await;
    let text = r#"{"rpmostree.rpmdb.pkglist": [["kernel-core", "0", "6.18.13", "200.fc43", "x86_64"]]}"#;
    get(&server, &format!("{BUILD}/commitmeta.json"), json(text)).await;
    assert_eq!(found(&server).await, (KERNEL.to_owned(), KernelSource::PackageList));
}

#[tokio::test]
async fn missing_metadata_leads_to_the_lockfile() {
    for missing in [ResponseTemplate::new(404), ResponseTemplate::new(403), json("{}")] {
        let server = server(NO_LABEL).await;
        get(&server, &format!("{BUILD}/commitmeta.json"), missing).await;
        get(&server, &format!("{BUILD}/manifest-lock.generated.x86_64.json"), lockfile()).await;
        assert_eq!(found(&server).await, (KERNEL.to_owned(), KernelSource::Lockfile));
    }
}

#[tokio::test]
async fn then_the_image_is_asked() {
    let config =
        format!(r#"{{"architecture": "amd64", "config": {{"Labels": {{"ostree.linux": "{KERNEL}"}}}}}}"#);
    assert_eq!(found(&server(&config).await).await, (KERNEL.to_owned(), KernelSource::ImageLabel));
}

#[tokio::test]
async fn when_nothing_tells_the_caller_can_go_on() {
    let server = server(NO_LABEL).await;
    let error = ask(&server).await.unwrap_err();
    let QueryError::KernelUnknown(unknown) = error.clone() else { panic!("{error}") };
    assert_eq!(unknown.tried.len(), 3);
    assert!(error.to_string().contains("commitmeta.json"), "{error}");
    assert!(miette::Diagnostic::help(&error).is_some());
    let release = unknown.clone().release(KERNEL.parse().unwrap()).unwrap();
    assert_eq!(release.kernel_source, KernelSource::RpmDatabase);
    assert_eq!(release.version.to_string(), "43.20260301.3.1");
    assert_eq!(unknown.release("6.18.13-200.fc43.aarch64".parse().unwrap()), None);
}

#[tokio::test]
async fn an_image_that_was_deleted_tells_nothing() {
    let server = MockServer::start().await;
    let index = include_str!("../fixtures/coreos-releases.json");
    get(&server, "/coreos/prod/streams/stable/releases.json", json(index)).await;
    assert!(matches!(ask(&server).await, Err(QueryError::KernelUnknown(_))));
}

#[tokio::test]
async fn trouble_is_no_reason_for_another_way() {
    let lock = format!("{BUILD}/manifest-lock.generated.x86_64.json");
    for trouble in [
        ResponseTemplate::new(500),
        ResponseTemplate::new(429),
        json(r#"{"ostree.linux": "#),
        json("<html>"),
        json(r#"{"ostree.linux": "linux"}"#),
    ] {
        let server = server(NO_LABEL).await;
        get(&server, &format!("{BUILD}/commitmeta.json"), trouble).await;
        get(&server, &lock, lockfile()).await;
        let error = ask(&server).await.unwrap_err();
        assert!(error.to_string().contains("commitmeta.json"), "{error}");
        assert_eq!(asked(&server, &lock).await, 0, "{error}");
    }
}
