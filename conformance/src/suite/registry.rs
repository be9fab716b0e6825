//! Declaring tests.

use super::Kernel;

/// What a test needs of its surroundings. The kernel that lacks it is no worse for it: the test is skipped there.
///
/// A body that uses [`Kernel::fork`], [`Kernel::run_beside`] or [`Kernel::catch`] on a subject that has no processes,
/// threads or handlers is skipped without saying so here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// User 0 with all capabilities.
    Root,
    /// A user other than 0.
    User,
    /// Child processes.
    Fork,
    /// Threads.
    Thread,
    /// Signal handlers.
    Handler,
    /// Programs of this machine that can be run (`/bin/sh`).
    Exec,
    /// `/dev/kvm`.
    Kvm,
    /// A pseudo-terminal (`/dev/ptmx`).
    Terminal,
    /// A network interface besides the loopback.
    Network,
    /// A kernel that knows this program's addresses (pointers in structures) and runs its processes for real.
    Native,
}

/// One behaviour.
#[derive(Clone, Copy)]
pub struct Test {
    /// Name in its family.
    pub name: &'static str,
    /// System calls that it covers.
    pub covers: &'static [&'static str],
    /// What it needs.
    pub needs: &'static [Need],
    /// The manual page that says what is right, where it is not its family's.
    pub manual: Option<&'static str>,
    /// The body.
    pub body: fn(&dyn Kernel),
}

/// Tests of one subject.
#[derive(Clone, Copy)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// The manual page that says what is right.
    pub manual: &'static str,
    /// Its tests.
    pub tests: &'static [Test],
}

/// Declares the tests of a family: `[calls] name(kernel) { … }`, with `needs Root, Fork` and then
/// `manual "pipe(7)"` before the body if any.
macro_rules! tests {
    ($family:literal, $manual:literal; $($(#[$meta:meta])* [$($call:ident),*] $name:ident($kernel:ident) $(needs $($need:ident),+)? $(manual $own_manual:literal)? $body:block)*) => {
        /// The tests of this family.
        pub const FAMILY: $crate::suite::Family = $crate::suite::Family {
            name: $family,
            manual: $manual,
            tests: &[$($crate::suite::Test {
                name: stringify!($name),
                covers: &[$(stringify!($call)),*],
                needs: &[$($($crate::suite::Need::$need),+)?],
                manual: $crate::suite::tests!(@manual $($own_manual)?),
                body: $name,
            }),*],
        };
        $($(#[$meta])* fn $name($kernel: &dyn $crate::suite::Kernel) $body)*
    };
    (@manual) => { None };
    (@manual $manual:literal) => { Some($manual) };
}
pub(crate) use tests;

/// All families.
pub fn all() -> &'static [Family] {
    crate::tests::FAMILIES
}

/// The test of this full name (`family/name`).
pub fn find(full: &str) -> Option<&'static Test> {
    let (family, name) = full.split_once('/')?;
    // More than one file may add to a family.
    let mut families = all().iter().filter(|candidate| candidate.name == family);
    families.find_map(|family| family.tests.iter().find(|test| test.name == name))
}
