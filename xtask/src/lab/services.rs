//! The services of the lab: a registry and the HTTP server, on loopback only.
//!
//! For a run they end with this process, however it ends. For work by hand they stay; files with their process ids
//! let `lab down` find them again, and nothing is ended that is not recognised as the lab's own.

use std::{
    fs::{self, File},
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    error::{Context, Result},
    lab::{
        apt::Apt,
        cache::{Cache, Key},
        world::{HTTP, REGISTRY},
    },
    terminal, tools,
};

const NAMES: [&str; 2] = ["registry", "http"];
const FREE_WITHIN: Duration = Duration::from_secs(2);
const READY_WITHIN: Duration = Duration::from_secs(10);

/// Running services; they end with the value.
pub(crate) struct Services {
    children: Vec<Child>,
    run: PathBuf,
}

impl Services {
    /// Starts both. `www` must be laid out already.
    pub(crate) fn start(cache: &Cache, stay: bool) -> Result<Self> {
        let run = cache.run();
        fs::create_dir_all(&run)?;
        stop(&run)?;
        // What earlier runs published is of no use to this one, and adds up to gigabytes.
        let _ = fs::remove_dir_all(run.join("registry"));
        for address in [REGISTRY, HTTP] {
            await_free(address)?;
        }
        let mut services = Self { children: Vec::new(), run: run.clone() };

        let configuration = run.join("registry.yml");
        fs::write(
            &configuration,
            format!(
                "version: 0.1\nlog: {{level: warn}}\n\
                 storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: \"{REGISTRY}\"}}\n",
                run.join("registry").display()
            ),
        )?;
        let mut registry = Command::new(registry_program(cache)?);
        registry.arg("serve").arg(configuration);
        services.spawn("registry", registry, stay)?;

        // Not by its path: a build that ran meanwhile (`cargo xtask test` runs several) has put another file there.
        let mut http = Command::new(format!("/proc/{}/exe", std::process::id()));
        http.args(["lab", "serve"]).arg(&run);
        services.spawn("http", http, stay)?;

        for address in [REGISTRY, HTTP] {
            services.await_answer(address)?;
        }
        Ok(services)
    }

    /// Lets the services run on when this process ends.
    pub(crate) fn leave(mut self) {
        self.children.clear();
    }

    fn spawn(&mut self, name: &str, command: Command, stay: bool) -> Result {
        let log = File::create(self.run.join(format!("{name}.log")))?;
        let mut command = if stay { command } else { tools::tied(&command) };
        if stay {
            // Not in the terminal's group: Ctrl-C is for others.
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

impl Drop for Services {
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

/// How many requests of the program are in the registry's log, and how many bytes it sent for them.
pub(super) fn counted(run: &Path) -> Result<(u64, u64)> {
    let text = fs::read_to_string(run.join("registry.log")).context("registry.log")?;
    // Apache's combined form: … "GET /v2/… HTTP/1.1" 200 1234 "" "zfs-kmods/0.1.0"
    let bytes = |line: &str| {
        let after = line.split("\" ").nth(1)?;
        after.split(' ').nth(1)?.parse::<u64>().ok()
    };
    let ours = text.lines().filter(|line| line.contains("\"zfs-kmods/"));
    Ok(ours.fold((0, 0), |(count, sum), line| (count + 1, sum + bytes(line).unwrap_or_default())))
}

/// Waits for the socket of a service that has just ended. Whatever else has it, has it for longer.
fn await_free(address: &str) -> Result {
    let begun = Instant::now();
    while let Err(error) = TcpListener::bind(address) {
        if begun.elapsed() > FREE_WITHIN {
            let sentence = "the lab cannot have this address; end what uses the port and try again";
            return Err(format!("{address}: {error}: {sentence}").into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Ends the services that an earlier run left, and says which.
pub(crate) fn stop(run: &Path) -> Result<bool> {
    let mut any = false;
    for name in NAMES {
        let file = run.join(format!("{name}.pid"));
        let Ok(process) = fs::read_to_string(&file) else { continue };
        if is_ours(&process, run) {
            terminal::print_notice(format_args!("lab: ending the {name} (process {process})"));
            // `kill` is part of the shell; there need not be a program of that name.
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

/// Process ids are used again: only a process that was started with a path of the lab is one of the lab's.
fn is_ours(process: &str, run: &Path) -> bool {
    process.parse::<u32>().is_ok()
        && fs::read_to_string(format!("/proc/{process}/cmdline"))
            .is_ok_and(|words| words.contains(&*run.to_string_lossy()))
}

/// The machine's own program, or the one of Debian's package, unpacked and not installed: installing it would start a
/// registry on all interfaces.
pub(super) fn registry_program(cache: &Cache) -> Result<PathBuf> {
    const PROGRAM: &str = "docker-registry";
    if tools::is_there(PROGRAM) {
        return Ok(PathBuf::from(PROGRAM));
    }
    let unpacked = cache
        .entry(PROGRAM, Key::new().with(PROGRAM), |directory| Apt::open(cache)?.unpack(PROGRAM, directory))?;
    Ok(unpacked.join("usr/bin").join(PROGRAM))
}
