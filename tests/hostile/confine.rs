//! A memory limit around a process: a control group where one can be made, `prlimit --data` elsewhere.
//!
//! The group is a child of this process's own, so it can only narrow what holds already. `prlimit` counts private
//! writable mappings, also those that were never touched, so it is stricter than a container's limit.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A limit that is taken away when it is dropped.
pub enum Confinement {
    /// A control group with its `cgroup.procs`.
    Group(PathBuf),
    /// `prlimit --data`.
    Data(u64),
}

/// How processes will be limited here.
pub fn describe(mib: u64) -> String {
    let how = match Confinement::new(mib << 20) {
        Confinement::Group(_) => "by a control group",
        Confinement::Data(_) => "by prlimit --data, which also counts memory never touched",
    };
    format!("memory limit {mib} MiB, {how}")
}

impl Confinement {
    /// The best there is.
    pub fn new(bytes: u64) -> Self {
        group(bytes).map_or(Self::Data(bytes), Self::Group)
    }

    /// Shell words to start a program with; `"$0" "$@"` is the program.
    pub fn shell(&self) -> String {
        match self {
            Self::Group(path) => format!("echo $$ >{}/cgroup.procs && exec \"$0\" \"$@\"", path.display()),
            Self::Data(bytes) => format!("exec prlimit --data={bytes} -- \"$0\" \"$@\""),
        }
    }
}

impl Drop for Confinement {
    fn drop(&mut self) {
        if let Self::Group(path) = self {
            // Fails while the killed process is still being taken apart; a little later it does not.
            for _ in 0..200 {
                if fs::remove_dir(&*path).is_ok() {
                    return;
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }
}

fn group(bytes: u64) -> Option<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let v1 = own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let controllers = parts.next()?;
        controllers.split(',').any(|name| name == "memory").then(|| parts.next().unwrap_or("/").to_owned())
    });
    let (root, file) = match v1 {
        Some(path) => (format!("/sys/fs/cgroup/memory{path}"), "memory.limit_in_bytes"),
        None => (format!("/sys/fs/cgroup{}", own.lines().find_map(|line| line.strip_prefix("0::"))?), "memory.max"),
    };
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let group = Path::new(&root).join(format!("routeapi-hostile-{}-{number}", std::process::id()));
    fs::create_dir(&group).ok()?;
    if fs::write(group.join(file), bytes.to_string()).is_err() {
        let _ = fs::remove_dir(&group);
        return None;
    }
    Some(group)
}
