//! `promote` is killed with signal 9 at every step, just before and just after the registry executes it, while another
//! client reads the users' tags.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kmod_builder::model::oci::MANIFEST;
use kmod_builder::model::{Compression, Digest};

use super::environment::{PromoteEnvironment, TestKey};
use super::proxy::HoldPoint;
use crate::images::files;

const NEWER: &str = "6.17.9-300.fc43.x86_64";
const AUDIT: &str = "stable-2-0123abc";

/// Reads the users' tags continuously, directly from the registry.
struct TagReader {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<ObservedTags>,
}

#[derive(Default)]
struct ObservedTags {
    rounds: usize,
    /// Every digest that each tag pointed to.
    tags: BTreeMap<String, BTreeSet<String>>,
    /// Violations of the order of tags.
    disorder: Vec<String>,
}

impl TagReader {
    fn start(world: &PromoteEnvironment, tags: &[String], new: &Digest) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, tags, new) = (Arc::clone(&stop), tags.to_vec(), new.to_string());
        let base = format!("http://{}/v2/owner/zfs-kmods/manifests", world.registry.address());
        let task = tokio::spawn(async move {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let mut seen = ObservedTags::default();
            while !stopped.load(Ordering::Relaxed) {
                // The last one first: if that is new, every one that is read after it must be.
                let mut later_is_new = None;
                for tag in tags.iter().rev() {
                    // docker-registry answers 500 while it writes the file that it has open for somebody else.
                    let head = loop {
                        let head = client.head(format!("{base}/{tag}")).header("accept", MANIFEST);
                        let head = head.send().await.unwrap();
                        if !head.status().is_server_error() {
                            break head;
                        }
                    };
                    let digest = head.headers().get("docker-content-digest");
                    let digest = digest.map(|digest| digest.to_str().unwrap().to_owned());
                    let is_new = digest.as_ref() == Some(&new);
                    if let (Some(later), false) = (&later_is_new, is_new) {
                        seen.disorder.push(format!("{later} was new before {tag}"));
                    }
                    if is_new {
                        later_is_new = Some(tag.clone());
                    }
                    seen.tags.entry(tag.clone()).or_default().extend(digest);
                }
                seen.rounds += 1;
            }
            seen
        });
        Self { stop, task }
    }

    async fn end(self) -> ObservedTags {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_step() {
    let (world, old) = PromoteEnvironment::with_candidate().await;
    let new = world.prove(NEWER, Compression::Zstd).await;
    let unproven = world.publish(NEWER, Compression::Gzip, TestKey::Ours).await;
    world.promote(&old, &["--audit-tag", "stable-1-0123abc"]).await.with(0);
    let start = world.tags().await;
    // No registry can be asked to forget a tag and nothing else; to begin anew, its own files are put back.
    let folder = world.registry.storage().join("repositories/owner/zfs-kmods/_manifests/tags");
    let kept = files(&folder);

    let planned = world.promote(&new, &["--audit-tag", AUDIT, "--dry-run"]).await.with(0).json();
    let listed = |name: &str| -> Vec<String> {
        let items = planned[name].as_array().unwrap().iter();
        items.map(|item| item["tag"].as_str().or(item.as_str()).unwrap().to_owned()).collect()
    };
    let (steps, tags) = (listed("updates"), listed("tags"));
    assert_eq!((steps.len(), &steps), (5, &tags));
    assert_eq!(world.tags().await, start, "a dry run did something");

    let (mut seen, mut rounds) = (BTreeMap::<String, BTreeSet<String>>::new(), 0);
    for (number, tag) in steps.iter().enumerate() {
        for hold_point in [HoldPoint::Before, HoldPoint::After] {
            let reader = TagReader::start(&world, &tags, &new);
            world.proxy.hold(tag, hold_point);
            let arguments = world.promotion(&new, &["--audit-tag", AUDIT]);
            let mut child = world.command(&arguments).spawn().unwrap();
            world.proxy.held().await;
            child.kill().await.unwrap();
            world.proxy.release();

            let done = number + usize::from(hold_point == HoldPoint::After);
            let there = world.tags().await;
            for (position, tag) in tags.iter().enumerate() {
                let expected = if position < done { Some(&new) } else { start.get(tag) };
                assert_eq!(there.get(tag), expected, "{tag} after a kill {hold_point:?} step {number}");
            }
            world.promote(&unproven, &["--replace"]).await.with(3);
            assert_eq!(world.tags().await, there);

            let rerun = world.promote(&new, &["--audit-tag", AUDIT]).await.with(0).json();
            assert_eq!(rerun["updates"].as_array().unwrap().len(), steps.len() - done);
            let after = world.tags().await;
            assert!(tags.iter().all(|tag| after[tag] == new), "{after:#?}");
            let of_this = reader.end().await;
            assert_eq!(of_this.disorder, Vec::<String>::new(), "{hold_point:?} step {number}");
            rounds += of_this.rounds;
            for (tag, digests) in of_this.tags {
                seen.entry(tag).or_default().extend(digests);
            }
            fs::remove_dir_all(&folder).unwrap();
            for (path, bytes) in &kept {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
            assert_eq!(world.tags().await, start);
        }
    }
    assert!(rounds > 100, "the reader was hardly there: {rounds} rounds");
    for tag in &tags {
        let allowed = start.get(tag).into_iter().chain([&new]).map(ToString::to_string);
        assert_eq!(seen[tag], allowed.collect(), "{tag}");
    }
}
