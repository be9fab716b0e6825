//! Capabilities of the sentry.

use rustix::io::Result;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set,
    set_capabilities, set_keep_capabilities,
};

/// What working on the container's files by descriptors takes, for files whose owners are mapped.
pub(crate) const FILES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID);

/// Keeps permitted capabilities when the user id changes from 0.
pub(super) fn keep_over_setuid() -> Result<()> {
    set_keep_capabilities(true)
}

/// Gives up everything but `keep`, for good.
pub(crate) fn reduce(keep: CapabilitySet) -> Result<()> {
    // The bounding set first: dropping from it takes CAP_SETPCAP.
    for number in 0..=u32::from(u8::MAX).min(63) {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if keep.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            // The first number that this kernel does not know.
            Err(rustix::io::Errno::INVAL) => break,
            other => other?,
        }
    }
    let kept = capabilities(None)?.permitted & keep;
    set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
    )
}
