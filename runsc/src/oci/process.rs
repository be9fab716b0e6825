//! The process of a container, as data that no longer depends on the JSON.

use std::os::unix::ffi::OsStrExt as _;

use chitin_abi::names;
use oci_spec::runtime::{Capabilities, Process};

use crate::error::Result;
use crate::fail;

/// What a process starts with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) env: Vec<Vec<u8>>,
    pub(crate) cwd: Vec<u8>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) umask: Option<u32>,
    pub(crate) capabilities: CapabilityPlan,
    pub(crate) limits: Vec<Limit>,
    pub(crate) no_new_privileges: bool,
    pub(crate) terminal: bool,
    /// Rows and columns.
    pub(crate) console_size: Option<(u16, u16)>,
    pub(crate) oom_score_adj: Option<i32>,
}

/// The five capability sets, a bit per capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CapabilityPlan {
    pub(crate) bounding: u64,
    pub(crate) effective: u64,
    pub(crate) inheritable: u64,
    pub(crate) permitted: u64,
    pub(crate) ambient: u64,
}

/// A resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) resource: u32,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

/// Every capability that there is.
pub(crate) const ALL_CAPABILITIES: u64 = (1 << 41) - 1;

impl CapabilityPlan {
    /// What a user has who is not confined: root has everything, others may gain everything.
    pub(crate) fn ordinary(uid: u32) -> Self {
        let held = if uid == 0 { ALL_CAPABILITIES } else { 0 };
        Self {
            bounding: ALL_CAPABILITIES,
            effective: held,
            inheritable: 0,
            permitted: held,
            ambient: 0,
        }
    }
}

impl Plan {
    /// Converts what [`super::check`] let pass.
    pub(crate) fn new(process: &Process) -> Result<Self> {
        let bytes = |text: &String| text.clone().into_bytes();
        let user = process.user();
        let args: Vec<Vec<u8>> = process.args().iter().flatten().map(bytes).collect();
        let env: Vec<Vec<u8>> = process.env().iter().flatten().map(bytes).collect();
        for (field, list) in [("args", &args), ("env", &env)] {
            if list.iter().any(|text| text.contains(&0)) {
                return fail!("field process.{field} contains a NUL character");
            }
        }
        Ok(Self {
            args,
            env,
            cwd: process.cwd().as_os_str().as_bytes().to_vec(),
            uid: user.uid(),
            gid: user.gid(),
            groups: user.additional_gids().clone().unwrap_or_default(),
            umask: user.umask(),
            capabilities: capabilities(process)?,
            limits: limits(process)?,
            no_new_privileges: process.no_new_privileges().unwrap_or(false),
            terminal: process.terminal().unwrap_or(false),
            console_size: process
                .console_size()
                .as_ref()
                .map(|size| (clamp(size.height()), clamp(size.width()))),
            oom_score_adj: process.oom_score_adj(),
        })
    }
}

fn clamp(cells: u64) -> u16 {
    u16::try_from(cells).unwrap_or(u16::MAX)
}

fn capabilities(process: &Process) -> Result<CapabilityPlan> {
    let Some(sets) = process.capabilities() else { return Ok(CapabilityPlan::default()) };
    Ok(CapabilityPlan {
        bounding: set("bounding", sets.bounding().as_ref())?,
        effective: set("effective", sets.effective().as_ref())?,
        inheritable: set("inheritable", sets.inheritable().as_ref())?,
        permitted: set("permitted", sets.permitted().as_ref())?,
        ambient: set("ambient", sets.ambient().as_ref())?,
    })
}

fn set(name: &str, list: Option<&Capabilities>) -> Result<u64> {
    let mut bits = 0_u64;
    for capability in list.into_iter().flatten() {
        let text = capability.to_string();
        let full = if text.starts_with("CAP_") { text } else { format!("CAP_{text}") };
        match names::capability_by_name(&full) {
            Some(number) => bits |= 1 << number,
            None => return fail!("field process.capabilities.{name}: {full} is not a capability"),
        }
    }
    Ok(bits)
}

fn limits(process: &Process) -> Result<Vec<Limit>> {
    let mut limits: Vec<Limit> = Vec::new();
    for limit in process.rlimits().iter().flatten() {
        let name = limit.typ().to_string();
        let Some(resource) = names::rlimit_by_name(&name) else {
            return fail!("field process.rlimits: {name} is not a resource");
        };
        if limit.soft() > limit.hard() {
            return fail!("field process.rlimits: soft limit of {name} is above its hard limit");
        }
        if limits.iter().any(|known| known.resource == resource) {
            return fail!("field process.rlimits: {name} is given twice");
        }
        limits.push(Limit { resource, soft: limit.soft(), hard: limit.hard() });
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<Plan> {
        let text =
            format!(r#"{{"cwd":"/","user":{{"uid":1,"gid":2,"umask":18}},"args":["a"],{text}}}"#);
        Plan::new(&super::super::parse(text.as_bytes())?)
    }

    #[test]
    fn capabilities_become_bits() {
        let plan =
            plan(r#""capabilities":{"bounding":["CAP_CHOWN","CAP_KILL"],"ambient":["CAP_KILL"]}"#)
                .unwrap();
        assert_eq!(plan.capabilities.bounding, 1 | 1 << 5);
        assert_eq!(plan.capabilities.ambient, 1 << 5);
        assert_eq!((plan.uid, plan.gid, plan.umask), (1, 2, Some(18)));
    }

    #[test]
    fn limits_are_checked() {
        let ok = plan(r#""rlimits":[{"type":"RLIMIT_NOFILE","soft":1,"hard":2}]"#).unwrap();
        assert_eq!(ok.limits, [Limit { resource: 7, soft: 1, hard: 2 }]);
        let bad = plan(r#""rlimits":[{"type":"RLIMIT_NOFILE","soft":3,"hard":2}]"#).unwrap_err();
        assert!(bad.to_string().contains("RLIMIT_NOFILE"), "{bad}");
    }
}
