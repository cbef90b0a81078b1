//! The content of the registry, and its responses without faults.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use kmod_builder::model::Digest;
use serde_json::{Value, json};

use super::{Options, Reply};

/// One repository; its name is ignored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    /// `None` for large blobs, which are not stored.
    pub(crate) blobs: BTreeMap<Digest, Option<Bytes>>,
    /// With their media types.
    pub(crate) manifests: BTreeMap<Digest, (String, Bytes)>,
    pub(crate) tags: BTreeMap<String, Digest>,
    pub(super) stale: Option<(Instant, BTreeMap<String, Digest>)>,
    uploads: HashSet<u64>,
    next_upload: u64,
}

pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) content_type: &'a str,
    pub(super) range_from: Option<usize>,
    /// Of the body.
    pub(super) digest: Digest,
    pub(super) body: Option<Bytes>,
}

impl Store {
    pub(super) fn answer(&mut self, options: &Options, asked: &Asked<'_>) -> Reply {
        let path = asked.path.strip_prefix("/v2/").unwrap_or_default();
        let parts: Vec<_> = path.rsplitn(3, '/').collect();
        if path.ends_with("/blobs/uploads/") && *asked.method == Method::POST {
            self.next_upload += 1;
            self.uploads.insert(self.next_upload);
            let location = format!("{}{}?state=a%2Fb", asked.path, self.next_upload);
            return Reply::new(StatusCode::ACCEPTED).header("location", &location);
        }
        match (asked.method.as_str(), parts.as_slice()) {
            ("PUT", [id, "uploads", _]) => self.commit(id.parse().unwrap_or(0), asked),
            ("GET" | "HEAD", [digest, "blobs", _]) => self.blob(digest, asked),
            ("GET" | "HEAD", [name, "manifests", _]) => self.manifest(name),
            ("PUT", [name, "manifests", _]) => self.put_manifest(options, name, asked),
            ("DELETE", [name, "manifests", _]) => self.delete(name),
            ("GET", ["list", "tags", _]) => self.list(options, asked),
            ("GET", [digest, "referrers", _]) if options.referrers_api => {
                self.referrers(options, digest, asked)
            }
            _ => Reply::text(StatusCode::NOT_FOUND, "404 page not found"),
        }
    }

    fn commit(&mut self, id: u64, asked: &Asked<'_>) -> Reply {
        if !self.uploads.remove(&id) {
            return Reply::error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN");
        }
        let wanted = parameter(asked.query, "digest").unwrap_or_default();
        if wanted != asked.digest.as_str() {
            return Reply::error(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
        }
        self.blobs.insert(asked.digest.clone(), asked.body.clone());
        Reply::new(StatusCode::CREATED).header("location", &format!("/v2/x/blobs/{wanted}"))
    }

    fn blob(&self, digest: &str, asked: &Asked<'_>) -> Reply {
        match digest.parse().ok().and_then(|digest: Digest| self.blobs.get(&digest)) {
            None => Reply::error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
            Some(content) => {
                let content = content.clone().unwrap_or_default();
                match asked.range_from {
                    Some(from) => Reply::new(StatusCode::PARTIAL_CONTENT).body(content.slice(from..)),
                    None => Reply::new(StatusCode::OK).body(content),
                }
            }
        }
    }

    fn manifest(&self, name: &str) -> Reply {
        let tags = match &self.stale {
            Some((until, tags)) if Instant::now() < *until => tags,
            _ => &self.tags,
        };
        let digest = tags.get(name).cloned().or_else(|| name.parse().ok());
        match digest.and_then(|digest| Some((self.manifests.get(&digest)?, digest))) {
            None => Reply::error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            Some(((kind, bytes), digest)) => Reply::new(StatusCode::OK)
                .header("content-type", kind)
                .header("docker-content-digest", digest.as_str())
                .body(bytes.clone()),
        }
    }

    fn put_manifest(&mut self, options: &Options, name: &str, asked: &Asked<'_>) -> Reply {
        let bytes = asked.body.clone().unwrap_or_default();
        let Ok(document) = serde_json::from_slice::<Value>(&bytes) else {
            return Reply::error(StatusCode::BAD_REQUEST, "MANIFEST_INVALID");
        };
        let array = |member: &str| document[member].as_array().cloned().unwrap_or_default();
        let digest_of = |it: &Value| it["digest"].as_str().unwrap_or_default().parse::<Digest>().ok();
        let config = document.get("config").cloned();
        let blobs = array("layers").into_iter().chain(config);
        let known = |digest: Option<Digest>| digest.is_some_and(|digest| self.blobs.contains_key(&digest));
        if !blobs.map(|blob| digest_of(&blob)).all(known) {
            return Reply::error(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN");
        }
        let stored =
            |digest: Option<Digest>| digest.is_some_and(|digest| self.manifests.contains_key(&digest));
        if !array("manifests").iter().map(digest_of).all(stored) {
            return Reply::error(StatusCode::BAD_REQUEST, "MANIFEST_UNKNOWN");
        }
        match name.parse::<Digest>() {
            Ok(named) if named != asked.digest => {
                return Reply::error(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
            }
            Ok(_) => {}
            Err(_) => {
                self.tags.insert(name.to_owned(), asked.digest.clone());
            }
        }
        self.manifests.insert(asked.digest.clone(), (asked.content_type.to_owned(), bytes));
        let reply = Reply::new(StatusCode::CREATED)
            .header("location", &format!("/v2/x/manifests/{}", asked.digest))
            .header("docker-content-digest", asked.digest.as_str());
        match document["subject"]["digest"].as_str() {
            Some(subject) if options.referrers_api => reply.header("oci-subject", subject),
            _ => reply,
        }
    }

    fn delete(&mut self, name: &str) -> Reply {
        match name.parse::<Digest>().ok().and_then(|digest| self.manifests.remove(&digest).map(|_| digest)) {
            None => Reply::error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            Some(digest) => {
                self.tags.retain(|_, tagged| *tagged != digest);
                Reply::new(StatusCode::ACCEPTED)
            }
        }
    }

    fn list(&self, options: &Options, asked: &Asked<'_>) -> Reply {
        let last = parameter(asked.query, "last").unwrap_or_default();
        let names: Vec<_> = self.tags.keys().filter(|name| **name > last).cloned().collect();
        let page: Vec<_> = names.iter().take(options.page).cloned().collect();
        let tags = if page.is_empty() { Value::Null } else { json!(page) };
        let reply = Reply::new(StatusCode::OK).body(json!({ "name": "x", "tags": tags }).to_string());
        match page.last() {
            Some(last) if page.len() < names.len() => {
                reply.header("link", &format!("</v2/x/tags/list?last={last}>; rel=\"next\""))
            }
            _ => reply,
        }
    }

    /// Lists a wrong type for every entry: clients must read the manifests.
    fn referrers(&self, options: &Options, digest: &str, asked: &Asked<'_>) -> Reply {
        let refers = |(_, bytes): &&(String, Bytes)| {
            let document: Value = serde_json::from_slice(bytes).unwrap_or_default();
            document["subject"]["digest"] == digest
        };
        let all: Vec<_> = self.manifests.iter().filter(|(_, manifest)| refers(manifest)).collect();
        let from = parameter(asked.query, "from").and_then(|from| from.parse().ok()).unwrap_or(0);
        let entries: Vec<_> = all
            .iter()
            .skip(from)
            .take(options.page)
            .map(|(digest, (kind, bytes))| {
                json!({ "mediaType": kind, "digest": digest.as_str(), "size": bytes.len(), "artifactType": "wrong/type" })
            })
            .collect();
        let index = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries });
        let reply = Reply::new(StatusCode::OK).body(index.to_string());
        if from + options.page < all.len() {
            let next = from + options.page;
            return reply.header("link", &format!("</v2/x/referrers/{digest}?from={next}>; rel=next"));
        }
        reply
    }
}

/// Decodes only `:`.
fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.replace("%3A", ":"))
}
