//! The state directory: what is known of containers between two commands.
//!
//! `ROOT/~links` is the lock under which `do` chooses the addresses of a link to this machine.
//!
//! `ROOT/ID/` holds `lock` (an exclusive `flock` for as long as a command changes something), `state.json`
//! (written whole, then renamed into place), `control.sock` (the sentry listens) and `exit` (the sentry, which
//! can open nothing, gets a descriptor and writes the exit code there).
//!
//! A container lives for as long as its sentry: the process of this id *and* this start time. Everything else
//! in the directory may be stale, after a SIGKILL for example, and is then read as `stopped`.

mod lock;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use self::lock::Lock;
use crate::error::{Context as _, Failure, Result};
use crate::fail;

/// The version of the runtime specification that `state` reports.
pub(crate) const OCI_VERSION: &str = "1.2.0";

/// The name of a lock; no container can have it as its id.
const LINKS: &str = "~links";

/// The root of all state directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Store {
    root: PathBuf,
}

/// What is written down of a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// The container's id.
    pub(crate) id: String,
    /// The sentry.
    pub(crate) pid: i32,
    /// When it was started, in clock ticks since boot: the process id alone may be another's by now.
    pub(crate) start_time: u64,
    /// The bundle's directory.
    pub(crate) bundle: PathBuf,
    /// The root filesystem's directory.
    pub(crate) rootfs: PathBuf,
    /// When the container was created (RFC 3339).
    pub(crate) created: String,
    /// Who created it.
    pub(crate) owner: u32,
    /// As in `config.json`.
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// A container's directory.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    directory: PathBuf,
    id: String,
}

impl Store {
    /// The store in `root`, or in its usual place: `$XDG_RUNTIME_DIR/runsc` or `/run/runsc`.
    pub(crate) fn new(root: Option<&PathBuf>) -> Self {
        let root = root.cloned().unwrap_or_else(|| {
            let runtime = std::env::var_os("XDG_RUNTIME_DIR")
                .filter(|_| !rustix::process::geteuid().is_root());
            runtime.map_or_else(
                || PathBuf::from("/run/runsc"),
                |directory| PathBuf::from(directory).join("runsc"),
            )
        });
        Self { root }
    }

    /// The directory of a container, whether it exists or not.
    pub(crate) fn home(&self, id: &str) -> Result<Home> {
        validate(id)?;
        Ok(Home { directory: self.root.join(id), id: id.to_owned() })
    }

    /// Makes the directory of a new container and locks it.
    pub(crate) fn create(&self, id: &str) -> Result<(Home, Lock)> {
        let home = self.home(id)?;
        self.make_root()?;
        match fs::DirBuilder::new().mode(0o700).create(&home.directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return fail!(
                    "container {id:?} exists already: delete it first, or choose another id"
                );
            }
            Err(error) => {
                return Err(error).context(|| format!("cannot make {}", home.directory.display()));
            }
        }
        let lock = Lock::take(&home.directory)?;
        Ok((home, lock))
    }

    fn make_root(&self) -> Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o711).create(&self.root).context(|| {
            format!(
                "cannot make the state directory {} (choose another with --root)",
                self.root.display()
            )
        })
    }

    /// Waits for the lock under which the addresses of links to this machine are chosen. It is in the usual state
    /// directory, so that commands with others wait for each other, too; in this one if it cannot be there.
    pub(crate) fn lock_links(&self) -> Result<Lock> {
        Self::new(None).lock_own_links().or_else(|_| self.lock_own_links())
    }

    fn lock_own_links(&self) -> Result<Lock> {
        self.make_root()?;
        Lock::of_file(&self.root.join(LINKS))
    }

    /// The ids of all containers, sorted.
    pub(crate) fn ids(&self) -> Result<Vec<String>> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(error).context(|| format!("cannot read {}", self.root.display()));
            }
        };
        let mut ids: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|id| validate(id).is_ok())
            .collect();
        ids.sort();
        Ok(ids)
    }
}

impl Home {
    /// The container's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Whether there is such a container.
    pub(crate) fn exists(&self) -> bool {
        self.directory.is_dir()
    }

    /// Locks the container against other commands.
    pub(crate) fn lock(&self) -> Result<Lock> {
        if !self.exists() {
            return Err(self.missing());
        }
        Lock::take(&self.directory)
    }

    fn missing(&self) -> Failure {
        let root = self.directory.parent().unwrap_or(&self.directory);
        Failure::new(format!(
            "container {:?} does not exist (state directory: {})",
            self.id,
            root.display()
        ))
    }

    /// What was written down.
    pub(crate) fn load(&self) -> Result<Record> {
        let path = self.directory.join("state.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.missing()),
            Err(error) => return Err(error).context(|| format!("cannot read {}", path.display())),
        };
        serde_json::from_slice(&text).context(|| {
            format!("{} is damaged (`runsc delete --force {}` removes it)", path.display(), self.id)
        })
    }

    /// Writes down.
    pub(crate) fn store(&self, record: &Record) -> Result<()> {
        let (path, draft) =
            (self.directory.join("state.json"), self.directory.join("state.json.new"));
        let write = || -> io::Result<()> {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&draft)?;
            serde_json::to_writer(&mut file, record)?;
            file.flush()?;
            fs::rename(&draft, &path)
        };
        write().context(|| format!("cannot write {}", path.display()))
    }

    /// Where the sentry listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("control.sock")
    }

    /// The directory itself.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes the file that the sentry writes the exit code to.
    pub(crate) fn create_exit_file(&self) -> Result<fs::File> {
        let path = self.directory.join("exit");
        let file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.context(|| format!("cannot make {}", path.display()))
    }

    /// The exit code that the sentry wrote, if it could.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        fs::read_to_string(self.directory.join("exit")).ok()?.trim().parse().ok()
    }

    /// Removes everything. Idempotent.
    pub(crate) fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).context(|| format!("cannot remove {}", self.directory.display()))
            }
            _ => Ok(()),
        }
    }
}

impl Record {
    /// Whether the sentry of this record still runs.
    pub(crate) fn alive(&self) -> bool {
        start_time(self.pid).is_some_and(|(time, zombie)| time == self.start_time && !zombie)
    }
}

/// When a process was started, and whether it is a zombie. `None` when there is none.
pub(crate) fn start_time(pid: i32) -> Option<(u64, bool)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything: fields are counted from behind it.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    Some((fields.nth(18)?.parse().ok()?, zombie))
}

fn validate(id: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    if id.is_empty() || id.len() > 128 || id == "." || id == ".." || !id.bytes().all(allowed) {
        return fail!(
            "{id:?} cannot be a container id: use letters, digits and any of _ + - . (at most 128)"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_cannot_leave_the_directory() {
        for bad in ["", ".", "..", LINKS, "a/b", "../x", "a b", "a\0", "ä"] {
            assert!(validate(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "0f", "a_b+c-d.e", "..."] {
            assert!(validate(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn own_start_time_is_known() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let (time, zombie) = start_time(pid).unwrap();
        assert!(time > 0 && !zombie);
        assert_eq!(start_time(-1), None);
    }

    #[test]
    fn a_second_container_of_one_id_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::new(Some(&root.path().join("r")));
        let (home, lock) = store.create("one").unwrap();
        assert!(store.create("one").unwrap_err().to_string().contains("exists already"));
        assert_eq!(store.ids().unwrap(), ["one"]);
        drop(lock);
        home.remove().unwrap();
        home.remove().unwrap();
        assert!(home.lock().unwrap_err().to_string().contains("does not exist"));
    }
}
