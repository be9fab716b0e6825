//! Declaring tests.

use super::Kernel;

/// What a test needs of its surroundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// User 0 with all capabilities.
    Root,
    /// A user other than 0.
    User,
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

/// Declares the tests of a family: `[calls] name(kernel) { … }`, with `needs Root` before the body if any.
macro_rules! tests {
    ($family:literal, $manual:literal; $($(#[$meta:meta])* [$($call:ident),*] $name:ident($kernel:ident) $(needs $($need:ident),+)? $body:block)*) => {
        /// The tests of this family.
        pub const FAMILY: $crate::suite::Family = $crate::suite::Family {
            name: $family,
            manual: $manual,
            tests: &[$($crate::suite::Test {
                name: stringify!($name),
                covers: &[$(stringify!($call)),*],
                needs: &[$($($crate::suite::Need::$need),+)?],
                body: $name,
            }),*],
        };
        $($(#[$meta])* fn $name($kernel: &dyn $crate::suite::Kernel) $body)*
    };
}
pub(crate) use tests;

/// All families.
pub fn all() -> &'static [Family] {
    crate::tests::FAMILIES
}

/// The test of this full name (`family/name`).
pub fn find(full: &str) -> Option<&'static Test> {
    let (family, name) = full.split_once('/')?;
    let family = all().iter().find(|candidate| candidate.name == family)?;
    family.tests.iter().find(|test| test.name == name)
}
