//! Writes and reads OCI image layouts. The same content gives the same digests.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::error::{Context, Result};
use crate::lab::cache;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const TAG: &str = "org.opencontainers.image.ref.name";
/// 2023-11-14, the time of everything in the lab's images.
pub(crate) const EPOCH: u64 = 1_700_000_000;
/// Part of the cache keys; increment it when images are written differently.
pub(crate) const FORMAT: &str = "2";
const CREATED: &str = "2023-11-14T22:13:20Z";

#[derive(Clone)]
pub(crate) struct LabLayer {
    digest: String,
    pub(crate) diff_id: String,
    pub(crate) size: u64,
}

/// An image for one architecture (`amd64`).
pub(crate) struct Image<'a> {
    pub(crate) architecture: &'a str,
    pub(crate) layers: &'a [LabLayer],
    pub(crate) labels: Value,
}

pub(crate) struct LabLayout {
    pub(crate) root: PathBuf,
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
        let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name()));
        let mut names = entries.collect::<io::Result<Vec<_>>>()?;
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
        let mut stdout = BufReader::with_capacity(1 << 16, tar.stdout.take().context("tar has no output")?);
        let mut packed = tempfile::NamedTempFile::new_in(&self.root)?;
        let (mut gzip, mut diff_id) = (GzEncoder::new(&mut packed, Compression::new(3)), Sha256::new());
        while let bytes = stdout.fill_buf()?
            && !bytes.is_empty()
        {
            diff_id.update(bytes);
            gzip.write_all(bytes)?;
            let count = bytes.len();
            stdout.consume(count);
        }
        gzip.finish()?;
        let status = tar.wait()?;
        if !status.success() {
            return Err(format!("tar of {} failed ({status})", directory.display()).into());
        }
        let mut digest = Sha256::new();
        let size = io::copy(&mut packed.reopen()?, &mut digest)?;
        let [digest, diff_id] = [digest, diff_id].map(|hash| format!("sha256:{:x}", hash.finalize()));
        packed.persist(self.blob(&digest))?;
        Ok(LabLayer { digest, diff_id, size })
    }

    /// Links the layers of the first image of the first tag from another layout.
    pub(crate) fn adopt(&self, from: &Path) -> Result<Vec<LabLayer>> {
        let from = Self::open(from);
        let layers = from.first_layers()?;
        for layer in layers.iter().filter(|layer| !self.blob(&layer.digest).exists()) {
            fs::hard_link(from.blob(&layer.digest), self.blob(&layer.digest))?;
        }
        Ok(layers)
    }

    /// Writes the images and their index under `tag`. Returns the manifest digests in the order of `images`.
    pub(crate) fn add(&self, tag: &str, images: &[Image]) -> Result<Vec<String>> {
        let mut manifests = Vec::new();
        for image in images {
            let diff_ids: Vec<_> = image.layers.iter().map(|layer| &layer.diff_id).collect();
            let config = json!({
                "architecture": image.architecture,
                "config": { "Cmd": ["/bin/bash"], "Labels": image.labels },
                "created": CREATED,
                // podman needs an entry for each layer.
                "history": vec![json!({ "created": CREATED, "created_by": "the lab" }); image.layers.len()],
                "os": "linux",
                "rootfs": { "type": "layers", "diff_ids": diff_ids },
            });
            let mut manifest = self.put(
                MANIFEST,
                &json!({
                    "schemaVersion": 2,
                    "mediaType": MANIFEST,
                    "config": self.put("application/vnd.oci.image.config.v1+json", &config)?,
                    "layers": image.layers.iter().map(layer_descriptor).collect::<Vec<_>>(),
                }),
            )?;
            manifest["platform"] = json!({ "architecture": image.architecture, "os": "linux" });
            manifests.push(manifest);
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        self.set_tag(tag, self.put(INDEX, &index)?)?;
        let digest = |manifest: &Value| manifest["digest"].as_str().map(str::to_owned);
        Ok(manifests.iter().filter_map(digest).collect())
    }

    fn set_tag(&self, tag: &str, mut descriptor: Value) -> Result {
        descriptor["annotations"] = json!({ TAG: tag });
        let mut entries = self.index()?;
        entries.push(descriptor);
        self.write_index(&entries)
    }

    pub(crate) fn tags(&self) -> Result<Vec<String>> {
        let name = |entry: &Value| entry["annotations"][TAG].as_str().map(str::to_owned);
        Ok(self.index()?.iter().filter_map(name).collect())
    }

    pub(crate) fn open(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn first_layers(&self) -> Result<Vec<LabLayer>> {
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

    pub(crate) fn manifest(&self, tag: &str) -> Result<Value> {
        let index = self.index()?;
        let entry = index.iter().find(|entry| entry["annotations"][TAG] == tag);
        self.read(entry.context(format_args!("the store has no {tag}"))?)
    }

    /// The document of a descriptor.
    pub(crate) fn read(&self, descriptor: &Value) -> Result<Value> {
        let digest = descriptor["digest"].as_str().context("the descriptor has no digest")?;
        Ok(serde_json::from_slice(&fs::read(self.blob(digest))?)?)
    }

    /// Writes the configuration and manifest of an image whose layers exist, under `tag`.
    pub(crate) fn add_manifest(&self, tag: &str, config: &Value, mut manifest: Value) -> Result {
        let mut config = self.put("", config)?;
        for member in ["digest", "size"] {
            manifest["config"][member] = config[member].take();
        }
        self.set_tag(tag, self.put(MANIFEST, &manifest)?)
    }

    fn index(&self) -> Result<Vec<Value>> {
        let index: Value = serde_json::from_slice(&fs::read(self.root.join("index.json"))?)?;
        Ok(index["manifests"].as_array().cloned().unwrap_or_default())
    }

    fn write_index(&self, entries: &[Value]) -> Result {
        let index = json!({ "schemaVersion": 2, "manifests": entries });
        Ok(fs::write(self.root.join("index.json"), index.to_string())?)
    }

    /// Returns the descriptor.
    fn put(&self, media_type: &str, value: &Value) -> Result<Value> {
        let bytes = value.to_string();
        let digest = format!("sha256:{}", cache::digest(&bytes));
        fs::write(self.blob(&digest), &bytes)?;
        Ok(json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() }))
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.root.join("blobs").join(digest.replacen(':', "/", 1))
    }
}

pub(crate) fn layer_descriptor(layer: &LabLayer) -> Value {
    json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer.digest, "size": layer.size })
}
