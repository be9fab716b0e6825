//! Standard descriptors of the host as files of the guest.
