//! The faults of a configuration, as they are shown.

use insta::assert_snapshot;
use miette::Diagnostic;

use crate::model::config::PublisherConfig;

/// Per fault the line and the text of each label, the message, and what to do.
#[track_caller]
fn faults(text: &str) -> String {
    let error = PublisherConfig::parse(PublisherConfig::FILE, text).unwrap_err();
    assert_eq!(error.to_string(), "`zfs-kmods.toml` is not a valid configuration");
    let line = |offset: usize| text[..offset].matches('\n').count() + 1;
    let of = |diagnostic: &dyn Diagnostic| {
        let labels = diagnostic.labels().into_iter().flatten().map(|label| {
            let (offset, end) = (label.offset(), label.offset() + label.len());
            format!("{} {}", line(offset), &text[offset..end])
        });
        let help = diagnostic.help().unwrap();
        format!("{}: {diagnostic}\n   {help}", labels.collect::<Vec<_>>().join(" and "))
    };
    error.related().into_iter().flatten().map(of).collect::<Vec<_>>().join("\n")
}

#[test]
fn invalid_toml_is_the_only_fault() {
    assert_snapshot!(faults("lines = [\"2.4\"\nsource = 1\n"), @r#"
    2 : invalid TOML: missing comma between array elements, expected `,`
       fix the syntax first: nothing else was checked
    2 source: invalid TOML: string values must be quoted, expected literal string
       fix the syntax first: nothing else was checked
    2 =: invalid TOML: unexpected `=` in array, expected value, `]`
       fix the syntax first: nothing else was checked
    2 : invalid TOML: missing comma between array elements, expected `,`
       fix the syntax first: nothing else was checked
    2 : invalid TOML: unclosed array, expected `]`
       fix the syntax first: nothing else was checked
    "#);
}

#[test]
fn unknown_members_are_named_with_a_suggestion() {
    let text = r#"reposotory = "docker://ghcr.io/owner/x"
colour = "red"

[[source]]
steam = "stable"
stream = "testing"

[retention]
older_than = "3d"

[trust]
public-key = ["a.pub"]
public-keys = ["a.pub"]

[[trust.identity]]
repo = "owner/name"
workflo = "x.yml"

[boot-test]
time = "3m"

[[release]]
version = "2.4.77"
linux_min = "4.18"
linux_mx = "7.7"
linux_max = "7.7"
source = "https://example.org/"
"#;
    assert_snapshot!(faults(text), @r#"
    1 reposotory: unknown member `reposotory`
       did you mean `repository`?
    2 colour: unknown member `colour`
       remove it, or name one of `repository`, `source`, `lines`, `arches`, `trust`, `retention`, `boot-test`, `release`, `exclude`, `openzfs-keys`
    5 steam: unknown member `steam`
       did you mean `stream`?
    9 older_than: unknown member `older_than`
       did you mean `older-than`?
    12 public-key: unknown member `public-key`
       did you mean `public-keys`?
    17 workflo: unknown member `workflo`
       did you mean `workflow`?
    20 time: unknown member `time`
       did you mean `timeout`?
    25 linux_mx: unknown member `linux_mx`
       did you mean `linux_max`?
    "#);
}

#[test]
fn each_value_is_checked() {
    let text = r#"repository = "oci:images"
lines = ["2.4.3", "2.4", "2.4"]
arches = ["riscv64"]
openzfs-keys = [""]

[trust]
public-keys = "cosign.pub"

[[trust.identity]]
repo = "owner"

[[trust.identity]]
workflow = "publish.yml"

[retention]
older-than = 90
max-delete = "150%"

[boot-test]
timeout = "0s"
"#;
    assert_snapshot!(faults(text), @r#"
    1 "oci:images": `oci:images` is a directory, not a repository in a registry
       `repository` is where images are published: "docker://HOST/NAME"
    2 "2.4.3": `2.4.3` is not a line of OpenZFS releases (expected e.g. `2.4`)
       `lines` has lines of OpenZFS, the default one first: ["2.4", "2.3"]
    2 "2.4" and 2 "2.4": the value stands twice
       keep one of them
    3 "riscv64": `riscv64` is not a supported architecture (expected `x86_64` or `aarch64`)
       `arches` has architectures: ["x86_64", "aarch64"]
    4 "": the name of the file is empty
       `openzfs-keys` has names of files with `[[key]]`, as compat/openzfs-keys.toml is one
    7 "cosign.pub": invalid type: string, expected an array of strings
       `[trust]` has `public-keys` (names of files in PEM), `[[trust.identity]]`, or both
    10 "owner": `owner` does not name a repository on GitHub (expected `owner/name`)
       `[[trust.identity]]` has `repo` (owner/name), and optionally `workflow` (target.yml) and `ref` (refs/heads/main)
    12 [[trust.identity]]: missing member `repo`
       `[[trust.identity]]` has `repo` (owner/name), and optionally `workflow` (target.yml) and `ref` (refs/heads/main)
    17 "150%": `150%` is not a percentage (expected a whole number from `0%` to `100%`)
       `[retention]` has the flags of `cleanup` without `--`: ages such as "90d", whole numbers, a percentage such as "50%"
    20 "0s": the time limit must be longer than zero
       `[boot-test]` has `timeout` ("300s", "5m") and `memory` ("1G", "1536M")
    "#);
    assert_snapshot!(faults("lines = []\narches = 1\ntrust = {}\nretention = 1\nsource = {}\n"), @r#"
    1 []: the array is empty
       remove it, or name one: `lines` has lines of OpenZFS, the default one first: ["2.4", "2.3"]
    2 1: invalid type: integer, expected an array of strings
       `arches` has architectures: ["x86_64", "aarch64"]
    3 {}: no signer is trusted
       `[trust]` has `public-keys` (names of files in PEM), `[[trust.identity]]`, or both
    4 1: invalid type: integer, expected a table
       `[retention]` has the flags of `cleanup` without `--`: ages such as "90d", whole numbers, a percentage such as "50%"
    5 {}: invalid type: table, expected an array of tables
       `[[source]]` has `stream` (stable, testing, next) or `image` (HOST/NAME:TAG) with `channel`
    "#);
}

#[test]
fn each_source_is_checked() {
    let text = r#"[[source]]
stream = "rawhide"

[[source]]
image = "quay.io/fedora/fedora-bootc:43"

[[source]]
image = "fedora-bootc"
channel = "bootc"

[[source]]
image = "quay.io/fedora/fedora-bootc"
channel = "bootc"

[[source]]
image = "oci:images:43"
channel = "bootc"

[[source]]
stream = "stable"
image = "quay.io/fedora/fedora-bootc:43"
channel = "bootc"

[[source]]
channel = "bootc"
"#;
    assert_snapshot!(faults(text), @r#"
    2 "rawhide": `rawhide` is not a stream of Fedora CoreOS (expected one of `stable`, `testing`, `next`)
       `[[source]]` has `stream` (stable, testing, next) or `image` (HOST/NAME:TAG) with `channel`
    5 "quay.io/fedora/fedora-bootc:43": the image has no channel
       add `channel = "NAME"`, which is what the hosts of this image follow
    8 "fedora-bootc": `fedora-bootc` does not name an image: the registry's host is missing (expected `host/name[:TAG|@DIGEST]`, with `docker://` before it or not, or `oci:DIR[:TAG|@DIGEST]`)
       `[[source]]` has `stream` (stable, testing, next) or `image` (HOST/NAME:TAG) with `channel`
    12 "quay.io/fedora/fedora-bootc": `quay.io/fedora/fedora-bootc` has neither a tag nor a digest
       `[[source]]` has `stream` (stable, testing, next) or `image` (HOST/NAME:TAG) with `channel`
    16 "oci:images:43": `oci:images:43` is a directory, and sources are in a registry
       `[[source]]` has `stream` (stable, testing, next) or `image` (HOST/NAME:TAG) with `channel`
    20 "stable" and 21 "quay.io/fedora/fedora-bootc:43": the source has both `stream` and `image`
       write two `[[source]]`, each with a channel of its own
    24 [[source]]: the source has neither `stream` nor `image`
       `[[source]]` has `stream` (stable, testing, next) or `image` (HOST/NAME:TAG) with `channel`
    "#);
}

#[test]
fn a_channel_does_not_look_like_other_tags() {
    let channels =
        ["beta-x", "candidate-x", "zfs-2.4_stable", "fedora-43_x", "sha256-0", "withdrawn-x", "none"];
    let rows = channels
        .iter()
        .map(|channel| format!("[[source]]\nimage = \"quay.io/x/y:1\"\nchannel = \"{channel}\"\n"));
    assert_snapshot!(faults(&rows.collect::<String>()), @r#"
    3 "beta-x": `beta-x` cannot be the name of a channel: `beta-…` are tags of another kind
       `channel` is what hosts follow, up to 40 lower-case letters, digits and single dashes: "kinoite"
    6 "candidate-x": `candidate-x` cannot be the name of a channel: `candidate-…` are tags of another kind
       `channel` is what hosts follow, up to 40 lower-case letters, digits and single dashes: "kinoite"
    9 "zfs-2.4_stable": `zfs-2.4_stable` cannot be the name of a channel: it does not consist of lower-case letters, digits and single dashes
       `channel` is what hosts follow, up to 40 lower-case letters, digits and single dashes: "kinoite"
    12 "fedora-43_x": `fedora-43_x` cannot be the name of a channel: it does not consist of lower-case letters, digits and single dashes
       `channel` is what hosts follow, up to 40 lower-case letters, digits and single dashes: "kinoite"
    15 "sha256-0": `sha256-0` cannot be the name of a channel: `sha256-…` are tags of another kind
       `channel` is what hosts follow, up to 40 lower-case letters, digits and single dashes: "kinoite"
    18 "withdrawn-x": `withdrawn-x` cannot be the name of a channel: `withdrawn-…` are tags of another kind
       `channel` is what hosts follow, up to 40 lower-case letters, digits and single dashes: "kinoite"
    21 "none": `none` cannot be the name of a channel: `none` stands for no channel
       `channel` is what hosts follow, up to 40 lower-case letters, digits and single dashes: "kinoite"
    "#);
}

#[test]
fn a_channel_has_one_source() {
    let text = r#"[[source]]
stream = "stable"

[[source]]
stream = "testing"
channel = "coreos"

[[source]]
image = "quay.io/x/a:1"
channel = "stable"

[[source]]
image = "quay.io/x/b:1"
channel = "testing"

[[source]]
image = "quay.io/x/c:1"
channel = "coreos"

[[source]]
image = "quay.io/x/d:1"
channel = "next"
"#;
    // The order of the sources does not matter.
    let image = "[[source]]\nimage = \"quay.io/x/a:1\"\nchannel = \"stable\"\n";
    assert_snapshot!(faults(&format!("{image}[[source]]\nstream = \"stable\"\n")), @r#"
    5 "stable" and 3 "stable": two sources have the channel `stable`
       give one of them another channel: a tag follows one source
    "#);
    assert_snapshot!(faults(text), @r#"
    10 "stable" and 2 "stable": two sources have the channel `stable`
       give one of them another channel: a tag follows one source
    14 "testing" and 5 "testing": the channel `testing` has the name of a stream that is another source
       give it another channel: hosts take it for that of the stream
    18 "coreos" and 6 "coreos": two sources have the channel `coreos`
       give one of them another channel: a tag follows one source
    "#);
}

#[test]
fn rows_are_checked_as_those_of_the_matrix() {
    let text = r#"[[release]]
version = "2.4.77"
linux_min = "4.18"
linux_max = 7.1
source = "https://example.org/"
"#;
    assert_snapshot!(faults(text), @r#"
    4 7.1: invalid type: floating point `7.1`, expected a string
       `[[release]]` has `version`, `linux_min`, `linux_max`, `source` and maybe `sha256`: all strings, because the number 6.10 is 6.1
    "#);
    let text = r#"[[exclude]]
zfs = "2.1.99"
reason = "x"
source = "https://example.org/"
"#;
    assert_snapshot!(faults(text), @r#"
    2 "2.1.99": `2.1.99` is a development tag of OpenZFS, not a released version (expected e.g. `2.4.0`)
       `[[exclude]]` has `zfs`, `kernel` or both, `reason`, `source`, and optionally `severity` (low, medium, high, critical)
    "#);
}
