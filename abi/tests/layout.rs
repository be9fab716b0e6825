//! Compares the layout of every structure with the C library's or the kernel's bindings.

use core::mem::{offset_of, size_of};

/// Size, and the offset of each pair of fields: ours, then theirs where its name differs.
macro_rules! layout {
    ($($ours:ty, $theirs:ty: $($field:ident $(= $other:ident)?)*;)*) => {
        $(
            assert_eq!(size_of::<$ours>(), size_of::<$theirs>(), stringify!($ours));
            $(
                assert_eq!(
                    offset_of!($ours, $field),
                    layout!(@theirs $theirs, $field $(, $other)?),
                    concat!(stringify!($ours), ".", stringify!($field))
                );
            )*
        )*
    };
    (@theirs $theirs:ty, $field:ident) => { offset_of!($theirs, $field) };
    (@theirs $theirs:ty, $field:ident, $other:ident) => { offset_of!($theirs, $other) };
}

/// Sizes of structures that no binding has, after the kernel's headers.
macro_rules! sizes {
    ($($ours:ty: $size:literal;)*) => {
        $(assert_eq!(size_of::<$ours>(), $size, stringify!($ours));)*
    };
}

#[test]
fn files() {
    use chitin_abi::fs::*;
    use linux_raw_sys::general as raw;
    layout! {
        Stat, libc::stat: st_dev st_ino st_nlink st_mode st_uid st_gid st_rdev st_size st_blksize st_blocks
            st_atime st_atime_nsec st_mtime st_mtime_nsec st_ctime st_ctime_nsec;
        Statx, libc::statx: stx_mask stx_blksize stx_attributes stx_nlink stx_uid stx_gid stx_mode stx_ino
            stx_size stx_blocks stx_attributes_mask stx_atime stx_btime stx_ctime stx_mtime
            stx_rdev_major stx_rdev_minor stx_dev_major stx_dev_minor stx_mnt_id stx_dio_mem_align
            stx_dio_offset_align stx_subvol stx_atomic_write_unit_min stx_atomic_write_unit_max
            stx_atomic_write_segments_max stx_dio_read_offset_align;
        StatxTimestamp, libc::statx_timestamp: tv_sec tv_nsec;
        Statfs, libc::statfs64: f_type f_bsize f_blocks f_bfree f_bavail f_files f_ffree f_fsid
            f_namelen f_frsize f_flags;
        Flock, libc::flock64: l_type l_whence l_start l_len l_pid;
        OpenHow, libc::open_how: flags mode resolve;
        FOwnerEx, raw::f_owner_ex: kind = type_ pid;
        InotifyEvent, libc::inotify_event: wd mask cookie len;
        MountAttr, libc::mount_attr: attr_set attr_clr propagation userns_fd;
        FileHandle, libc::file_handle: handle_bytes handle_type;
        Utimbuf, libc::utimbuf: actime modtime;
        FsXattr, raw::fsxattr: fsx_xflags fsx_extsize fsx_nextents fsx_projid fsx_cowextsize;
        FileCloneRange, libc::file_clone_range: src_fd src_offset src_length dest_offset;
        FanotifyEventMetadata, libc::fanotify_event_metadata: event_len vers metadata_len mask fd pid;
        Statmount, raw::statmount: size mnt_opts mask sb_dev_major sb_magic sb_flags fs_type mnt_id
            mnt_parent_id mnt_id_old mnt_parent_id_old mnt_attr mnt_propagation mnt_peer_group
            mnt_master propagate_from mnt_root mnt_point mnt_ns_id fs_subtype sb_source opt_num
            opt_array opt_sec_num opt_sec_array supported_mask mnt_uidmap_num mnt_gidmap;
        MntIdReq, raw::mnt_id_req: size mnt_id param mnt_ns_id;
    }
    sizes! { VfsCapData: 24; FileAttr: 24; XattrArgs: 16; Cachestat: 40; CachestatRange: 16; }
    assert_eq!(DIRENT64_NAME_OFFSET, offset_of!(libc::dirent64, d_name));
}

#[test]
fn polling() {
    use chitin_abi::poll::*;
    layout! {
        PollFd, libc::pollfd: fd events revents;
        EpollEvent, libc::epoll_event: events data = u64;
    }
    sizes! { EpollParams: 8; }
    assert_eq!(EpollEvent::new(1, 0x1234_5678_9abc_def0).data(), 0x1234_5678_9abc_def0);
}

#[test]
fn signals() {
    use chitin_abi::signal::*;
    use linux_raw_sys::general as raw;
    layout! {
        SigAction, raw::kernel_sigaction: handler = sa_handler_kernel flags = sa_flags
            restorer = sa_restorer mask = sa_mask;
        StackT, libc::stack_t: sp = ss_sp flags = ss_flags size = ss_size;
        SignalfdSiginfo, libc::signalfd_siginfo: signo = ssi_signo errno = ssi_errno code = ssi_code
            pid = ssi_pid uid = ssi_uid fd = ssi_fd tid = ssi_tid band = ssi_band
            overrun = ssi_overrun trapno = ssi_trapno status = ssi_status int = ssi_int ptr = ssi_ptr
            utime = ssi_utime stime = ssi_stime addr = ssi_addr addr_lsb = ssi_addr_lsb
            syscall = ssi_syscall call_addr = ssi_call_addr arch = ssi_arch;
        SigEvent, libc::sigevent: value = sigev_value signo = sigev_signo notify = sigev_notify
            tid = sigev_notify_thread_id;
    }
    sizes! { SigInfo: 128; SigContext: 256; UContext: 304; RtSigframe: 440; FpxSwBytes: 48; SigSet: 8; }
    assert_eq!(offset_of!(UContext, mcontext), offset_of!(libc::ucontext_t, uc_mcontext));
    assert_eq!(offset_of!(UContext, sigmask), offset_of!(libc::ucontext_t, uc_sigmask));
    // The C library's array of registers, in its order.
    let register = |index: i32| index.unsigned_abs() as usize * 8;
    assert_eq!(offset_of!(SigContext, r8), register(libc::REG_R8));
    assert_eq!(offset_of!(SigContext, rdi), register(libc::REG_RDI));
    assert_eq!(offset_of!(SigContext, rsp), register(libc::REG_RSP));
    assert_eq!(offset_of!(SigContext, rip), register(libc::REG_RIP));
    assert_eq!(offset_of!(SigContext, cs), register(libc::REG_CSGSFS));
    assert_eq!(offset_of!(SigContext, err), register(libc::REG_ERR));
    assert_eq!(offset_of!(SigContext, cr2), register(libc::REG_CR2));
    assert_eq!(offset_of!(SigContext, fpstate), offset_of!(libc::mcontext_t, fpregs));
}

#[test]
fn processes() {
    use chitin_abi::process::*;
    use chitin_abi::{Regs, auxv::Auxv};
    layout! {
        Regs, libc::user_regs_struct: r15 rbp rax rcx orig_rax rip cs eflags rsp ss fs_base gs_base ds es
            fs gs;
        CloneArgs, libc::clone_args: flags pidfd child_tid parent_tid exit_signal stack stack_size tls
            set_tid set_tid_size cgroup;
        Rusage, libc::rusage: ru_utime ru_stime ru_maxrss ru_minflt ru_majflt ru_nivcsw;
        Rlimit, libc::rlimit64: cur = rlim_cur max = rlim_max;
        SockFilter, libc::sock_filter: code jt jf k;
        SockFprog, libc::sock_fprog: len filter;
        SchedParam, libc::sched_param: sched_priority;
        SeccompData, libc::seccomp_data: nr arch instruction_pointer args;
        SeccompNotif, libc::seccomp_notif: id pid flags data;
        SeccompNotifResp, libc::seccomp_notif_resp: id val error flags;
        SeccompNotifAddfd, libc::seccomp_notif_addfd: id flags srcfd newfd newfd_flags;
        SeccompNotifSizes, libc::seccomp_notif_sizes: seccomp_notif seccomp_notif_resp seccomp_data;
        PtraceSyscallInfo, libc::ptrace_syscall_info: op arch instruction_pointer stack_pointer data = u;
        PtracePeeksiginfoArgs, libc::ptrace_peeksiginfo_args: off flags nr;
        PtraceRseqConfiguration, libc::ptrace_rseq_configuration: rseq_abi_pointer rseq_abi_size
            signature flags;
        PrctlMmMap, linux_raw_sys::prctl::prctl_mm_map: start_code brk start_stack env_end auxv auxv_size
            exe_fd;
    }
    sizes! { CapHeader: 8; CapData: 12; SchedAttr: 56; Auxv: 16; Rseq: 32; RseqCs: 32; KcmpEpollSlot: 12; }
}

#[test]
fn times() {
    use chitin_abi::time::*;
    layout! {
        Timespec, libc::timespec: tv_sec tv_nsec;
        Timeval, libc::timeval: tv_sec tv_usec;
        Itimerval, libc::itimerval: it_interval it_value;
        Itimerspec, libc::itimerspec: it_interval it_value;
        Timezone, linux_raw_sys::general::timezone: tz_minuteswest tz_dsttime;
        Tms, libc::tms: tms_utime tms_stime tms_cutime tms_cstime;
        Timex, libc::timex: modes offset freq maxerror esterror status constant precision tolerance time
            tick ppsfreq jitter shift stabil jitcnt calcnt errcnt stbcnt tai;
    }
}

#[test]
fn memory_and_ipc() {
    use chitin_abi::{futex::*, ipc::*, system::*, uio::*};
    use linux_raw_sys::general as raw;
    layout! {
        RobustListHead, raw::robust_list_head: list futex_offset list_op_pending;
        FutexWaitv, raw::futex_waitv: val uaddr flags reserved = __reserved;
        IoVec, libc::iovec: base = iov_base len = iov_len;
        Utsname, libc::utsname: sysname nodename release version machine domainname;
        Sysinfo, libc::sysinfo: uptime loads totalram freeram sharedram bufferram totalswap freeswap procs
            totalhigh freehigh mem_unit;
        IpcPerm, libc::ipc_perm: key = __key uid gid cuid cgid mode seq = __seq;
        ShmidDs, libc::shmid_ds: shm_perm shm_segsz shm_atime shm_dtime shm_ctime shm_cpid shm_lpid
            shm_nattch;
        SemidDs, libc::semid_ds: sem_perm sem_otime sem_ctime sem_nsems;
        MsqidDs, libc::msqid_ds: msg_perm msg_stime msg_rtime msg_ctime msg_cbytes = __msg_cbytes msg_qnum
            msg_qbytes msg_lspid msg_lrpid;
        Sembuf, libc::sembuf: sem_num sem_op sem_flg;
        Seminfo, libc::seminfo: semmap semaem;
        Msginfo, libc::msginfo: msgpool msgseg;
        MqAttr, libc::mq_attr: mq_flags mq_maxmsg mq_msgsize mq_curmsgs;
    }
    sizes! { Shminfo: 72; ShmInfo: 48; Iocb: 64; IoEvent: 32; SigsetArgument: 16; }
    assert_eq!(offset_of!(Iocb, offset), 40);
}

#[test]
fn terminals() {
    use chitin_abi::tty::*;
    layout! {
        Termios, linux_raw_sys::general::termios: c_iflag c_oflag c_cflag c_lflag c_line c_cc;
        Termios2, libc::termios2: c_iflag c_oflag c_cflag c_lflag c_line c_cc c_ispeed c_ospeed;
        Winsize, libc::winsize: ws_row ws_col ws_xpixel ws_ypixel;
    }
    sizes! { Termios: 36; Termio: 18; }
}

#[test]
fn sockets() {
    use chitin_abi::net::*;
    layout! {
        MsgHdr, libc::msghdr: name = msg_name namelen = msg_namelen iov = msg_iov iovlen = msg_iovlen
            control = msg_control controllen = msg_controllen flags = msg_flags;
        MMsgHdr, libc::mmsghdr: hdr = msg_hdr len = msg_len;
        CmsgHdr, libc::cmsghdr: len = cmsg_len level = cmsg_level kind = cmsg_type;
        Ucred, libc::ucred: pid uid gid;
        Linger, libc::linger: onoff = l_onoff linger = l_linger;
        Sockaddr, libc::sockaddr: family = sa_family data = sa_data;
        SockaddrUn, libc::sockaddr_un: family = sun_family path = sun_path;
        SockaddrIn, libc::sockaddr_in: family = sin_family port = sin_port addr = sin_addr;
        SockaddrIn6, libc::sockaddr_in6: family = sin6_family port = sin6_port flowinfo = sin6_flowinfo
            addr = sin6_addr scope_id = sin6_scope_id;
        SockaddrNl, libc::sockaddr_nl: family = nl_family pid = nl_pid groups = nl_groups;
        SockaddrLl, libc::sockaddr_ll: family = sll_family protocol = sll_protocol ifindex = sll_ifindex
            hatype = sll_hatype pkttype = sll_pkttype halen = sll_halen addr = sll_addr;
        SockaddrVm, libc::sockaddr_vm: family = svm_family port = svm_port cid = svm_cid;
        SockaddrStorage, libc::sockaddr_storage: family = ss_family;
        IpMreq, libc::ip_mreq: multiaddr = imr_multiaddr interface = imr_interface;
        IpMreqn, libc::ip_mreqn: multiaddr = imr_multiaddr address = imr_address ifindex = imr_ifindex;
        Ipv6Mreq, libc::ipv6_mreq: multiaddr = ipv6mr_multiaddr ifindex = ipv6mr_interface;
        InPktinfo, libc::in_pktinfo: ifindex = ipi_ifindex spec_dst = ipi_spec_dst addr = ipi_addr;
        In6Pktinfo, libc::in6_pktinfo: addr = ipi6_addr ifindex = ipi6_ifindex;
        SockExtendedErr, libc::sock_extended_err: errno = ee_errno origin = ee_origin kind = ee_type
            code = ee_code info = ee_info data = ee_data;
        PacketMreq, libc::packet_mreq: ifindex = mr_ifindex kind = mr_type alen = mr_alen
            address = mr_address;
        TpacketAuxdata, libc::tpacket_auxdata: status = tp_status mac = tp_mac vlan_tpid = tp_vlan_tpid;
        TcpInfo, linux_raw_sys::net::tcp_info: state = tcpi_state rto = tcpi_rto pmtu = tcpi_pmtu
            rtt = tcpi_rtt snd_cwnd = tcpi_snd_cwnd total_retrans = tcpi_total_retrans
            pacing_rate = tcpi_pacing_rate min_rtt = tcpi_min_rtt delivery_rate = tcpi_delivery_rate
            bytes_sent = tcpi_bytes_sent rehash = tcpi_rehash total_rto_time = tcpi_total_rto_time;
        Ifreq, libc::ifreq: name = ifr_name data = ifr_ifru;
        Ifconf, libc::ifconf: len = ifc_len buf = ifc_ifcu;
        Arpreq, libc::arpreq: pa = arp_pa ha = arp_ha flags = arp_flags dev = arp_dev;
        In6Ifreq, libc::in6_ifreq: addr = ifr6_addr prefixlen = ifr6_prefixlen ifindex = ifr6_ifindex;
    }
    sizes! { Ifmap: 24; }
}

#[test]
fn netlink() {
    use chitin_abi::net::*;
    use linux_raw_sys::netlink as raw;
    layout! {
        NlMsgHdr, libc::nlmsghdr: len = nlmsg_len kind = nlmsg_type flags = nlmsg_flags seq = nlmsg_seq
            pid = nlmsg_pid;
        NlMsgErr, libc::nlmsgerr: error msg;
        RtAttr, libc::nlattr: len = nla_len kind = nla_type;
        RtGenMsg, raw::rtgenmsg: family = rtgen_family;
        IfInfoMsg, raw::ifinfomsg: family = ifi_family kind = ifi_type index = ifi_index
            flags = ifi_flags change = ifi_change;
        IfAddrMsg, raw::ifaddrmsg: family = ifa_family prefixlen = ifa_prefixlen flags = ifa_flags
            scope = ifa_scope index = ifa_index;
        IfaCacheinfo, raw::ifa_cacheinfo: prefered = ifa_prefered valid = ifa_valid cstamp tstamp;
        RtMsg, raw::rtmsg: family = rtm_family table = rtm_table protocol = rtm_protocol scope = rtm_scope
            kind = rtm_type flags = rtm_flags;
        RtNexthop, raw::rtnexthop: len = rtnh_len flags = rtnh_flags hops = rtnh_hops
            ifindex = rtnh_ifindex;
        RtaCacheinfo, raw::rta_cacheinfo: clntref = rta_clntref tsage = rta_tsage;
        NdMsg, raw::ndmsg: family = ndm_family ifindex = ndm_ifindex state = ndm_state flags = ndm_flags
            kind = ndm_type;
        NdaCacheinfo, raw::nda_cacheinfo: confirmed = ndm_confirmed refcnt = ndm_refcnt;
        RtnlLinkStats, raw::rtnl_link_stats: rx_packets tx_bytes multicast tx_compressed rx_nohandler;
        RtnlLinkStats64, raw::rtnl_link_stats64: rx_packets tx_bytes multicast tx_compressed rx_nohandler
            rx_otherhost_dropped;
    }
    sizes! { FibRuleHdr: 12; InetDiagSockid: 48; InetDiagReqV2: 56; InetDiagMsg: 72; UnixDiagReq: 24; UnixDiagMsg: 16; }
}
