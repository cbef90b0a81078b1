use kmod_query::PinnedImage;

/// The directory of the libraries, in the guest and in the last stage of [`containerfile`].
pub const DIRECTORY_OF_LIBRARIES: &str = "lib64";
pub const STAGE: &str = "guest";

/// Relative paths in a root file system where the program or library may be, the likeliest first.
pub fn search_paths(name: &str) -> impl Iterator<Item = String> {
    const PROGRAMS: [&str; 4] = ["bin", "usr/bin", "usr/sbin", "sbin"];
    const LIBRARIES: [&str; 8] = [
        DIRECTORY_OF_LIBRARIES,
        "usr/lib64",
        "lib",
        "usr/lib",
        "usr/lib/x86_64-linux-gnu",
        "usr/lib/aarch64-linux-gnu",
        "lib/x86_64-linux-gnu",
        "lib/aarch64-linux-gnu",
    ];
    let directories = if name.contains(".so") { &LIBRARIES[..] } else { &PROGRAMS[..] };
    directories.iter().map(move |directory| format!("{directory}/{name}"))
}

/// A Containerfile whose last stage has busybox in `bin` and the named libraries with their dependencies in
/// [`DIRECTORY_OF_LIBRARIES`].
///
/// Missing libraries are installed by their RPM capability: the library's name with `()(64bit)`.
pub fn containerfile(image: &PinnedImage, libraries: &[String]) -> Result<String, String> {
    let is_name = |name: &&String| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte))
    };
    if let Some(other) = libraries.iter().find(|name| !is_name(name)) {
        return Err(format!("invalid library name `{other}`"));
    }
    let libraries = libraries.join(" ");
    // podman 4.3 does not support here-documents, so this is one long line.
    let script = [
        "set -eu",
        &format!("libraries='{libraries}'"),
        "find() { ldconfig -p | sed -n \"s|^[[:space:]]*$1 (.*=> ||p\" | head -n 1; }",
        "missing=",
        "for library in $libraries; do test -n \"$(find \"$library\")\" || missing=\"$missing $library()(64bit)\"; done",
        "command -v busybox >/dev/null || missing=\"$missing busybox\"",
        "if test -n \"$missing\"; then dnf --assumeyes --setopt=install_weak_deps=False --setopt=tsflags=nodocs install $missing && ldconfig; fi",
        &format!("mkdir -p /guest/bin /guest/{DIRECTORY_OF_LIBRARIES}"),
        "cp -L \"$(command -v busybox)\" /guest/bin/busybox",
        &format!(
            "for file in /guest/bin/busybox $(for library in $libraries; do find \"$library\"; done); do \
             {{ echo \"$file\"; ldd \"$file\" | sed -n 's|^[^/]*\\(/[^ ]*\\) (.*|\\1|p'; }} | \
             while read -r found; do case $found in */busybox) ;; *) cp -L \"$found\" /guest/{DIRECTORY_OF_LIBRARIES}/ ;; esac; done; done"
        ),
    ];
    let script = script.join(" \\\n    && ");
    Ok(format!(
        "FROM {image} AS distribution\nRUN {script}\n\nFROM scratch AS {STAGE}\nCOPY --from=distribution /guest/ /\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_libraries_reach_the_shell() {
        let image = format!("registry.example.org/fedora@sha256:{}", "0".repeat(64)).parse().unwrap();
        let file = containerfile(&image, &["libc.so.6".into(), "libstdc++.so.6".into()]).unwrap();
        assert!(file.starts_with("FROM registry.example.org/fedora@sha256:000"));
        assert!(file.contains("libraries='libc.so.6 libstdc++.so.6'"));
        for name in ["", "a b", "$(reboot)", "'", "a\nRUN b", "../etc"] {
            assert!(containerfile(&image, &[name.to_owned()]).is_err(), "{name}");
        }
    }

    #[test]
    fn libraries_and_programs_are_looked_for_apart() {
        assert_eq!(search_paths("busybox").next().as_deref(), Some("bin/busybox"));
        assert_eq!(search_paths("libc.so.6").next().as_deref(), Some("lib64/libc.so.6"));
        assert!(search_paths("libc.so.6").any(|place| place == "usr/lib/x86_64-linux-gnu/libc.so.6"));
    }
}
