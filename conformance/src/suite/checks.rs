//! The facade itself, on the native kernel.

use super::{
    Arg, Calls, Kernel, Processes, Skip, Threads, call, errors, fails_with_one_of, faults,
    half_faults, out, skip,
};
use chitin_abi::Errno;

fn host() -> &'static dyn Kernel {
    &crate::raw::Host
}

/// One test, because there is one edge in a process.
#[test]
fn pointers_are_bad_or_cut_off() {
    let k = host();
    let (reader, writer) = k.pipe2(0).unwrap();
    assert_eq!(call!(k, WRITE, writer, Arg::EdgeIn(b"abcd"), 4), Ok(4));
    let mut back = [0; 4];
    assert_eq!(call!(k, READ, reader, Arg::EdgeOut(&mut back), 4), Ok(4));
    assert_eq!(&back, b"abcd");
    assert_eq!((k.close(reader), k.close(writer)), (Ok(()), Ok(())));
    faults!(k, NEWFSTATAT, -100, c"/", out(144), 0);
    half_faults!(k, NEWFSTATAT, -100, c"/", out(144), 0);
}

#[test]
#[should_panic(expected = "argument 1 is bad")]
fn pointer_that_is_not_looked_at_is_told() {
    faults!(host(), WRITE, -1, b"x", 1);
}

#[test]
fn second_thread_is_of_this_process() {
    let k = host();
    let (there, here) = k.beside(|| k.gettid(), || k.gettid());
    assert_ne!(there, here);
    assert_eq!(k.on_thread(|| k.getpid()), k.getpid());
}

#[test]
fn children_end_as_they_say() {
    assert_eq!(host().ends(|| ()), 0);
    assert_eq!(host().status(host().child(|| 3)), 3 << 8);
}

#[test]
#[should_panic(expected = "rmdir(\"/\"): Err(EBUSY) instead of ENOENT")]
fn lists_of_errors_name_what_differs() {
    let k = host();
    fails_with_one_of(k.rmdir("/"), &[Errno::EBUSY, Errno::ENOTEMPTY]);
    errors! { k.rmdir("/nowhere") => ENOENT, k.rmdir("/") => ENOENT };
}

#[test]
fn skip_is_known_from_other_panics() {
    let payload = std::panic::catch_unwind(|| skip("no such feature")).unwrap_err();
    assert_eq!(payload.downcast::<Skip>().unwrap().0, "no such feature");
}
