//! Starts and ends the registry and the HTTP server, on loopback only.
//!
//! In a run they end with this process. After `lab up` they stay; `lab down` finds them by files with their process ids,
//! and ends only processes that were started with a path of the lab.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Context, Result};
use crate::lab::apt::Apt;
use crate::lab::cache::{CacheKey, LabCache};
use crate::lab::environment::{HTTP, REGISTRY};
use crate::{terminal, tools};

const NAMES: [&str; 2] = ["registry", "http"];
const FREE_WITHIN: Duration = Duration::from_secs(2);
const READY_WITHIN: Duration = Duration::from_secs(10);

/// Running services. Dropping this ends them.
pub(crate) struct LabServices {
    children: Vec<Child>,
    run: PathBuf,
}

impl LabServices {
    /// `run/www` must be complete.
    pub(crate) fn start(cache: &LabCache, stay: bool) -> Result<Self> {
        let run = cache.run();
        fs::create_dir_all(&run)?;
        stop(&run)?;
        // The images of earlier runs take gigabytes.
        let _ = fs::remove_dir_all(run.join("registry"));
        for address in [REGISTRY, HTTP] {
            await_free(address)?;
        }
        let mut services = Self { children: Vec::new(), run: run.clone() };

        let registry = registry(&registry_program(cache)?, &run, REGISTRY, "level: warn")?;
        services.spawn("registry", registry, stay)?;

        // Not its path: a later build (`cargo xtask test` runs several) replaces the file there.
        let mut http = Command::new(format!("/proc/{}/exe", std::process::id()));
        http.args(["lab", "serve"]).arg(&run);
        services.spawn("http", http, stay)?;

        for address in [REGISTRY, HTTP] {
            services.await_answer(address)?;
        }
        Ok(services)
    }

    /// Keeps the services running after this process.
    pub(crate) fn leave(mut self) {
        self.children.clear();
    }

    fn spawn(&mut self, name: &str, command: Command, stay: bool) -> Result {
        let log = File::create(self.run.join(format!("{name}.log")))?;
        let mut command = if stay { command } else { tools::tied(&command) };
        if stay {
            // In a process group of its own, which Ctrl-C does not reach.
            command.process_group(0);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context(format_args!("starting the lab's {name}"))?;
        fs::write(self.run.join(format!("{name}.pid")), child.id().to_string())?;
        self.children.push(child);
        Ok(())
    }

    fn await_answer(&mut self, address: &str) -> Result {
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended =
                self.children.iter_mut().any(|child| child.try_wait().is_ok_and(|status| status.is_some()));
            if ended || begun.elapsed() > READY_WITHIN {
                return Err(
                    format!("nothing answers at {address}; see the logs in {}", self.run.display()).into()
                );
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for LabServices {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        if !self.children.is_empty() {
            for name in NAMES {
                let _ = fs::remove_file(self.run.join(format!("{name}.pid")));
            }
        }
    }
}

/// The command of a registry with its configuration and content in `directory`.
pub(crate) fn registry(program: &Path, directory: &Path, address: &str, log: &str) -> Result<Command> {
    let configuration = directory.join("registry.yml");
    let content = directory.join("registry");
    fs::write(
        &configuration,
        format!(
            "version: 0.1\nlog: {{{log}}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: \"{address}\"}}\n",
            content.display()
        ),
    )?;
    let mut command = Command::new(program);
    command.arg("serve").arg(configuration);
    Ok(command)
}

/// Number of the program's requests in the registry's log, and bytes sent for them.
pub(crate) fn counted(run: &Path) -> Result<(u64, u64)> {
    let text = fs::read_to_string(run.join("registry.log")).context("registry.log")?;
    // Apache's combined form: … "GET /v2/… HTTP/1.1" 200 1234 "" "zfs-kmods/0.1.0"
    let bytes = |line: &str| {
        let after = line.split("\" ").nth(1)?;
        after.split(' ').nth(1)?.parse::<u64>().ok()
    };
    let ours = text.lines().filter(|line| line.contains("\"zfs-kmods/"));
    Ok(ours.fold((0, 0), |(count, sum), line| (count + 1, sum + bytes(line).unwrap_or_default())))
}

/// Number of uploads to the registry that the program began.
pub(crate) fn uploads(run: &Path) -> Result<usize> {
    let text = fs::read_to_string(run.join("registry.log")).context("registry.log")?;
    let ours = text.lines().filter(|line| line.contains("\"zfs-kmods/"));
    Ok(ours.filter(|line| line.contains("\"POST /v2/")).count())
}

/// Waits for the socket of a service that has just ended.
fn await_free(address: &str) -> Result {
    let begun = Instant::now();
    while let Err(error) = TcpListener::bind(address) {
        if begun.elapsed() > FREE_WITHIN {
            let help = "help: end the process that uses the port, and try again";
            return Err(format!("cannot listen on {address}: {error}\n{help}").into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Ends services that an earlier run left. Returns whether there were any.
pub(crate) fn stop(run: &Path) -> Result<bool> {
    let mut any = false;
    for name in NAMES {
        let file = run.join(format!("{name}.pid"));
        let Ok(process) = fs::read_to_string(&file) else { continue };
        if is_ours(&process, run) {
            terminal::print_notice(format_args!("lab: ending the {name} (process {process})"));
            // The shell's `kill`: a minimal system has no program of that name.
            Command::new("sh").args(["-c", "kill \"$1\"", "sh", &process]).status()?;
            let begun = Instant::now();
            while is_ours(&process, run) && begun.elapsed() < READY_WITHIN {
                thread::sleep(Duration::from_millis(20));
            }
            any = true;
        }
        fs::remove_file(file)?;
    }
    Ok(any)
}

/// Process ids are reused: a process of the lab has a path of the lab in its command line.
fn is_ours(process: &str, run: &Path) -> bool {
    process.parse::<u32>().is_ok()
        && fs::read_to_string(format!("/proc/{process}/cmdline"))
            .is_ok_and(|words| words.contains(&*run.to_string_lossy()))
}

/// The machine's own program, or Debian's, unpacked. Installing the package would start a registry on all interfaces.
pub(crate) fn registry_program(cache: &LabCache) -> Result<PathBuf> {
    const PROGRAM: &str = "docker-registry";
    if tools::is_there(PROGRAM) {
        return Ok(PathBuf::from(PROGRAM));
    }
    let unpacked = cache.entry(PROGRAM, CacheKey::new().with(PROGRAM), |directory| {
        Apt::open(cache)?.unpack(PROGRAM, directory)
    })?;
    Ok(unpacked.join("usr/bin").join(PROGRAM))
}
