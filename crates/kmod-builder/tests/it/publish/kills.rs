//! A publisher is killed with signal 9 at every step and at every request.
//!
//! The publisher is this test binary run again, with [`child`] as its only test.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::*;
use crate::registry_server::Fault;

/// Repository, directory, size of the layer, and the step at which the child stops.
const TASK: &str = "ZFS_KMODS_TEST_PUBLISH";

/// Not a test, but the program that the tests kill.
#[tokio::test]
async fn child() {
    let Ok(task) = std::env::var(TASK) else { return };
    let [repository, directory, size, last] = task.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{task}")
    };
    let registry = open(&repository.parse().unwrap(), RetryPolicy::default());
    let publication = publication(&image_of_zeros(Path::new(directory), size.parse().unwrap()));
    let (last, mut step) = (last.parse::<usize>().unwrap(), 0);
    run(&registry, &publication, |_| {
        tell(&format!("step {step}"));
        if step == last {
            std::thread::sleep(Duration::from_mins(10));
        }
        step += 1;
    })
    .await
    .unwrap();
    tell(&format!("peak {}", peak_memory()));
}

fn tell(line: &str) {
    use std::io::Write as _;
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(format!("\n{line}\n").as_bytes()).unwrap();
    stdout.flush().unwrap();
}

/// The largest resident set so far, in KiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// An image with a sparse file as its layer.
fn image_of_zeros(directory: &Path, size: u64) -> ManifestWithBlobs {
    use sha2::Digest as _;
    let path = directory.join("zeros");
    std::fs::File::create(&path).unwrap().set_len(size).unwrap();
    let (mut hash, mut left) = (sha2::Sha256::new(), size);
    while left > 0 {
        let piece = left.min(1 << 12);
        hash.update(&[0; 1 << 12][..usize::try_from(piece).unwrap()]);
        left -= piece;
    }
    let file = Blob::file(path, Digest::finish(hash), size);
    manifest_with_blobs(json!({}), Blob::of("{}"), &[Blob::of("userland"), file])
}

fn start(server: &Server, directory: &Path, size: u64, last: usize) -> Child {
    let task = format!("{} {} {size} {last}", server.repository(), directory.display());
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "publish::kills::child", "--nocapture", "--test-threads=1"])
        .env(TASK, task)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn has_said(child: &mut Child, wanted: &str) -> bool {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line == wanted {
            return true;
        }
    }
    false
}

const NEVER: usize = usize::MAX;
const SIZE: u64 = 100_000;

async fn check_after_kill(server: &Server, publication: &Publication, good: &[(String, Digest)], what: &str) {
    check_no_tag_without_evidence(&server.stored(), publication, false);
    server.forget_log();
    let registry = open(&server.repository(), impatient());
    check_next_run(server, &registry, publication, false, good, &format!("killed at {what}")).await;
}

/// The final state, the number of requests and the number of steps of an undisturbed run.
async fn undisturbed(publication: &Publication) -> (Tags, usize, usize) {
    let server = Server::start(Options::default()).await;
    let published = run(&open(&server.repository(), impatient()), publication, |_| {}).await.unwrap();
    (end_state(&server.stored(), publication, false).unwrap(), server.log().len(), published.steps())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_step() {
    let directory = tempfile::tempdir().unwrap();
    let publication = publication(&image_of_zeros(directory.path(), SIZE));
    let (good, _, steps) = undisturbed(&publication).await;
    assert!(steps >= 10);
    for step in 0..steps {
        let server = Server::start(Options::default()).await;
        let mut child = start(&server, directory.path(), SIZE, step);
        assert!(has_said(&mut child, &format!("step {step}")).await, "step {step} was not reached");
        child.kill().await.unwrap();
        assert!(!server.stored().tags.contains_key(TAG), "the tag is not the last step");
        check_after_kill(&server, &publication, &good, &format!("step {step}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_request() {
    let directory = tempfile::tempdir().unwrap();
    let publication = publication(&image_of_zeros(directory.path(), SIZE));
    let (good, requests, _) = undisturbed(&publication).await;
    for request in 0..requests {
        let server = Server::start(Options::default()).await;
        server.fault_at(request, Fault::Stall);
        let mut child = start(&server, directory.path(), SIZE, NEVER);
        while server.log().len() <= request {
            assert!(child.try_wait().unwrap().is_none(), "request {request} was not reached");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        child.kill().await.unwrap();
        check_after_kill(&server, &publication, &good, &format!("request {request}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_does_not_grow_with_the_layers() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(Options::default()).await;
    let child = start(&server, directory.path(), 300 << 20, NEVER);
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success());
    let output = String::from_utf8(output.stdout).unwrap();
    let peak: u64 = output.lines().find_map(|line| line.strip_prefix("peak ")).unwrap().parse().unwrap();
    assert!(peak < 64 << 10, "the peak was {peak} KiB");
}
