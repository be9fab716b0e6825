//! Names of numbered things, as `config.json` of a container and `/proc` write them.

const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

const LIMITS: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

fn position(table: &[&str], name: &str) -> Option<u32> {
    let index = table.iter().position(|known| known.eq_ignore_ascii_case(name))?;
    u32::try_from(index).ok()
}

fn entry(table: &'static [&'static str], number: u32) -> Option<&'static str> {
    table.get(usize::try_from(number).ok()?).copied()
}

/// The capability of a name such as `"CAP_CHOWN"`, in letters of either case.
pub fn capability_by_name(name: &str) -> Option<u32> {
    position(&CAPABILITIES, name)
}

/// The name of a capability.
pub fn capability_name(capability: u32) -> Option<&'static str> {
    entry(&CAPABILITIES, capability)
}

/// The resource of a name such as `"RLIMIT_NOFILE"`, in letters of either case.
pub fn rlimit_by_name(name: &str) -> Option<u32> {
    position(&LIMITS, name)
}

/// The name of a resource.
pub fn rlimit_name(resource: u32) -> Option<&'static str> {
    entry(&LIMITS, resource)
}
