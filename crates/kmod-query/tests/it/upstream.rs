use std::time::{Duration, Instant};

use kmod_compat::Arch;
use kmod_query::{Credentials, QueryError, Stream, Upstream};
use wiremock::{MockServer, ResponseTemplate};

use crate::support::{asked, endpoints, get, http, json};

fn commit_meta(arch: Arch) -> ResponseTemplate {
    json(format!(r#"{{"ostree.linux": "6.18.13-200.fc43.{arch}"}}"#)).set_delay(Duration::from_millis(500))
}

#[tokio::test]
async fn streams_and_architectures_are_asked_at_the_same_time() {
    let server = MockServer::start().await;
    let index = json(include_str!("../fixtures/coreos-releases.json")).set_delay(Duration::from_millis(500));
    for stream in [Stream::Stable, Stream::Testing] {
        let folder = format!("/coreos/prod/streams/{stream}");
        get(&server, &format!("{folder}/releases.json"), index.clone()).await;
        for (version, arch) in [("43.20260301.3.1", Arch::X86_64), ("43.20260215.3.0", Arch::Aarch64)] {
            let at = format!("{folder}/builds/{version}/{arch}/commitmeta.json");
            get(&server, &at, commit_meta(arch)).await;
        }
    }
    get(&server, "/coreos/prod/streams/next/releases.json", ResponseTemplate::new(404)).await;
    let upstream = Upstream::new(http(), endpoints(&server), None, Credentials::default()).unwrap();
    let start = Instant::now();
    let releases = upstream.coreos_all(&Stream::all().collect::<Vec<_>>(), &Arch::ALL).await;
    // Six answers of half a second each, in two rounds.
    assert!(start.elapsed() < Duration::from_millis(2500), "{:?}", start.elapsed());
    assert_eq!(releases.len(), 6);
    assert_eq!(upstream.http.usage().requests, 3 + 4);
    assert_eq!(asked(&server, "/coreos/prod/streams/stable/releases.json").await, 1);
    for arch in Arch::ALL {
        assert!(matches!(releases[&(Stream::Next, arch)], Err(QueryError::NotFound { .. })));
        let release = releases[&(Stream::Testing, arch)].as_ref().unwrap();
        assert_eq!((release.stream, release.kernel.arch()), (Stream::Testing, arch));
    }
}
