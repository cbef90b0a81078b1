use kmod_query::kernel_packages::find;
use kmod_query::{KernelPackage, KernelRpm, PackageRepository, QueryError};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::{endpoints, http};

const FILE: &str = "kernel-devel-6.18.13-200.fc43.x86_64.rpm";

async fn head(server: &MockServer, at: &str, status: u16) {
    let at = format!("/{at}/{FILE}");
    Mock::given(method("HEAD")).and(path(at)).respond_with(ResponseTemplate::new(status)).mount(server).await;
}

async fn ask(server: &MockServer) -> Result<KernelRpm, QueryError> {
    let kernel = "6.18.13-200.fc43.x86_64".parse().unwrap();
    find(&http(), &endpoints(server), KernelPackage::Devel, &kernel, "43".parse().unwrap()).await
}

#[tokio::test]
async fn every_place_can_have_it_and_the_order_decides() {
    let server = MockServer::start().await;
    for (at, repository) in [
        ("koji/kernel/6.18.13/200.fc43/x86_64", PackageRepository::Koji),
        ("pool/x86_64/Packages/k", PackageRepository::CoreOsPool),
        ("archive/43/x86_64", PackageRepository::UpdatesArchive),
        ("fedora/development/43/Everything/x86_64/os/Packages/k", PackageRepository::Development),
        ("fedora/releases/43/Everything/x86_64/os/Packages/k", PackageRepository::Releases),
        ("fedora/updates/43/Everything/x86_64/Packages/k", PackageRepository::Updates),
    ] {
        head(&server, at, 200).await;
        let found = ask(&server).await.unwrap();
        assert_eq!(found.repository, repository);
        assert_eq!(found.url, format!("{}/{at}/{FILE}", server.uri()));
        assert_eq!(found.nevra.as_str(), "kernel-devel-6.18.13-200.fc43.x86_64");
    }
}

#[tokio::test]
async fn gone_everywhere_names_every_place() {
    let server = MockServer::start().await;
    // The archive is an object store.
    head(&server, "archive/43/x86_64", 403).await;
    let error = ask(&server).await.unwrap_err();
    assert!(!error.is_temporary());
    insta::assert_snapshot!(error.to_string().replace(&server.uri(), "URI"), @"
    kernel-devel-6.18.13-200.fc43.x86_64 is in no known package repository
      Fedora updates: 404: URI/fedora/updates/43/Everything/x86_64/Packages/k/kernel-devel-6.18.13-200.fc43.x86_64.rpm
      Fedora releases: 404: URI/fedora/releases/43/Everything/x86_64/os/Packages/k/kernel-devel-6.18.13-200.fc43.x86_64.rpm
      Fedora development: 404: URI/fedora/development/43/Everything/x86_64/os/Packages/k/kernel-devel-6.18.13-200.fc43.x86_64.rpm
      updates archive: 403: URI/archive/43/x86_64/kernel-devel-6.18.13-200.fc43.x86_64.rpm
      CoreOS pool: 404: URI/pool/x86_64/Packages/k/kernel-devel-6.18.13-200.fc43.x86_64.rpm
      build system: 404: URI/koji/kernel/6.18.13/200.fc43/x86_64/kernel-devel-6.18.13-200.fc43.x86_64.rpm
    ");
}

#[tokio::test]
async fn a_place_in_trouble_leaves_it_open() {
    for status in [500, 429, 403] {
        let server = MockServer::start().await;
        head(&server, "koji/kernel/6.18.13/200.fc43/x86_64", status).await;
        let error = ask(&server).await.unwrap_err();
        assert!(matches!(error, QueryError::KernelRpmUncertain { .. }), "{error}");
        assert!(error.to_string().contains(&format!("build system: {status}: ")), "{error}");
    }
}

#[tokio::test]
async fn a_place_in_trouble_does_not_hide_another() {
    let server = MockServer::start().await;
    head(&server, "fedora/updates/43/Everything/x86_64/Packages/k", 500).await;
    head(&server, "pool/x86_64/Packages/k", 200).await;
    assert_eq!(ask(&server).await.unwrap().repository, PackageRepository::CoreOsPool);
}

#[tokio::test]
async fn a_web_page_is_no_package() {
    let server = MockServer::start().await;
    let page = ResponseTemplate::new(200).insert_header("Content-Type", "text/html");
    Mock::given(method("HEAD")).respond_with(page).mount(&server).await;
    assert!(matches!(ask(&server).await, Err(QueryError::KernelRpmUncertain { .. })));
}
