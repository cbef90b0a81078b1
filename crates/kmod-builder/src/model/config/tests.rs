mod faults;

use insta::assert_snapshot;

use super::*;
use crate::model::cleanup::Age;

const WHOLE: &str = r#"
repository = "docker://ghcr.io/owner/zfs-kmods"
lines = ["2.4", "2.3"]
arches = ["x86_64", "aarch64"]
openzfs-keys = ["keys.toml"]

[[source]]
stream = "stable"

[[source]]
stream = "testing"
channel = "coreos-testing"

[[source]]
image = "quay.io/fedora-ostree-desktops/kinoite:43"
channel = "kinoite"

[trust]
public-keys = ["cosign.pub", "/etc/old.pub"]

[[trust.identity]]
repo = "owner/zfs-kmods"
workflow = "publish.yml"
ref = "refs/heads/main"

[retention]
older-than = "30d"
keep-newest = 1
max-delete = "10%"
keep-kernels-of = ["stable"]
keep-releases = 2

[boot-test]
timeout = "10m"
memory = "2G"

[[release]]
version = "2.4.3"
linux_min = "4.18"
linux_max = "6.1"
source = "https://example.org/2.4.3"

[[release]]
version = "2.4.77"
linux_min = "4.18"
linux_max = "7.7"
source = "https://example.org/2.4.77"

[[exclude]]
zfs = "2.4.77"
kernel = "7.0"
reason = "it does not boot"
source = "https://example.org/issues/1"
"#;

fn parse(text: &str) -> PublisherConfig {
    PublisherConfig::parse(PublisherConfig::FILE, text)
        .unwrap_or_else(|error| panic!("{:?}", miette::Report::new(error)))
}

#[test]
fn without_a_file_everything_is_as_before() {
    for config in [PublisherConfig::default(), parse("")] {
        let sources: Vec<Source> = Stream::with_channel().map(Source::from).collect();
        assert_eq!(config.sources(), sources);
        assert_eq!(config.sources_of(&[Stream::Next]).unwrap(), [Source::from(Stream::Next)]);
        assert!(config.repository.is_none() && config.trust.is_empty() && config.lines.is_empty());
        assert_eq!(config.retention.policy(), crate::model::cleanup::RetentionPolicy::default());
        assert_eq!((config.boot_test.timeout().as_secs(), config.boot_test.memory()), (300, 1024));
        let (matrix, built_in) = (config.matrix().unwrap(), CompatMatrix::embedded().unwrap());
        assert_eq!(matrix.policy(), built_in.policy());
        assert!(matrix.releases().eq(built_in.releases()));
    }
}

#[test]
fn every_member_is_read() {
    let config = parse(WHOLE).relative_to(Path::new("/etc/publisher"));
    assert_eq!(config.repository.as_ref().unwrap().to_string(), "docker://ghcr.io/owner/zfs-kmods");
    let sources = config.sources();
    let sources: Vec<_> = sources
        .iter()
        .map(|source| format!("{} {}", source.origin, source.channel.as_ref().unwrap()))
        .collect();
    assert_eq!(
        sources,
        ["stable stable", "testing coreos-testing", "quay.io/fedora-ostree-desktops/kinoite:43 kinoite"]
    );
    assert_eq!(config.lines.iter().map(ToString::to_string).collect::<Vec<_>>(), ["2.4", "2.3"]);
    assert_eq!(config.arches, [Arch::X86_64, Arch::Aarch64]);
    let files = |files: &[PathBuf]| files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>();
    assert_eq!(files(&config.trust.public_keys), ["/etc/publisher/cosign.pub", "/etc/old.pub"]);
    assert_eq!(files(&config.openzfs_keys), ["/etc/publisher/keys.toml"]);
    let identity = &config.trust.identities[0];
    assert_eq!(
        (identity.repository.as_str(), identity.workflow.as_deref(), identity.reference.as_deref()),
        ("owner/zfs-kmods", Some("publish.yml"), Some("refs/heads/main"))
    );
    let policy = config.retention.policy();
    assert_eq!((policy.older_than, policy.keep_newest, policy.minimum), (Age::days(30), 1, 3));
    assert_eq!((config.retention.streams(), config.retention.releases()), (vec![Stream::Stable], 2));
    assert_eq!((config.boot_test.timeout().as_secs(), config.boot_test.memory()), (600, 2048));
    assert_eq!(
        config.channel_names().iter().map(ChannelName::as_str).collect::<Vec<_>>(),
        ["coreos-testing", "kinoite"]
    );
}

#[test]
fn own_rows_win_over_those_that_are_built_in() {
    let matrix = parse(WHOLE).matrix().unwrap();
    let built_in = CompatMatrix::embedded().unwrap();
    let row = |matrix: &CompatMatrix, version: &str| {
        matrix.release(version.parse().unwrap()).map(|row| row.linux_max().to_string())
    };
    assert_eq!(row(&matrix, "2.4.3").unwrap(), "6.1");
    assert_ne!(row(&matrix, "2.4.3"), row(&built_in, "2.4.3"));
    assert_eq!((row(&matrix, "2.4.77").unwrap(), row(&built_in, "2.4.77")), ("7.7".to_owned(), None));
    assert_eq!(row(&matrix, "2.3.2"), row(&built_in, "2.3.2"));
    let verdict = |kernel: &str| matrix.verdict("2.4.77".parse().unwrap(), &kernel.parse().unwrap());
    assert!(verdict("7.0.1-300.fc43.x86_64").exclusion().is_some());
    assert_eq!(verdict("7.1.1-300.fc43.x86_64"), kmod_compat::Verdict::Compatible);
    assert_eq!(matrix.exclusions().count(), built_in.exclusions().count() + 1);
    // The same release and kernel as a row that is built in.
    let known = built_in.exclusions().next().unwrap();
    let mut text = "[[exclude]]\nreason = \"it is mine\"\nsource = \"https://example.org/\"\n".to_owned();
    text.extend(known.zfs().map(|zfs| format!("zfs = \"{zfs}\"\n")));
    text.extend(known.kernel().map(|kernel| format!("kernel = \"{kernel}\"\n")));
    let matrix = parse(&text).matrix().unwrap();
    assert_eq!(matrix.exclusions().count(), built_in.exclusions().count());
    let same = |exclusion: &&kmod_compat::Exclusion| {
        (exclusion.zfs(), exclusion.kernel()) == (known.zfs(), known.kernel())
    };
    assert_eq!(matrix.exclusions().find(same).unwrap().reason(), "it is mine");
}

#[test]
fn the_first_line_is_followed() {
    let matrix = parse("lines = [\"2.3\", \"2.4\"]").matrix().unwrap();
    assert_eq!(matrix.policy().line.to_string(), "2.3");
}

#[test]
fn a_stream_keeps_the_channel_that_the_configuration_gives_it() {
    let config = parse(WHOLE);
    let of = |stream: Stream| config.sources_of(&[stream]).unwrap()[0].channel.as_ref().unwrap().to_string();
    assert_eq!((of(Stream::Testing), of(Stream::Next)), ("coreos-testing".to_owned(), "next".to_owned()));
    let taken = parse("[[source]]\nimage = \"quay.io/ucore/stable:1\"\nchannel = \"stable\"\n");
    assert_snapshot!(taken.sources_of(&[Stream::Stable]).unwrap_err(), @"the channel of the stream `stable` belongs to quay.io/ucore/stable:1");
}

#[test]
fn the_channel_of_an_image_belongs_to_a_source() {
    let config = parse(WHOLE);
    let check = |channel: &str| config.check_channel(&channel.parse().unwrap());
    for known in ["kinoite", "coreos-testing", "stable", "next", "beta-main"] {
        assert_eq!(check(known), Ok(()), "{known}");
    }
    assert_snapshot!(check("silverblue").unwrap_err(), @"the channel `silverblue` belongs to no source");
}

#[test]
fn a_row_is_added_and_everything_else_stays() {
    let release = DeclaredRelease {
        version: "2.4.50".parse().unwrap(),
        linux_min: "4.18".parse().unwrap(),
        linux_max: "7.2".parse().unwrap(),
        sha256: "a".repeat(64).parse().unwrap(),
        signer: "4F".repeat(20).parse().unwrap(),
    };
    let own = "# Mine.\nlines = [\"2.4\"]   # one\n";
    let changed = PublisherConfig::add_row(PublisherConfig::FILE, own, &release).unwrap();
    assert!(changed.starts_with(own) && changed[own.len()..].starts_with("\n[[release]]\n"), "{changed}");
    assert!(parse(&changed).matrix().unwrap().release(release.version).is_some());
    let changed = PublisherConfig::add_row(PublisherConfig::FILE, WHOLE, &release).unwrap();
    let (head, tail) = WHOLE.split_at(WHOLE.find("\n[[release]]\nversion = \"2.4.77\"").unwrap());
    assert!(changed.starts_with(head) && changed.ends_with(tail), "{changed}");
    assert_eq!(parse(&changed).rows.releases().count(), 3);
}
