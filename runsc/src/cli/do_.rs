//! `runsc do`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::Global;
use crate::control::Client;
use crate::error::{Context as _, Result};
use crate::fail;
use crate::network::Wanted;
use crate::oci::identity::IdMaps;
use crate::oci::mounts::{self, Flags, Kind};
use crate::oci::process::{self, CapabilityPlan};
use crate::sandbox::attached::{self, OwnContainer, Signals};
use crate::sandbox::container::{Wants, Wiring, wire};
use crate::sandbox::launch::{Mode, launch};
use crate::sandbox::options::{FileAccess, Network};
use crate::sandbox::{Endowment, Plan, RootPlan, terminal};
use crate::trace;

/// Arguments of `do`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory or EROFS image to use as the root of the files instead of this machine's
    #[arg(long, value_name = "DIR|IMAGE", default_value = "/")]
    rootfs: PathBuf,
    /// Directory to start in instead of the current one
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Make a directory or file of this machine appear inside, writable unless `:ro` follows
    #[arg(long, value_name = "SRC:DST[:ro]")]
    volume: Vec<String>,
    /// User (and group) to be, by number
    #[arg(long, value_name = "UID[:GID]")]
    user: Option<String>,
    /// Set a variable of the environment
    #[arg(long, value_name = "K=V")]
    env: Vec<OsString>,
    /// Name of the machine inside
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Print where the time of the start goes
    #[arg(long)]
    startup_trace: bool,
    /// The program and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "PROGRAM"
    )]
    program: Vec<OsString>,
}

impl Args {
    /// Runs the program and gives its exit code.
    pub(crate) fn execute(self, global: &Global) -> Result<u8> {
        if self.startup_trace {
            trace::begin();
        }
        let signals = Signals::take()?;
        let plan = self.plan(global)?;
        trace::point("command: the sandbox is planned");
        let Wiring { stdio, console, relay } = wire(Wants::Same, None, true)?;
        let (ours, theirs) = UnixStream::pair().context(|| "cannot make a socket pair")?;
        let extra = Vec::new();
        let endowment = Endowment {
            stdio,
            extra,
            console,
            listener: None,
            control: Some(theirs),
            network: crate::network::Network::default(),
            exit_file: None,
        };
        let sentry = launch(plan, endowment, Mode { attached: true, start: true })?;
        let mut container = OwnContainer { sentry, control: Client::new(ours) };
        container.sentry.wait_ready()?;
        container.sentry.loan.settle();
        trace::point("command: the sandbox is ready");
        let code = attached::wait(&mut container, &signals, relay.as_ref())?;
        trace::point("command: the sandbox has ended");
        if let Some(report) = trace::report() {
            eprint!("{report}");
        }
        Ok(code)
    }

    fn plan(self, global: &Global) -> Result<Plan> {
        let source = std::fs::canonicalize(&self.rootfs).context(|| {
            format!("cannot find the root directory {} (--rootfs)", self.rootfs.display())
        })?;
        let image = source.is_file();
        if !image && !source.is_dir() {
            let path = self.rootfs.display();
            return fail!("{path} is neither a directory nor an image (--rootfs)");
        }
        let mut mounts = system_mounts();
        for volume in &self.volume {
            mounts.push(parse_volume(volume)?);
        }
        let host_root = source == Path::new("/");
        Ok(Plan {
            options: global.options(),
            maps: IdMaps::identity(),
            root: RootPlan { source, image, read_only: false, overlay: true },
            mounts,
            devices: Vec::new(),
            network: match global.options().network {
                Some(Network::Sandbox) => Wanted::Pair(global.store()),
                _ => Wanted::None,
            },
            hostname: self.hostname.clone().or_else(own_hostname),
            domainname: None,
            process: self.process(host_root)?,
            masked_paths: Vec::new(),
            readonly_paths: Vec::new(),
            sysctl: Vec::new(),
            seccomp: None,
            mortal: true,
        })
    }

    fn process(self, host_root: bool) -> Result<process::Plan> {
        let cwd = match self.cwd {
            Some(cwd) if cwd.is_absolute() => cwd,
            Some(cwd) => return fail!("--cwd {}: not an absolute path", cwd.display()),
            None if host_root => {
                std::env::current_dir().context(|| "cannot find the current directory")?
            }
            None => PathBuf::from("/"),
        };
        let (uid, gid, groups) = match &self.user {
            Some(user) => parse_user(user)?,
            None => own_user(),
        };
        let mut env: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        for variable in self.env {
            let bytes = variable.into_vec();
            let Some(position) = bytes.iter().position(|byte| *byte == b'=') else {
                return fail!("--env {}: not of the form K=V", String::from_utf8_lossy(&bytes));
            };
            let (name, value) = bytes.split_at(position);
            let value = value.get(1..).unwrap_or_default();
            env.insert(OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec()));
        }
        let size = terminal::of_standard_descriptors().and_then(terminal::size);
        Ok(process::Plan {
            args: self.program.into_iter().map(OsString::into_vec).collect(),
            env: env
                .into_iter()
                .map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'='))
                .collect(),
            cwd: cwd.into_os_string().into_vec(),
            uid,
            gid,
            groups,
            umask: Some(own_umask()),
            capabilities: CapabilityPlan::ordinary(uid),
            limits: own_limits(),
            console_size: size,
            ..process::Plan::default()
        })
    }
}

/// Soft and hard limits of this process, for resources that mean the same inside.
fn own_limits() -> Vec<process::Limit> {
    use rustix::process::{Resource, getrlimit};
    let resources = [
        (chitin_abi::names::rlimit_by_name("RLIMIT_CORE"), Resource::Core),
        (chitin_abi::names::rlimit_by_name("RLIMIT_NOFILE"), Resource::Nofile),
        (chitin_abi::names::rlimit_by_name("RLIMIT_STACK"), Resource::Stack),
    ];
    let limit = |(number, resource): (Option<u32>, Resource)| {
        let limit = getrlimit(resource);
        let value = |value: Option<u64>| value.unwrap_or(u64::MAX);
        Some(process::Limit {
            resource: number?,
            soft: value(limit.current),
            hard: value(limit.maximum),
        })
    };
    resources.into_iter().filter_map(limit).collect()
}

fn own_umask() -> u32 {
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mask);
    mask.bits()
}

fn own_hostname() -> Option<String> {
    rustix::system::uname().nodename().to_str().ok().map(str::to_owned)
}

fn own_user() -> (u32, u32, Vec<u32>) {
    let groups = rustix::process::getgroups().unwrap_or_default();
    let groups = groups.into_iter().map(rustix::process::Gid::as_raw).collect();
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw(), groups)
}

fn parse_user(text: &str) -> Result<(u32, u32, Vec<u32>)> {
    let (user, group) = text.split_once(':').unwrap_or((text, text));
    match (user.parse::<u32>(), group.parse::<u32>()) {
        (Ok(user), Ok(group)) if user != u32::MAX && group != u32::MAX => {
            Ok((user, group, Vec::new()))
        }
        _ => fail!("--user {text}: give numbers, UID or UID:GID"),
    }
}

fn parse_volume(text: &str) -> Result<mounts::Plan> {
    let parts: Vec<&str> = text.split(':').collect();
    let [source, destination, options @ ..] = parts.as_slice() else {
        return fail!("--volume {text}: not of the form SRC:DST or SRC:DST:ro");
    };
    let (mut read_only, mut cache) = (false, None);
    for option in options.iter().flat_map(|options| options.split(',')) {
        match option {
            "ro" | "rw" => read_only = option == "ro",
            "cache=exclusive" => cache = Some(FileAccess::Exclusive),
            "cache=shared" => cache = Some(FileAccess::Shared),
            _ => return fail!("--volume {text}: {option:?} is not ro, rw or cache=KIND"),
        }
    }
    if !destination.starts_with('/') {
        return fail!("--volume {text}: {destination:?} is not an absolute path");
    }
    let source = std::fs::canonicalize(source)
        .context(|| format!("--volume {text}: cannot find {source}"))?;
    Ok(mounts::Plan {
        destination: PathBuf::from(destination),
        kind: Kind::Bind { source, recursive: true },
        flags: Flags { read_only, ..Flags::default() },
        propagation: None,
        cache,
    })
}

/// The file systems of the kernel that every container has.
fn system_mounts() -> Vec<mounts::Plan> {
    let secure = Flags { no_suid: true, no_dev: true, no_exec: true, ..Flags::default() };
    let list = [
        ("/proc", "proc", "", secure),
        ("/sys", "sysfs", "", secure),
        ("/dev", "devtmpfs", "mode=755", Flags { no_suid: true, ..Flags::default() }),
        (
            "/dev/pts",
            "devpts",
            "ptmxmode=666,mode=620,gid=5",
            Flags { no_suid: true, no_exec: true, ..Flags::default() },
        ),
        (
            "/dev/shm",
            "tmpfs",
            "mode=1777",
            Flags { no_suid: true, no_dev: true, ..Flags::default() },
        ),
        ("/dev/mqueue", "mqueue", "", secure),
    ];
    let plan = |(destination, fs_type, data, flags): (&str, &str, &str, Flags)| mounts::Plan {
        destination: PathBuf::from(destination),
        kind: Kind::Internal {
            fs_type: fs_type.to_owned(),
            source: fs_type.as_bytes().to_vec(),
            data: data.as_bytes().to_vec(),
        },
        flags,
        propagation: None,
        cache: None,
    };
    list.into_iter().map(plan).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_volumes() {
        assert_eq!(parse_user("5").unwrap(), (5, 5, vec![]));
        assert_eq!(parse_user("5:6").unwrap(), (5, 6, vec![]));
        assert!(
            parse_user("root").is_err()
                && parse_user("1:").is_err()
                && parse_user("4294967295").is_err()
        );
        let plan = parse_volume("/tmp:/x:ro").unwrap();
        assert!(plan.flags.read_only);
        let plan = parse_volume("/tmp:/x:ro,cache=exclusive").unwrap();
        assert_eq!((plan.flags.read_only, plan.cache), (true, Some(FileAccess::Exclusive)));
        for bad in ["/tmp", "/tmp:x", "/tmp:/x:rx", "/tmp:/x:ro:ro,x", "/nonexistent/a:/x"] {
            assert!(parse_volume(bad).is_err(), "{bad}");
        }
    }
}
