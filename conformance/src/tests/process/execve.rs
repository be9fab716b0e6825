//! Running programs: `execve(2)`, `execveat(2)`.

use chitin_abi::Errno as E;
use chitin_abi::fs::{O_CLOEXEC, O_CREAT, O_RDONLY, O_WRONLY};
use chitin_abi::signal::{SIG_DFL, SIG_IGN, SIGUSR1, SIGUSR2};

use super::super::support::{
    PAGE, apart, as_user, bit, born, end, fd, i32_at, memory, ok, status_of, text, u64_at, until,
    words,
};
use crate::call;
use crate::suite::{Arg, Calls, Files, Kernel, Processes, Threads, fails, tests};

/// Runs a program with these arguments and environment in a child; gives its wait status and standard output.
fn run(
    k: &dyn Kernel,
    path: &str,
    arguments: &[&str],
    environment: &[&str],
    before: impl Fn(),
) -> (i32, String) {
    let child = k.child(|| {
        let out = k.open("out", O_CREAT | O_WRONLY | 0o1000, 0o666).unwrap();
        k.dup3(out, 1, 0).unwrap();
        k.close(out).unwrap();
        before();
        exec(k, path, arguments, environment) as i32
    });
    (k.status(child), text(k, "out"))
}

/// Replaces this process; the raw error, because it may be the exit code.
fn exec(k: &dyn Kernel, path: &str, arguments: &[&str], environment: &[&str]) -> u16 {
    let text = |text: &&str| std::ffi::CString::new(*text).unwrap();
    let path = text(&path);
    let (arguments, environment): (Vec<_>, Vec<_>) =
        (arguments.iter().map(text).collect(), environment.iter().map(text).collect());
    let list = |texts: &[std::ffi::CString]| -> Vec<u8> {
        texts
            .iter()
            .map(|text| text.as_ptr() as u64)
            .chain([0])
            .flat_map(u64::to_ne_bytes)
            .collect()
    };
    call!(k, EXECVE, path.as_c_str(), list(&arguments).as_slice(), list(&environment).as_slice())
        .unwrap_err()
        .raw() as u16
}

fn shell(k: &dyn Kernel, line: &str, before: impl Fn()) -> (i32, String) {
    run(k, "/bin/sh", &["sh", "-c", line], &["PATH=/usr/bin:/bin"], before)
}

fn program(k: &dyn Kernel, name: &str, content: &[u8], mode: u32) {
    let file = k.open(name, O_CREAT | O_WRONLY, 0o755).unwrap();
    k.write(file, content).unwrap();
    call!(k, FCHMOD, file, mode).unwrap();
    k.close(file).unwrap();
}

fn error(k: &dyn Kernel, name: &str) -> i32 {
    i32::from(exec(k, name, &["x"], &[]))
}

/// A program's file with some bytes changed.
fn broken(k: &dyn Kernel, change: impl Fn(&mut Vec<u8>)) -> (i32, String) {
    let mut content = k.content("/bin/true");
    change(&mut content);
    program(k, "broken", &content, 0o755);
    run(k, "./broken", &["x"], &[], || ())
}

const ENOEXEC: i32 = 8;

tests! { "execve", "execve(2)";
    [execve] arguments_arrive_as_given(k) needs Native { assert_eq!(run(k, "/bin/cat", &["cat", "/proc/self/cmdline", ""], &[], || ()).1, "cat\0/proc/self/cmdline\0\0"); }
    [execve] environment_arrives_as_given(k) needs Native { assert_eq!(run(k, "/bin/cat", &["cat", "/proc/self/environ"], &["A=1", "junk", ""], || ()).1, "A=1\0junk\0\0"); }
    [execve] null_argument_list_becomes_one_empty_argument(k) needs Native {
        program(k, "count", b"#!/bin/sh\necho \"$#\"\n", 0o755);
        let child = k.child(|| { k.dup3(k.open("out", O_CREAT | O_WRONLY, 0o666).unwrap(), 1, 0).unwrap(); call!(k, EXECVE, c"./count", Arg::Null, Arg::Null).unwrap_err().raw() });
        assert_eq!((k.status(child), text(k, "out")), (0, "0\n".to_owned()));
    }
    [execve] first_argument_need_not_be_the_path(k) needs Native { assert_eq!(run(k, "/bin/sh", &["other", "-c", "echo $0"], &[], || ()).1, "other\n"); }
    [execve] relative_paths_follow_the_directory(k) needs Native { program(k, "p", b"#!/bin/sh\nexit 3\n", 0o755); assert_eq!(run(k, "p", &["p"], &[], || ()).0, 3 << 8); }
    [execve] missing_program(k) needs Native { assert_eq!(error(k, "none"), 2); }
    [execve] empty_path(k) needs Native { assert_eq!(error(k, ""), 2); }
    [execve] directory_is_eacces(k) needs Native { assert_eq!(error(k, "/tmp"), 13); }
    [execve] component_that_is_no_directory(k) needs Native { assert_eq!(error(k, "/bin/sh/x"), 20); }
    [execve] loop_of_links(k) needs Native { k.symlink("l", "l").unwrap(); assert_eq!(error(k, "l"), 40); }
    [execve] long_name(k) needs Native { assert_eq!(error(k, &"n".repeat(256)), 36); }
    [execve] long_path(k) needs Native { assert_eq!(error(k, &"./".repeat(2100)), 36); }
    [execve] device_is_eacces(k) needs Native { assert_eq!(error(k, "/dev/null"), 13); }
    [execve] fifo_is_eacces(k) needs Native { call!(k, MKNOD, c"fifo", 0o010_755, 0).unwrap(); assert_eq!(error(k, "fifo"), 13); }
    [execve] no_execute_bit_for_root_either(k) needs Root, Native { program(k, "p", b"#!/bin/sh\n", 0o644); assert_eq!(error(k, "./p"), 13); }
    [execve] any_execute_bit_is_enough_for_root(k) needs Root, Native { program(k, "p", b"#!/bin/sh\nexit 4\n", 0o001); assert_eq!(run(k, "./p", &["p"], &[], || ()).0, 4 << 8); }
    [execve] user_without_the_bit(k) needs Root, Native { program(k, "p", b"#!/bin/sh\n", 0o700); call!(k, CHMOD, c".", 0o755).unwrap(); as_user(k, || assert_eq!(error(k, "./p"), 13)); }
    [execve] readable_is_not_needed(k) needs Root, Native {
        program(k, "t", &k.content("/bin/true"), 0o711);
        call!(k, CHMOD, c".", 0o755).unwrap();
        as_user(k, || assert_eq!(k.status(k.child(|| exec(k, "./t", &["t"], &[]).into())), 0));
    }
    [execve] unreadable_program_is_not_dumpable(k) needs Root, Native {
        program(k, "sleep", &k.content("/bin/sleep"), 0o711);
        call!(k, CHMOD, c".", 0o755).unwrap();
        as_user(k, || {
            let child = k.child(|| exec(k, "./sleep", &["sleep", "100"], &[]).into());
            until(k, || text(k, &format!("/proc/{}/comm", child.pid)) == "sleep\n");
            fails(k.readlink(&format!("/proc/{}/exe", child.pid)), E::EACCES);
            end(k, child);
        });
    }
    [execve] searchable_directories_are_needed(k) needs Root, Native {
        k.mkdir("d", 0o700).unwrap();
        program(k, "d/p", b"#!/bin/sh\n", 0o755);
        call!(k, CHMOD, c".", 0o755).unwrap();
        as_user(k, || assert_eq!(error(k, "d/p"), 13));
    }
    [execve] bad_path_pointer(k) needs Native { fails(call!(k, EXECVE, Arg::Bad, Arg::Null, Arg::Null), E::EFAULT); }
    [execve] bad_argument_list(k) needs Native { fails(call!(k, EXECVE, c"/bin/true", Arg::Bad, Arg::Null), E::EFAULT); }
    [execve] bad_environment_list(k) needs Native { fails(call!(k, EXECVE, c"/bin/true", Arg::Null, Arg::Bad), E::EFAULT); }
    [execve] bad_argument_in_the_list(k) needs Native { fails(call!(k, EXECVE, c"/bin/true", words([16, 0]).as_slice(), Arg::Null), E::EFAULT); }
    [execve] argument_list_across_the_end_of_memory(k) needs Native { fails(call!(k, EXECVE, c"/bin/true", Arg::Edge(4), Arg::Null), E::EFAULT); }
    [execve] one_argument_of_128_kib_is_too_long(k) needs Native {
        let long = "x".repeat(32 * PAGE);
        assert_eq!(exec(k, "/bin/true", &["t", &long], &[]), 7);
        assert_eq!(exec(k, "/bin/true", &["t"], &[&long]), 7);
    }
    [execve] argument_just_below_the_limit(k) needs Native { let long = "x".repeat(32 * PAGE - 1); assert_eq!(run(k, "/bin/true", &["t", &long], &[], || ()).0, 0); }
    [execve, setrlimit] all_arguments_share_a_quarter_of_the_stack_limit(k) needs Native {
        let long = "x".repeat(100_000);
        let many = vec![long.as_str(); 12];
        assert_eq!(run(k, "/bin/true", &many, &[], || ()).0, 0);
        let before = || ok(call!(k, SETRLIMIT, 3, words([1 << 22, u64::MAX]).as_slice()));
        assert_eq!(run(k, "/bin/true", &many, &[], before).0, 7 << 8);
    }
    [execve] text_file_busy(k) needs Native {
        program(k, "p", &k.content("/bin/true"), 0o755);
        let writer = k.open("p", O_WRONLY, 0).unwrap();
        assert_eq!(error(k, "./p"), 26);
        k.close(writer).unwrap();
        assert_eq!(run(k, "./p", &["p"], &[], || ()).0, 0);
    }
    [execve, open] running_program_cannot_be_written(k) needs Native {
        program(k, "sleep", &k.content("/bin/sleep"), 0o755);
        let child = k.child(|| exec(k, "./sleep", &["sleep", "100"], &[]).into());
        until(k, || text(k, &format!("/proc/{}/comm", child.pid)) == "sleep\n");
        fails(k.open("sleep", O_WRONLY, 0), E::ETXTBSY);
        fails(call!(k, TRUNCATE, c"sleep", 0), E::ETXTBSY);
        assert!(k.open("sleep", O_RDONLY, 0).is_ok());
        end(k, child);
        assert!(k.open("sleep", O_WRONLY, 0).is_ok());
    }
    [execve] empty_file(k) needs Native { program(k, "p", b"", 0o755); assert_eq!(error(k, "./p"), ENOEXEC); }
    [execve] file_without_a_format(k) needs Native { program(k, "p", b"echo hello\n", 0o755); assert_eq!(error(k, "./p"), ENOEXEC); }
    [execve] elf_magic_alone(k) needs Native { program(k, "p", b"\x7fELF", 0o755); assert_eq!(error(k, "./p"), ENOEXEC); }
    [execve] elf_of_another_machine(k) needs Native { assert_eq!(broken(k, |file| file[18] = 0xb7).0, ENOEXEC << 8); }
    [execve] elf_object_file(k) needs Native { assert_eq!(broken(k, |file| file[16] = 1).0, ENOEXEC << 8); }
    [execve] elf_with_headers_of_another_size(k) needs Native { assert_eq!(broken(k, |file| file[54] = 55).0, ENOEXEC << 8); }
    [execve] elf_without_program_headers(k) needs Native { assert_eq!(broken(k, |file| { file[56] = 0; file[57] = 0; }).0, ENOEXEC << 8); }
    [execve] elf_with_headers_behind_its_end(k) needs Native {
        let status = broken(k, |file| file[32..40].copy_from_slice(&(1_u64 << 40).to_ne_bytes())).0;
        assert!(status == ENOEXEC << 8 || status == 5 << 8, "{status:#x}");
    }
    [execve] elf_with_a_missing_interpreter(k) needs Native {
        let change = |file: &mut Vec<u8>| { let at = file.windows(8).position(|part| part == b"/lib64/l").unwrap(); file[at + 1] = b'X'; };
        assert_eq!(broken(k, change).0, 2 << 8);
    }
    [execve] script_with_a_missing_interpreter(k) needs Native { program(k, "p", b"#!/none\n", 0o755); assert_eq!(error(k, "./p"), 2); }
    [execve] script_with_a_directory_as_interpreter(k) needs Native { program(k, "p", b"#!/tmp\n", 0o755); assert_eq!(error(k, "./p"), 13); }
    [execve] script_without_an_interpreter(k) needs Native { program(k, "p", b"#!\n", 0o755); assert_eq!(error(k, "./p"), ENOEXEC); program(k, "q", b"#!   \t \n", 0o755); assert_eq!(error(k, "./q"), ENOEXEC); }
    [execve] script_line_may_end_with_the_file(k) needs Native { program(k, "p", b"#!/bin/true", 0o755); assert_eq!(run(k, "./p", &["p"], &[], || ()).0, 0); }
    [execve] script_spaces_are_trimmed(k) needs Native { program(k, "p", b"#! \t /bin/echo  a b \t\n", 0o755); assert_eq!(run(k, "./p", &["p", "z"], &[], || ()).1, "a b ./p z\n"); }
    [execve] script_argument_is_one_word(k) needs Native { program(k, "p", b"#!/bin/echo -x y\n", 0o755); assert_eq!(run(k, "./p", &["p"], &[], || ()).1, "-x y ./p\n"); }
    [execve] script_of_a_script(k) needs Native {
        program(k, "a", b"#!/bin/echo 1\n", 0o755);
        program(k, "b", b"#!./a 2\n", 0o755);
        assert_eq!(run(k, "./b", &["b", "3"], &[], || ()).1, "1 ./a 2 ./b 3\n");
    }
    [execve] scripts_nest_five_times_at_most(k) needs Native {
        program(k, "s0", b"#!/bin/true\n", 0o755);
        for level in 1..=6 { program(k, &format!("s{level}"), format!("#!./s{}\n", level - 1).as_bytes(), 0o755); }
        assert_eq!(run(k, "./s4", &["x"], &[], || ()).0, 0);
        assert_eq!(error(k, "./s6"), 40);
    }
    [execve] script_of_itself(k) needs Native { program(k, "p", b"#!./p\n", 0o755); assert_eq!(error(k, "./p"), 40); }
    [execve] script_interpreter_name_too_long(k) needs Native { program(k, "p", format!("#!/{}", "x".repeat(300)).as_bytes(), 0o755); assert_eq!(error(k, "./p"), ENOEXEC); }
    [execve] name_is_the_last_component(k) needs Native { program(k, "a-program-name-of-length", b"#!/bin/cat /proc/self/comm\n", 0o755); assert!(run(k, "./a-program-name-of-length", &["x"], &[], || ()).1.starts_with("a-program-name-\n")); }
    [execve] name_of_a_program_is_not_its_argument(k) needs Native { assert_eq!(run(k, "/bin/cat", &["zzz", "/proc/self/comm"], &[], || ()).1, "cat\n"); }
    [execve] close_on_exec_closes(k) needs Native {
        let (kept, closed) = (k.dup3(0, 60, 0).unwrap(), k.dup3(0, 61, O_CLOEXEC).unwrap());
        assert!(shell(k, "ls /proc/self/fd | tr '\\n' ' '", || ()).1.contains(&format!(" {kept} ")));
        assert!(!shell(k, "ls /proc/self/fd | tr '\\n' ' '", || ()).1.contains(&format!(" {closed} ")));
    }
    [execve] failed_exec_closes_nothing(k) needs Native { let kept = k.dup3(0, 61, O_CLOEXEC).unwrap(); assert_eq!(error(k, "none"), 2); assert_eq!(k.fcntl(kept, 1, 0), Ok(1)); }
    [execve, rt_sigaction] handlers_become_default(k) needs Native { k.catch(SIGUSR1, 0).unwrap(); assert_eq!(shell(k, "kill -USR1 $$; exit 3", || ()).0, SIGUSR1 as i32); }
    [execve, rt_sigaction] ignored_signals_stay_ignored(k) needs Native { k.set_action(SIGUSR2, SIG_IGN).unwrap(); assert_eq!(shell(k, "kill -USR2 $$; exit 3", || ()).0, 3 << 8); k.set_action(SIGUSR2, SIG_DFL).unwrap(); }
    [execve] mask_stays(k) needs Native { let (_, out) = run(k, "/bin/grep", &["grep", "SigBlk", "/proc/self/status"], &[], || ok(k.set_mask(0, bit(SIGUSR1)))); assert_eq!(out, "SigBlk:\t0000000000000200\n"); }
    [execve] pending_signals_stay(k) needs Native {
        let (_, out) = run(k, "/bin/grep", &["grep", "Pnd", "/proc/self/status"], &[], || { k.set_mask(0, bit(SIGUSR1)).unwrap(); k.kill(k.getpid(), SIGUSR1).unwrap(); });
        assert_eq!(out, "SigPnd:\t0000000000000000\nShdPnd:\t0000000000000200\n");
    }
    [execve, sigaltstack] alternate_stack_is_gone(k) needs Native {
        let memory = memory(k, 4);
        let before = || ok(call!(k, SIGALTSTACK, words([memory.address(), 0, 16384]).as_slice(), Arg::Null));
        assert_eq!(run(k, "/bin/true", &["t"], &[], before).0, 0);
    }
    [execve, alarm] alarms_stay(k) needs Native { assert_eq!(run(k, "/bin/sleep", &["sleep", "5"], &[], || ok(call!(k, ALARM, 1))).0, 14); }
    [execve] nice_and_umask_stay(k) needs Native { let (_, out) = shell(k, "umask; nice", || { call!(k, UMASK, 0o27).unwrap(); call!(k, SETPRIORITY, 0, 0, 3).unwrap(); }); assert_eq!(out, "0027\n3\n"); }
    [execve] directory_stays(k) needs Native { k.mkdir("d", 0o755).unwrap(); let (_, out) = shell(k, "basename $(readlink /proc/self/cwd)", || ok(call!(k, CHDIR, c"d"))); assert_eq!(out, "d\n"); }
    [execve, prlimit64] limits_stay(k) needs Native { let (_, out) = shell(k, "ulimit -n", || ok(call!(k, SETRLIMIT, 7, words([123, 456]).as_slice()))); assert_eq!(out, "123\n"); }
    [execve, setpgid] group_and_session_stay(k) needs Native { let (_, out) = shell(k, "cut -d' ' -f5,6 /proc/$$/stat", || ok(call!(k, SETSID))); let (group, session) = out.trim().split_once(' ').unwrap(); assert_eq!(group, session); }
    [execve] locked_and_mapped_memory_is_gone(k) needs Root, Native { let (_, out) = run(k, "/bin/grep", &["grep", "VmLck", "/proc/self/status"], &[], || ok(call!(k, MLOCKALL, 3))); assert_eq!(out, "VmLck:\t       0 kB\n"); }
    [execve] threads_are_gone_and_the_id_is_the_leaders(k) needs Native {
        let child = k.child(|| {
            std::thread::scope(|scope| { scope.spawn(|| loop { k.sleep_ms(100); }); scope.spawn(|| exec(k, "/bin/sh", &["sh", "-c", "[ $(ls /proc/$$/task | wc -l) = 1 ] && exit 9"], &["PATH=/bin:/usr/bin"])); loop { k.sleep_ms(100); } })
        });
        assert_eq!(k.status(child), 9 << 8);
    }
    [execve] failing_exec_in_a_thread_leaves_the_others(k) needs Native { assert_eq!(k.on_thread(|| error(k, "none")), 2); assert_eq!(k.getpid(), call!(k, GETTID).unwrap() as i32); }
    [execve] setuid_bit_changes_the_effective_user(k) needs Root, Native {
        program(k, "id", &k.content("/usr/bin/id"), 0o755);
        call!(k, CHOWN, c"id", 1234, 4321).unwrap();
        call!(k, CHMOD, c"id", 0o6755).unwrap();
        assert_eq!(run(k, "./id", &["id", "-u"], &[], || ()).1, "1234\n");
        assert_eq!(run(k, "./id", &["id", "-g"], &[], || ()).1, "4321\n");
        assert_eq!(run(k, "./id", &["id", "-ru"], &[], || ()).1, "0\n");
    }
    [execve, prctl] setuid_bit_is_ignored_without_new_privileges(k) needs Root, Native {
        program(k, "id", &k.content("/usr/bin/id"), 0o755);
        call!(k, CHOWN, c"id", 1234, 4321).unwrap();
        call!(k, CHMOD, c"id", 0o6755).unwrap();
        assert_eq!(run(k, "./id", &["id", "-u"], &[], || ok(call!(k, PRCTL, 38, 1, 0, 0, 0))).1, "0\n");
    }
    [execve] setgid_without_group_execute_is_a_lock_mark(k) needs Root, Native {
        program(k, "id", &k.content("/usr/bin/id"), 0o755);
        call!(k, CHOWN, c"id", 0, 4321).unwrap();
        call!(k, CHMOD, c"id", 0o2705).unwrap();
        assert_eq!(run(k, "./id", &["id", "-g"], &[], || ()).1, "0\n");
    }
    [execve] setuid_scripts_are_not(k) needs Root, Native {
        program(k, "s", b"#!/usr/bin/id -u\n", 0o755);
        call!(k, CHOWN, c"s", 1234, 0).unwrap();
        call!(k, CHMOD, c"s", 0o4755).unwrap();
        program(k, "s2", b"#!/bin/sh\nid -u\n", 0o755);
        call!(k, CHOWN, c"s2", 1234, 0).unwrap();
        call!(k, CHMOD, c"s2", 0o4755).unwrap();
        assert_eq!(run(k, "./s2", &["s2"], &["PATH=/usr/bin"], || ()).1, "0\n");
    }
    [execve] secure_mode_distrusts_the_environment(k) needs Root, Native {
        program(k, "t", &k.content("/bin/true"), 0o755);
        assert!(run(k, "./t", &["t"], &["LD_SHOW_AUXV=1"], || ()).1.contains("AT_SECURE"));
        call!(k, CHOWN, c"t", 1234, 0).unwrap();
        call!(k, CHMOD, c"t", 0o4755).unwrap();
        assert_eq!(run(k, "./t", &["t"], &["LD_SHOW_AUXV=1"], || ()), (0, String::new()));
    }
    [execve] root_without_effective_id_loses_capabilities(k) needs Root, Native {
        let (_, out) = run(k, "/bin/grep", &["grep", "Cap[PE]", "/proc/self/status"], &[], || ok(call!(k, SETRESUID, 1000, 1000, 1000)));
        assert_eq!(out, "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n");
    }
    [execve] saved_id_becomes_the_effective_one(k) needs Root, Native {
        let (_, out) = run(k, "/bin/grep", &["grep", "Uid", "/proc/self/status"], &[], || ok(call!(k, SETRESUID, 1, 2, 3)));
        assert_eq!(out, "Uid:\t1\t2\t2\t2\n");
    }
    [execve, unshare] shared_descriptors_are_unshared(k) needs Native {
        let file = k.dup3(0, 70, O_CLOEXEC).unwrap();
        let child = born(k, call!(k, CLONE, 0x400 | 17, 0, 0, 0, 0), || exec(k, "/bin/true", &["t"], &[]).into()).unwrap();
        assert_eq!((k.status(child), k.fcntl(file, 1, 0)), (0, Ok(1)));
    }
    [execve] vector_names_the_program(k) needs Native {
        let _ = run(k, "/bin/cat", &["cat", "/proc/self/auxv"], &[], || ());
        let vector = k.content("out");
        let entry = |key: u64| vector.chunks(16).find(|pair| u64_at(pair, 0) == key).map(|pair| u64_at(pair, 8));
        assert_eq!((entry(6), entry(17), entry(4), entry(11)), (Some(4096), Some(100), Some(56), Some(0)));
        for key in [3, 5, 7, 9, 15, 16, 25, 31, 33] { assert!(entry(key).is_some_and(|value| value > 0), "entry {key}"); }
    }
    [execveat] empty_path_runs_the_descriptor(k) needs Native {
        let file = k.open("/bin/true", O_RDONLY, 0).unwrap();
        let child = k.child(|| { let _ = call!(k, EXECVEAT, file, c"", words([c"t".as_ptr() as u64, 0]).as_slice(), Arg::Null, 0x1000); 1 });
        assert_eq!(k.status(child), 0);
    }
    [execveat] descriptor_opened_by_path_alone(k) needs Native {
        let file = k.open("/bin/true", 0o1000_0000, 0).unwrap();
        let child = k.child(|| { let _ = call!(k, EXECVEAT, file, c"", words([c"t".as_ptr() as u64, 0]).as_slice(), Arg::Null, 0x1000); 1 });
        assert_eq!(k.status(child), 0);
    }
    [execveat] relative_to_a_directory(k) needs Native {
        let dir = k.open("/bin", 0o200_000, 0).unwrap();
        let child = k.child(|| { let _ = call!(k, EXECVEAT, dir, c"true", words([c"t".as_ptr() as u64, 0]).as_slice(), Arg::Null, 0); 1 });
        assert_eq!(k.status(child), 0);
    }
    [execveat] unknown_flag(k) needs Native { fails(call!(k, EXECVEAT, -100, c"/bin/true", Arg::Null, Arg::Null, 0x10), E::EINVAL); }
    [execveat] descriptor_that_is_none(k) needs Native { fails(call!(k, EXECVEAT, 999, c"x", Arg::Null, Arg::Null, 0), E::EBADF); }
    [execveat] absolute_path_ignores_the_descriptor(k) needs Native { let child = k.child(|| { let _ = call!(k, EXECVEAT, 999, c"/bin/true", words([c"t".as_ptr() as u64, 0]).as_slice(), Arg::Null, 0); 1 }); assert_eq!(k.status(child), 0); }
    [execveat] descriptor_that_is_no_directory(k) needs Native { let file = k.file("f", b""); fails(call!(k, EXECVEAT, file, c"x", Arg::Null, Arg::Null, 0), E::ENOTDIR); }
    [execveat] link_is_not_followed_with_the_flag(k) needs Native { k.symlink("/bin/true", "l").unwrap(); fails(call!(k, EXECVEAT, -100, c"l", Arg::Null, Arg::Null, 0x100), E::ELOOP); }
    [execveat] script_by_a_close_on_exec_descriptor_is_lost(k) needs Native {
        program(k, "s", b"#!/bin/sh\nexit 3\n", 0o755);
        let file = k.open("s", O_RDONLY | O_CLOEXEC, 0).unwrap();
        fails(call!(k, EXECVEAT, file, c"", words([c"t".as_ptr() as u64, 0]).as_slice(), Arg::Null, 0x1000), E::ENOENT);
    }
    [execveat] script_by_a_descriptor_gets_its_name_under_dev_fd(k) needs Native {
        program(k, "s", b"#!/bin/echo\n", 0o755);
        let file = k.open("s", O_RDONLY, 0).unwrap();
        let child = k.child(|| { k.dup3(k.open("out", O_CREAT | O_WRONLY, 0o666).unwrap(), 1, 0).unwrap(); let _ = call!(k, EXECVEAT, file, c"", words([c"t".as_ptr() as u64, 0]).as_slice(), Arg::Null, 0x1000); 1 });
        assert_eq!((k.status(child), text(k, "out")), (0, format!("/dev/fd/{file}\n")));
    }
    [execve, memfd_create] memory_file_is_a_program(k) needs Native {
        let file = fd(call!(k, MEMFD_CREATE, c"prog", 0));
        k.write(file, &k.content("/bin/true")).unwrap();
        fails(call!(k, EXECVEAT, file, c"", words([c"t".as_ptr() as u64, 0]).as_slice(), Arg::Null, 0x1000), E::ETXTBSY);
        let reader = k.open(&format!("/proc/self/fd/{file}"), O_RDONLY, 0).unwrap();
        k.close(file).unwrap();
        let child = k.child(|| { let _ = call!(k, EXECVEAT, reader, c"", words([c"t".as_ptr() as u64, 0]).as_slice(), Arg::Null, 0x1000); 1 });
        assert_eq!(k.status(child), 0);
    }
    [execve, prctl] name_dumpable_and_death_signal_are_reset(k) needs Native {
        let (_, out) = run(k, "/bin/grep", &["grep", "Name", "/proc/self/status"], &[], || ok(call!(k, PRCTL, 15, c"old")));
        assert_eq!(out, "Name:\tgrep\n");
        apart(k, || { let mut signal = [0_u8; 4]; call!(k, PRCTL, 1, 10, 0, 0, 0).unwrap(); call!(k, PRCTL, 2, &mut signal, 0, 0, 0).unwrap(); assert_eq!(i32_at(&signal, 0), 10); });
        assert_eq!(status_of(k, "self", "Threads"), "1");
    }
}
