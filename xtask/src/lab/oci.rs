//! Writes and reads OCI image layouts. The same content gives the same digests.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::error::{Context, Result};
use crate::lab::cache::hex;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// 2023-11-14, the time of everything in the lab's images.
pub(crate) const EPOCH: u64 = 1_700_000_000;
/// Part of the cache keys; increment it when images are written differently.
pub(crate) const FORMAT: &str = "2";
const CREATED: &str = "2023-11-14T22:13:20Z";

#[derive(Clone)]
pub(crate) struct LabLayer {
    digest: String,
    diff_id: String,
    size: u64,
}

impl LabLayer {
    pub(crate) fn diff_id(&self) -> &str {
        &self.diff_id
    }
}

/// An image for one architecture (`amd64`).
pub(crate) struct Image<'a> {
    pub(crate) architecture: &'a str,
    pub(crate) layers: &'a [LabLayer],
    pub(crate) labels: Value,
}

pub(crate) struct LabLayout {
    root: PathBuf,
}

impl LabLayout {
    pub(crate) fn create(root: &Path) -> Result<Self> {
        fs::create_dir_all(root.join("blobs/sha256"))?;
        fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let layout = Self { root: root.to_owned() };
        layout.write_index(&[])?;
        Ok(layout)
    }

    /// A gzip layer of the files below `directory`, sorted, with the time [`EPOCH`].
    pub(crate) fn add_layer(&self, directory: &Path) -> Result<LabLayer> {
        // It becomes the root directory; temporary directories have the mode 0700.
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
        let format = ["--format=posix", "--xattrs"];
        let pax = ["--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"];
        self.pack(directory, &[&format[..], &pax].concat(), &[OsString::from(".")])
    }

    /// The same without an entry for `directory` itself, in the format of the program's layers.
    pub(crate) fn add_files(&self, directory: &Path) -> Result<LabLayer> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            names.push(entry?.file_name());
        }
        names.sort();
        self.pack(directory, &["--format=gnu", "--hard-dereference", "--owner=0", "--group=0"], &names)
    }

    fn pack(&self, directory: &Path, format: &[&str], names: &[OsString]) -> Result<LabLayer> {
        let mut tar = Command::new("tar")
            .args(["--sort=name", "--numeric-owner", "--create", "--file=-"])
            .args(format)
            .arg(format!("--mtime=@{EPOCH}"))
            .arg("--directory")
            .arg(directory)
            .args(names)
            .stdout(Stdio::piped())
            .spawn()
            .context("tar")?;
        let mut plain = Hashing::new(tar.stdout.take().context("tar has no output")?);
        let temporary = tempfile::NamedTempFile::new_in(&self.root)?;
        let mut packed = GzEncoder::new(Hashing::new(temporary.as_file()), Compression::new(3));
        io::copy(&mut plain, &mut packed)?;
        let packed = packed.finish()?;
        let (digest, size) = (packed.digest(), packed.count);
        let status = tar.wait()?;
        if !status.success() {
            return Err(format!("tar of {} failed ({status})", directory.display()).into());
        }
        temporary.persist(self.blob(&digest))?;
        Ok(LabLayer { digest, diff_id: plain.digest(), size })
    }

    /// Links a layer from another layout.
    pub(crate) fn adopt(&self, from: &Self, layer: &LabLayer) -> Result {
        if !self.blob(&layer.digest).exists() {
            fs::hard_link(from.blob(&layer.digest), self.blob(&layer.digest))?;
        }
        Ok(())
    }

    /// Writes the images and their index under `tag`. Returns the manifest digests in the order of `images`.
    pub(crate) fn add(&self, tag: &str, images: &[Image]) -> Result<Vec<String>> {
        let mut manifests = Vec::new();
        let mut digests = Vec::new();
        for image in images {
            let config = self.put(&json!({
                "architecture": image.architecture,
                "config": { "Cmd": ["/bin/bash"], "Labels": image.labels },
                "created": CREATED,
                // podman needs an entry for each layer.
                "history": vec![json!({ "created": CREATED, "created_by": "the lab" }); image.layers.len()],
                "os": "linux",
                "rootfs": { "type": "layers", "diff_ids": diff_ids(image.layers) },
            }))?;
            let layers: Vec<Value> = image.layers.iter().map(layer_descriptor).collect();
            let (digest, size) = self.put(&json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.0, "size": config.1 },
                "layers": layers,
            }))?;
            manifests.push(json!({
                "mediaType": MANIFEST, "digest": digest, "size": size,
                "platform": { "architecture": image.architecture, "os": "linux" },
            }));
            digests.push(digest);
        }
        let (digest, size) =
            self.put(&json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }))?;
        let mut entries = self.index()?;
        entries.push(json!({
            "mediaType": INDEX, "digest": digest, "size": size,
            "annotations": { "org.opencontainers.image.ref.name": tag },
        }));
        self.write_index(&entries)?;
        Ok(digests)
    }

    pub(crate) fn tags(&self) -> Result<Vec<String>> {
        let name = |entry: &Value| {
            entry["annotations"]["org.opencontainers.image.ref.name"].as_str().map(str::to_owned)
        };
        Ok(self.index()?.iter().filter_map(name).collect())
    }

    pub(crate) fn open(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The layers of the first image of the first tag.
    pub(crate) fn first_layers(&self) -> Result<Vec<LabLayer>> {
        let index = self.read(self.index()?.first().context("the layout is empty")?)?;
        let manifest = self.read(&index["manifests"][0])?;
        let config = self.read(&manifest["config"])?;
        let layers = manifest["layers"].as_array().context("the manifest has no layers")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(layers
            .iter()
            .zip(config["rootfs"]["diff_ids"].as_array().into_iter().flatten())
            .map(|(layer, diff_id)| LabLayer {
                digest: text(&layer["digest"]),
                diff_id: text(diff_id),
                size: layer["size"].as_u64().unwrap_or_default(),
            })
            .collect())
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn manifest(&self, tag: &str) -> Result<Value> {
        let index = self.index()?;
        let entry =
            index.iter().find(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] == tag);
        self.read(entry.context(format_args!("the store has no {tag}"))?)
    }

    /// The document of a descriptor.
    pub(crate) fn read(&self, descriptor: &Value) -> Result<Value> {
        let digest = descriptor["digest"].as_str().context("the descriptor has no digest")?;
        Ok(serde_json::from_slice(&fs::read(self.blob(digest))?)?)
    }

    /// Writes the configuration and manifest of an image whose layers exist, under `tag`.
    pub(crate) fn add_manifest(&self, tag: &str, config: &Value, mut manifest: Value) -> Result {
        let (digest, size) = self.put(config)?;
        manifest["config"]["digest"] = digest.into();
        manifest["config"]["size"] = size.into();
        let (digest, size) = self.put(&manifest)?;
        let mut entries = self.index()?;
        entries.push(json!({
            "mediaType": MANIFEST, "digest": digest, "size": size,
            "annotations": { "org.opencontainers.image.ref.name": tag },
        }));
        self.write_index(&entries)
    }

    fn index(&self) -> Result<Vec<Value>> {
        let index: Value = serde_json::from_slice(&fs::read(self.root.join("index.json"))?)?;
        Ok(index["manifests"].as_array().cloned().unwrap_or_default())
    }

    fn write_index(&self, entries: &[Value]) -> Result {
        let index = json!({ "schemaVersion": 2, "manifests": entries });
        fs::write(self.root.join("index.json"), index.to_string())?;
        Ok(())
    }

    fn put(&self, value: &Value) -> Result<(String, usize)> {
        let bytes = value.to_string().into_bytes();
        let digest = format!("sha256:{}", hex(&Sha256::digest(&bytes)));
        fs::write(self.blob(&digest), &bytes)?;
        Ok((digest, bytes.len()))
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.root.join("blobs").join(digest.replacen(':', "/", 1))
    }
}

fn diff_ids(layers: &[LabLayer]) -> Vec<&str> {
    layers.iter().map(|layer| layer.diff_id.as_str()).collect()
}

pub(crate) fn layer_descriptor(layer: &LabLayer) -> Value {
    json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer.digest, "size": layer.size })
}

/// Counts and hashes the bytes that pass through.
struct Hashing<T> {
    inner: T,
    hash: Sha256,
    count: u64,
}

impl<T> Hashing<T> {
    fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), count: 0 }
    }

    fn note(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.count += bytes.len() as u64;
    }

    fn digest(&self) -> String {
        format!("sha256:{}", hex(&self.hash.clone().finalize()))
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.note(&buffer[..count]);
        Ok(count)
    }
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.note(&buffer[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
