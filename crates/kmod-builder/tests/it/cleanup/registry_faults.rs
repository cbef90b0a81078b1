//! A plain registry with faults.

use super::environment::{OLD, Published, Pusher, index_of, version_tag};
use crate::command_output::Program;
use crate::registry_server::{Fault, Options, Server};

const KEEP_ONE: [&str; 6] = ["--keep-kernels-of", "none", "--keep-newest", "1", "--minimum", "1"];

/// An old image, an old one that is `stable`, and a young one, which an earlier run has seen.
async fn with_three() -> (Server, Pusher, Vec<Published>, Program) {
    let server = Server::start(Options { page: 100, ..Options::default() }).await;
    let pusher = Pusher::new(&server.address());
    let mut images = Vec::new();
    for (number, (name, tags, hours)) in
        [("old", &[][..], OLD), ("promoted", &["stable"], OLD), ("young", &[], 24)].into_iter().enumerate()
    {
        images.push(pusher.publish(name, &[&[&*version_tag(number)], tags].concat(), hours).await);
    }
    let program = Program::new();
    program.run(&[&arguments(&server)[..], &["--dry-run".to_owned()]].concat()).await.with(0);
    server.forget_log();
    (server, pusher, images, program)
}

fn arguments(server: &Server) -> Vec<String> {
    let store = server.location();
    ["cleanup", &store].into_iter().chain(KEEP_ONE).map(str::to_owned).collect()
}

fn deletions(server: &Server) -> usize {
    server.log().iter().filter(|line| line.starts_with("DELETE")).count()
}

#[tokio::test]
async fn a_missing_list_of_tags_deletes_nothing_of_a_known_repository() {
    let (server, _, _, program) = with_three().await;
    server.fault_when("GET tags/list", Fault::NotFound);
    let output = program.run(&arguments(&server)).await.with(1);
    assert_eq!(deletions(&server), 0);
    output.explains(&["it is not known which tags", "an earlier run found 12 manifests there"]);
}

#[tokio::test]
async fn a_listed_tag_without_a_manifest_deletes_nothing() {
    let (server, _, _, program) = with_three().await;
    server.fault_when("HEAD manifests/stable", Fault::NotFound);
    let output = program.run(&arguments(&server)).await.with(1);
    assert_eq!(deletions(&server), 0);
    output.explains(&["it is not known what the tag `stable` points to"]);
}

#[tokio::test]
async fn a_channel_that_moves_during_the_run_is_respected() {
    let (server, pusher, images, program) = with_three().await;
    let last = pusher.publish("older", &[&version_tag(3)], OLD - 24).await;
    server.fault_when("DELETE", Fault::Slow);
    let arguments = [arguments(&server), vec!["--max-delete".to_owned(), "100%".to_owned()]].concat();
    let run = program.run(&arguments);
    let promote = async {
        while deletions(&server) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        pusher.tag(&last.image, "stable").await;
    };
    let (output, ()) = tokio::join!(run, promote);
    let output = output.with(0);
    assert!(!pusher.has(images[0].image.as_str()).await);
    for digest in last.all.values() {
        assert!(pusher.has(digest.as_str()).await, "{digest}: {}", output.stdout);
    }
}

#[tokio::test]
async fn a_deletion_that_the_registry_denies_ends_the_run() {
    let (server, pusher, images, program) = with_three().await;
    let image = &images[0].image;
    server.fault_when(&format!("DELETE manifests/sha256:{}", &image.hex()[..8]), Fault::NotFound);
    let output = program.run(&arguments(&server)).await.with(1);
    output
        .explains(&["the store says that it does not exist, and still has it", "Deleted 0 of 12 manifests"]);
    for digest in images[0].all.values() {
        assert!(pusher.has(digest.as_str()).await, "{digest}");
    }
}

/// `created` of an image is the release date of OpenZFS.
#[tokio::test]
async fn an_image_without_dated_evidence_is_as_old_as_it_is_known() {
    let (server, pusher, images, program) = with_three().await;
    let tags = [format!("candidate-{}", version_tag(7)), version_tag(8), "beta-topic".to_owned()];
    let mut unsigned = Vec::new();
    for tag in &tags {
        unsigned.push(pusher.publish_unsigned(tag, &[tag], OLD).await);
    }
    program.run(&arguments(&server)).await.with(0);
    assert!(!pusher.has(images[0].image.as_str()).await);
    for digest in &unsigned {
        assert!(pusher.has(digest.as_str()).await, "{digest}");
    }
}

#[tokio::test]
async fn an_index_that_is_pushed_during_the_run_keeps_its_images() {
    let (server, pusher, images, program) = with_three().await;
    let child = pusher.publish("child", &[&version_tag(3)], OLD - 24).await;
    server.fault_when("DELETE", Fault::Slow);
    let arguments = [arguments(&server), vec!["--max-delete".to_owned(), "100%".to_owned()]].concat();
    let run = program.run(&arguments);
    let push = async {
        while deletions(&server) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        pusher.put(&index_of([&child.image]), &["testing"]).await;
    };
    let (output, ()) = tokio::join!(run, push);
    let output = output.with(0);
    assert!(!pusher.has(images[0].image.as_str()).await);
    for digest in child.all.values() {
        assert!(pusher.has(digest.as_str()).await, "{digest}: {}", output.stdout);
    }
}

#[tokio::test]
async fn an_image_that_seems_gone_for_a_moment_keeps_its_evidence() {
    let (server, pusher, images, program) = with_three().await;
    let request = format!("HEAD manifests/sha256:{}", &images[0].image.hex()[..8]);
    server.fault_once_when(&request, Fault::NotFound);
    let output = program.run(&arguments(&server)).await.with(1);
    output.explains(&["the store says first that it is gone", "Deleted 0 of 12 manifests"]);
    for digest in images[0].all.values() {
        assert!(pusher.has(digest.as_str()).await, "{digest}");
    }
}
