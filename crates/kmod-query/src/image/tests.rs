use super::*;

fn image(labels: &str) -> ResolvedImage {
    let value = document::parse(&format!(
        r#"{{"architecture": "amd64", "created": "2026-03-01T12:00:00.123Z", "config": {{"Labels": {labels}}}}}"#
    ));
    let (_, labels, created) = parse_config(&Node::root(&value.unwrap())).unwrap();
    let image = format!("quay.io/x/y@sha256:{}", "1".repeat(64)).parse().unwrap();
    ResolvedImage { image, arch: Arch::X86_64, labels, created }
}

#[test]
fn an_image_before_fedora_43_names_its_kernel() {
    let base = image(include_str!("../../tests/fixtures/image-labels-fedora-37.json")).into_base().unwrap();
    assert_eq!(base.kernel.to_string(), "6.1.10-200.fc37.x86_64");
    assert_eq!(base.fedora.map(FedoraVersion::number), Some(37));
    assert_eq!(base.version.as_deref(), Some("37.20230211.20.0"));
    assert_eq!(base.kernel_source, KernelSource::ImageLabel);
}

#[test]
fn an_image_since_fedora_43_does_not_and_says_where_to_look() {
    let image = image(include_str!("../../tests/fixtures/image-labels-fedora-43.json"));
    assert_eq!(image.version(), Some("43.20260301.20.dev1"));
    let Err(QueryError::KernelUnknown(unknown)) = image.clone().into_base() else {
        panic!("the kernel should be unknown")
    };
    assert_eq!(unknown.image, image.image);
    assert_eq!(unknown.tried.len(), 1);
    let base = unknown.clone().base("6.18.13-200.fc43.x86_64".parse().unwrap()).unwrap();
    assert_eq!((base.kernel_source, base.created), (KernelSource::RpmDatabase, image.created));
    assert_eq!(unknown.clone().base("6.18.13-200.fc43.aarch64".parse().unwrap()), None);
    assert_eq!(unknown.release("6.18.13-200.fc43.x86_64".parse().unwrap()), None, "it is of no stream");
}

#[test]
fn an_unusable_kernel_label_is_an_error_and_no_absence() {
    for text in ["linux", "6.18.13-200.fc43.aarch64"] {
        let error = image(&format!(r#"{{"ostree.linux": "{text}"}}"#)).kernel().unwrap_err();
        assert!(matches!(error, QueryError::InvalidField { .. }), "{error}");
    }
}

#[test]
fn an_index_is_searched_for_the_platform() {
    let text = r#"{"manifests": [
        {"digest": "a", "platform": {"os": "unknown", "architecture": "unknown"}},
        {"digest": "b"},
        {"digest": "c", "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}}
    ]}"#;
    let value = document::parse(text).unwrap();
    let root = Node::root(&value);
    assert_eq!(parse_manifest(&root, Arch::Aarch64), Ok(Manifest::Index(Some("c".to_owned()))));
    assert_eq!(parse_manifest(&root, Arch::X86_64), Ok(Manifest::Index(None)));
    let value = document::parse(r#"{"config": {"digest": "d"}}"#).unwrap();
    assert_eq!(parse_manifest(&Node::root(&value), Arch::X86_64), Ok(Manifest::Image("d".to_owned())));
}
