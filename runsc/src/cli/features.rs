//! `runsc features`.

use serde_json::json;

use crate::error::Result;

/// Arguments of `features`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

impl Args {
    /// Prints what the runtime specification asks for.
    pub(crate) fn execute(self) -> Result<u8> {
        let capabilities: Vec<&str> =
            (0..64).filter_map(chitin_abi::names::capability_name).collect();
        let value = json!({
            "ociVersionMin": "1.0.0",
            "ociVersionMax": crate::state::OCI_VERSION,
            "hooks": [],
            "mountOptions": [
                "bind", "defaults", "dev", "exec", "noatime", "nodev", "nodiratime", "noexec", "nosuid", "nosymfollow",
                "private", "rbind", "relatime", "ro", "rprivate", "rshared", "rslave", "runbindable", "rw", "shared",
                "slave", "strictatime", "suid", "unbindable",
            ],
            "linux": {
                "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"],
                "capabilities": capabilities,
                "cgroup": { "v1": false, "v2": false, "systemd": false, "systemdUser": false },
                "seccomp": {
                    "enabled": true,
                    "actions": [
                        "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                        "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",
                    ],
                    "operators": [
                        "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
                        "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE",
                    ],
                    "archs": ["SCMP_ARCH_X86_64"],
                },
                "apparmor": { "enabled": false },
                "selinux": { "enabled": false },
            },
            "annotations": { "io.github.seccomp.libseccomp.version": "none" },
        });
        super::print(&format!("{value:#}\n"))?;
        Ok(0)
    }
}
