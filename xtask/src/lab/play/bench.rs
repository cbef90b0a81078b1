//! `cargo xtask bench`: measures the release build with the image that the lab has built.
//!
//! Both programs run in pairs and ratios are printed, because the load of the machine varies.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use xshell::{Shell, cmd};

use crate::error::{Context, Result};
use crate::lab::cache::LabCache;
use crate::lab::oci::LabLayout;
use crate::lab::play::program;
use crate::lab::serve::services;
use crate::{terminal, tools};

const PAIRS: usize = 5;

pub(crate) struct Measurement {
    time: Duration,
    /// Peak, KiB.
    pub(crate) memory: u64,
}

/// Pushes the lab's image into empty registries, with the program and with skopeo.
pub(crate) fn run() -> Result {
    let cache = LabCache::open()?;
    let images = cache.run().join("work/images");
    if !images.join("index.json").exists() {
        return Err("no image to measure with\nhelp: run `cargo xtask lab` first".into());
    }
    tools::need(&[("skopeo", "skopeo")])?;
    let registry = services::registry_program(&cache)?;
    terminal::print_notice("bench: compiling with optimisations");
    let program = program::compile(true)?;
    let tag = LabLayout::open(&images).tags()?.into_iter().next().context("the store has no image")?;
    let shell = Shell::new()?;
    let from = format!("oci:{}:{tag}", images.display());
    terminal::print_notice(format_args!("bench: {from}, {PAIRS} pairs, each into an empty registry"));
    let mut ratios = Vec::new();
    for pair in 0..PAIRS {
        let ours = |to: &str| -> Command {
            cmd!(shell, "{program} publish --from {from} --to docker://{to} --no-sign").into()
        };
        let theirs = |to: &str| -> Command {
            cmd!(shell, "skopeo copy --quiet --dest-tls-verify=false {from} docker://{to}:{tag}").into()
        };
        let push = |command: &dyn Fn(&str) -> Command| -> Result<Measurement> {
            let registry = EmptyRegistry::start(&registry)?;
            measure(command(&format!("{}/bench/zfs-kmods", registry.address)))
        };
        // The order alternates.
        let (ours, theirs) = if pair % 2 == 0 {
            let ours = push(&ours)?;
            (ours, push(&theirs)?)
        } else {
            let theirs = push(&theirs)?;
            (push(&ours)?, theirs)
        };
        let verified = measure(cmd!(shell, "{program} verify {from}").into())?.time;
        let pushed = ours.time.saturating_sub(verified);
        terminal::print_data(format_args!(
            "pair {}: zfs-kmods publish {:.2} s, {} MiB, of which verification {:.2} s; skopeo copy {:.2} s, {} MiB",
            pair + 1,
            ours.time.as_secs_f64(),
            ours.memory.div_ceil(1024),
            verified.as_secs_f64(),
            theirs.time.as_secs_f64(),
            theirs.memory.div_ceil(1024),
        ));
        let skopeo = theirs.time.as_secs_f64();
        ratios.push((pushed.as_secs_f64() / skopeo, ours.time.as_secs_f64() / skopeo));
    }
    let median = |pick: fn(&(f64, f64)) -> f64| {
        let mut all: Vec<f64> = ratios.iter().map(pick).collect();
        all.sort_by(f64::total_cmp);
        all[PAIRS / 2]
    };
    terminal::print_data(format_args!(
        "median of the ratios: {:.2} for the push, {:.2} with the verification, which skopeo does not make",
        median(|(pushed, _)| *pushed),
        median(|(_, all)| *all),
    ));
    Ok(())
}

/// Fails unless the program succeeds.
fn measure(command: Command) -> Result<Measurement> {
    let program = command.get_program().display().to_string();
    let (measurement, status) = measured(command)?;
    if status.success() { Ok(measurement) } else { Err(format!("{program} ended with {status}").into()) }
}

/// Runs a program to its end, and reads its peak memory until then.
pub(crate) fn measured(mut command: Command) -> Result<(Measurement, ExitStatus)> {
    let begun = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut memory = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
        memory = memory.max(peak.unwrap_or_default());
        if let Some(status) = child.try_wait()? {
            return Ok((Measurement { time: begun.elapsed(), memory }, status));
        }
        thread::sleep(Duration::from_millis(2));
    }
}

struct EmptyRegistry {
    address: String,
    process: Child,
    _root: tempfile::TempDir,
}

impl EmptyRegistry {
    fn start(program: &Path) -> Result<Self> {
        let root = tempfile::tempdir()?;
        // The registry does not report its port, therefore the port is chosen here.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let log = "level: error, accesslog: {disabled: true}";
        let mut serve = tools::tied(&services::registry(program, root.path(), &address, log)?);
        serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = serve.spawn().context("the registry")?;
        let registry = Self { address, process, _root: root };
        let begun = Instant::now();
        while TcpStream::connect(&registry.address).is_err() {
            if begun.elapsed() > Duration::from_secs(10) {
                return Err("the registry does not start".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(registry)
    }
}

impl Drop for EmptyRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
