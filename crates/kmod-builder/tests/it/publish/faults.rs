//! Every fault at every request of a publication.

use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::Range;

use futures_util::stream::{self, StreamExt as _};
use kmod_builder::model::publish::Publication;

use super::*;
use crate::registry_server::Fault;

const CONCURRENT: usize = 12;

const SAME: char = '=';
const ERROR: char = '!';
const NOTHING: char = '.';

fn options(referrers_api: bool) -> Options {
    Options { referrers_api, token: Some(10_000), page: 1, ..Options::default() }
}

/// Publishes to an empty registry with this fault, then again without faults, which must end in the good state.
async fn cell(
    registries: &Registries,
    publication: &Publication,
    referrers_api: bool,
    fault: Fault,
    requests: Range<usize>,
    good: &[(String, Digest)],
) -> char {
    let server = Server::start(options(referrers_api)).await;
    requests.clone().for_each(|request| server.fault_at(request, fault));
    let request = requests.start;
    let result = run(&sign_in(registries, &server.repository()), publication, |_| {}).await;
    let stored = server.stored();
    check_no_tag_without_evidence(&stored, publication, referrers_api);
    let what = format!("{fault} at request {request}: {:?}", server.log().get(request));
    let cell = match (&result, end_state(&stored, publication, referrers_api)) {
        (_, Some(state)) => {
            assert_eq!(state, good, "{what}");
            SAME
        }
        (Ok(_), None) => panic!("{what}: success, but the state is not good"),
        (Err(error), None) => {
            let sentence = error.to_string();
            let clear = [&server.repository().to_string(), "is not completely published"];
            assert!(clear.iter().any(|part| sentence.contains(part)), "{what}: {sentence}");
            assert!(!stored.tags.contains_key(TAG), "{what}: a tag after {sentence}");
            ERROR
        }
    };
    server.forget_log();
    if fault == Fault::StaleTags {
        tokio::time::sleep(options(referrers_api).stale).await;
    }
    let registry = sign_in(registries, &server.repository());
    check_next_run(&server, &registry, publication, referrers_api, good, &what).await;
    cell
}

async fn table(publication: &Publication, referrers_api: bool) -> String {
    let registries = Registries::new(NoCredentials, impatient());
    let server = Server::start(options(referrers_api)).await;
    run(&sign_in(&registries, &server.repository()), publication, |_| {}).await.unwrap();
    let good = end_state(&server.stored(), publication, referrers_api).unwrap();
    let requests = server.log();
    let mut table = format!(
        "\nfault × request, {} referrers API: `{SAME}` same end state, `{ERROR}` clear error and no tag, \
         `{NOTHING}` nothing to go wrong\n",
        if referrers_api { "with" } else { "without" }
    );
    for (number, request) in requests.iter().enumerate() {
        writeln!(table, "{number:>22} {request}").unwrap();
    }
    let digits = |power: usize| {
        (0..requests.len()).map(move |n| char::from(b'0' + u8::try_from(n / power % 10).unwrap()))
    };
    for power in [10, 1] {
        writeln!(table, "{:22} {}", "", digits(power).collect::<String>()).unwrap();
    }
    let once = Fault::all().map(|fault| (fault, fault.to_string(), 1));
    let lasting = [Fault::Internal, Fault::Reset].map(|fault| (fault, format!("{fault} from here on"), 1000));
    for (fault, name, length) in once.chain(lasting) {
        let cells: String = stream::iter(0..requests.len())
            .map(async |request| {
                if fault.applies_to(&requests[request]) {
                    cell(&registries, publication, referrers_api, fault, request..request + length, &good)
                        .await
                } else {
                    NOTHING
                }
            })
            .buffered(CONCURRENT)
            .collect()
            .await;
        writeln!(table, "{name:22} {cells}").unwrap();
        // What passes, a retry or a second look mends.
        let passes = length == 1 && fault != Fault::Forbidden;
        assert!(!passes || !cells.contains(ERROR), "{name} was given up:\n{table}");
        // Only the last request comes after the tag.
        assert!(
            passes || cells.trim_end_matches(SAME).len() + 1 >= cells.len(),
            "{name} was not told:\n{table}"
        );
    }
    table
}

async fn print_table(referrers_api: bool) {
    let (_directory, publication) = publication_of(100_000);
    let table = table(&publication, referrers_api).await;
    // Past the harness, which would keep it for a failure: the table is meant to be seen.
    std::io::stdout().write_all(table.as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_at_every_request_with_the_tag_schema() {
    print_table(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_at_every_request_with_the_referrers_api() {
    print_table(true).await;
}
