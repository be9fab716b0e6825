//! Children of a test.

use chitin_abi::Result;
use zerocopy::IntoBytes;

use super::{Arg, Kernel};
use crate::call;

/// A child process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its id.
    pub pid: i32,
}

/// Making children and waiting for them.
pub trait Processes {
    /// A child that runs `body` and exits with what it returns.
    fn child(&self, body: impl FnMut() -> i32) -> Child
    where
        Self: Sized;
    /// `wait4(2)`: the id of the child and its status.
    ///
    /// # Errors
    /// Those of the call.
    fn wait4(&self, pid: i32, options: u32) -> Result<(i32, i32)>;
    /// Waits for a child's end and returns its wait status.
    fn status(&self, child: Child) -> i32;
    /// Runs `body` in a child and returns the child's wait status: 0 unless it is killed or panics.
    fn ends(&self, mut body: impl FnMut()) -> i32
    where
        Self: Sized,
    {
        self.status(self.child(|| {
            body();
            0
        }))
    }
    /// Runs `body` in a child, for what would spoil the test's own process; a panic there is the test's.
    #[track_caller]
    fn apart(&self, body: impl FnMut())
    where
        Self: Sized,
    {
        assert_eq!(self.ends(body), 0, "wait status of a child");
    }
}

impl Processes for &dyn Kernel {
    fn child(&self, mut body: impl FnMut() -> i32) -> Child {
        match self.fork(&mut body) {
            Ok(pid) => Child { pid },
            Err(errno) => panic!("set-up: fork: {errno:?}"),
        }
    }

    fn wait4(&self, pid: i32, options: u32) -> Result<(i32, i32)> {
        let mut status = 0_i32;
        let found = call!(self, WAIT4, pid, status.as_mut_bytes(), options, Arg::Null)?;
        Ok((i32::try_from(found).unwrap_or(-1), status))
    }

    fn status(&self, child: Child) -> i32 {
        match self.wait4(child.pid, 0) {
            Ok((pid, status)) if pid == child.pid => status,
            other => panic!("wait for {child:?}: {other:?}"),
        }
    }
}
