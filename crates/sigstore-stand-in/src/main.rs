//! Starts the stand-in for programs that are none of Rust's tests: `sigstore-stand-in ADDRESS DIRECTORY`.
//!
//! Writes `trusted_root.json` into the directory and `environment`, lines of `NAME=value` for a shell, and stays until
//! it is ended.

use std::error::Error;
use std::path::PathBuf;

use sigstore_stand_in::{StandIn, claims};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(directory), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: sigstore-stand-in ADDRESS DIRECTORY".into());
    };
    let stand_in = StandIn::start(&address, claims())?;
    let directory = PathBuf::from(directory);
    std::fs::write(directory.join("trusted_root.json"), stand_in.trusted_root())?;
    let environment = format!(
        "GITHUB_ACTIONS=true\nACTIONS_ID_TOKEN_REQUEST_URL={}\nACTIONS_ID_TOKEN_REQUEST_TOKEN=stand-in\nSTAND_IN={}\nSTAND_IN_TIMESTAMP={}\n",
        stand_in.token_url(),
        stand_in.url(),
        stand_in.timestamp_url(),
    );
    // Whole or not there: whoever waits for this file begins as soon as it appears.
    let unfinished = directory.join("environment.part");
    std::fs::write(&unfinished, environment)?;
    std::fs::rename(unfinished, directory.join("environment"))?;
    loop {
        std::thread::park();
    }
}
