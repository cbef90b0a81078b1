//! The sources of kernels, each with a channel that no other source has.

use std::ops::Range;
use std::str::FromStr;

use kmod_compat::toml_document::{TomlDiagnostic, elements};
use kmod_query::Stream;

use super::members::{Value, parsed, table};
use crate::model::image::{ImageLocation, ImageRef};
use crate::model::reconcile::{Source, SourceOrigin};
use crate::model::tags::{Channel, ParseChannelNameError};

const SOURCE: &str =
    "`[[source]]` has `stream` (stable, testing, next) or `image` (HOST/NAME:TAG) with `channel`";
const CHANNEL: &str =
    "`channel` is what hosts follow, up to 40 lower-case letters, digits and single dashes: \"kinoite\"";

/// A source with the places of its origin and its channel. A channel that is not written has the place of the stream.
struct SourceRow {
    source: Source,
    origin: Range<usize>,
    channel: Range<usize>,
}

pub(super) fn read(value: Value<'_>, diagnostics: &mut Vec<TomlDiagnostic>) -> Vec<Source> {
    let rows = elements(value, "an array of tables", SOURCE, diagnostics);
    let rows: Vec<SourceRow> = rows.into_iter().filter_map(|row| read_row(row, diagnostics)).collect();
    check_owners(&rows, diagnostics);
    rows.into_iter().map(|row| row.source).collect()
}

fn read_row(value: Value<'_>, diagnostics: &mut Vec<TomlDiagnostic>) -> Option<SourceRow> {
    let span = value.span();
    let (mut stream, mut image, mut channel) = (None, None, None);
    for (key, value) in table(value, &["stream", "image", "channel"], SOURCE, diagnostics)? {
        match key.get_ref().as_ref() {
            "stream" => stream = Some(parsed::<Stream>(value, SOURCE, diagnostics)?),
            "image" => image = Some(parsed::<ImageSource>(value, SOURCE, diagnostics)?),
            _ => channel = Some(parsed::<FollowedChannel>(value, CHANNEL, diagnostics)?),
        }
    }
    let channel = channel.map(|channel| (channel.span(), channel.into_inner().0));
    match (stream, image, channel) {
        (Some(stream), None, channel) => {
            let (origin, source) = (stream.span(), Source::from(stream.into_inner()));
            let (place, channel) = channel.map_or((origin.clone(), None), |(place, of)| (place, Some(of)));
            Some(SourceRow {
                source: Source { channel: channel.or(source.channel), ..source },
                origin,
                channel: place,
            })
        }
        (None, Some(image), Some((place, channel))) => {
            let origin = image.span();
            let source = Source { origin: SourceOrigin::Image(image.into_inner().0), channel: Some(channel) };
            Some(SourceRow { source, origin, channel: place })
        }
        (None, Some(image), None) => {
            let help = "add `channel = \"NAME\"`, which is what the hosts of this image follow";
            diagnostics.push(TomlDiagnostic::new("the image has no channel", image.span(), "here", help));
            None
        }
        (Some(stream), Some(image), _) => {
            let message = "the source has both `stream` and `image`";
            let help = "write two `[[source]]`, each with a channel of its own";
            let both = TomlDiagnostic::new(message, stream.span(), "a stream", help);
            diagnostics.push(both.and_label(image.span(), "an image"));
            None
        }
        (None, None, _) => {
            let message = "the source has neither `stream` nor `image`";
            diagnostics.push(TomlDiagnostic::new(message, span, "here", SOURCE));
            None
        }
    }
}

/// No tag has two owners: the tags of two channels differ if their names do.
fn check_owners(rows: &[SourceRow], diagnostics: &mut Vec<TomlDiagnostic>) {
    for (position, row) in rows.iter().enumerate() {
        let Some(channel) = &row.source.channel else { continue };
        let owner = rows[..position].iter().find(|other| other.source.channel.as_ref() == Some(channel));
        if let Some(owner) = owner {
            let message = format!("two sources have the channel `{channel}`");
            let help = "give one of them another channel: a tag follows one source";
            let twice = TomlDiagnostic::new(message, row.channel.clone(), "second", help);
            diagnostics.push(twice.and_label(owner.channel.clone(), "first"));
            continue;
        }
        let Channel::Stream(stream) = channel else { continue };
        let origin = SourceOrigin::Stream(*stream);
        let followed = rows.iter().find(|other| other.source.origin == origin);
        // A stream with this channel is the second owner.
        let is_other = |followed: &&SourceRow| {
            row.source.origin != origin && followed.source.channel.as_ref() != Some(channel)
        };
        if let Some(followed) = followed.filter(is_other) {
            let message = format!("the channel `{channel}` has the name of a stream that is another source");
            let help = "give it another channel: hosts take it for that of the stream";
            let foreign = TomlDiagnostic::new(message, row.channel.clone(), "this channel", help);
            diagnostics.push(foreign.and_label(followed.origin.clone(), "the stream"));
        }
    }
}

/// An image in a registry, by tag or digest, as it is written.
struct ImageSource(String);

impl FromStr for ImageSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let image: ImageRef = text.parse().map_err(|error| format!("{error}"))?;
        match (&image.store, &image.tag_or_digest) {
            (ImageLocation::Layout(_), _) => {
                Err(format!("`{text}` is a directory, and sources are in a registry"))
            }
            (_, None) => Err(format!("`{text}` has neither a tag nor a digest")),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

/// Of a stream or an image, not of a branch.
struct FollowedChannel(Channel);

impl FromStr for FollowedChannel {
    type Err = ParseChannelNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let stream = text.parse::<Stream>().ok().filter(|stream| stream.has_channel());
        Ok(Self(match stream {
            Some(stream) => Channel::Stream(stream),
            None => Channel::Named(text.parse()?),
        }))
    }
}
