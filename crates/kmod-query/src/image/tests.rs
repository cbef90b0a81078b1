use super::*;

fn image(labels: &str) -> ResolvedImage {
    let labels = serde_json::from_str(labels).unwrap();
    let image = format!("quay.io/x/y@sha256:{}", "1".repeat(64)).parse().unwrap();
    let created = "2026-03-01T12:00:00.123Z".parse().ok();
    ResolvedImage { image, arch: Arch::X86_64, labels, created }
}

#[test]
fn an_image_before_fedora_43_names_its_kernel() {
    let source =
        image(include_str!("../../tests/fixtures/image-labels-fedora-37.json")).into_source().unwrap();
    assert_eq!(source.kernel.to_string(), "6.1.10-200.fc37.x86_64");
    assert_eq!(source.fedora.map(FedoraVersion::number), Some(37));
    assert_eq!(source.version.as_deref(), Some("37.20230211.20.0"));
    assert_eq!(source.kernel_source, KernelSource::ImageLabel);
}

#[test]
fn an_image_since_fedora_43_does_not_and_says_where_to_look() {
    let image = image(include_str!("../../tests/fixtures/image-labels-fedora-43.json"));
    assert_eq!(image.version(), Some("43.20260301.20.dev1"));
    let Err(QueryError::KernelUnknown(unknown)) = image.clone().into_source() else {
        panic!("the kernel should be unknown")
    };
    assert_eq!(unknown.image, image.image);
    assert_eq!(unknown.tried.len(), 1);
    let source = unknown.clone().source_image("6.18.13-200.fc43.x86_64".parse().unwrap()).unwrap();
    assert_eq!((source.kernel_source, source.created), (KernelSource::RpmDatabase, image.created));
    assert_eq!(unknown.clone().source_image("6.18.13-200.fc43.aarch64".parse().unwrap()), None);
    assert_eq!(unknown.release("6.18.13-200.fc43.x86_64".parse().unwrap()), None, "it is of no stream");
}

#[test]
fn an_unusable_kernel_label_is_an_error_and_no_absence() {
    for text in ["linux", "6.18.13-200.fc43.aarch64"] {
        let error = image(&format!(r#"{{"ostree.linux": "{text}"}}"#)).kernel().unwrap_err();
        assert!(matches!(error, QueryError::Format { .. }), "{error}");
    }
}

#[test]
fn an_index_is_searched_for_the_platform() {
    let [a, b, c] = ["a", "b", "c"].map(|text| Digest::of(text.as_bytes()));
    let text = format!(
        r#"{{"manifests": [
        {{"digest": "{a}", "size": 1, "platform": {{"os": "unknown", "architecture": "unknown"}}}},
        {{"digest": "{b}", "size": 1}},
        {{"digest": "{c}", "size": 1, "platform": {{"os": "linux", "architecture": "arm64", "variant": "v8"}}}}
    ]}}"#
    );
    let index = parse_index(&RawManifest::new(text, INDEX)).unwrap();
    assert_eq!(for_arch(&index, Arch::Aarch64), Some(c));
    assert_eq!(for_arch(&index, Arch::X86_64), None);
    assert_eq!(parse_index(&RawManifest::new(r#"{"config": {"digest": "d"}}"#, crate::oci::MANIFEST)), None);
}
