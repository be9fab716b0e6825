# Running out of descriptors, mappings, threads, timers, memory, watches, file size.
# needs: python3
cat > e.py <<'P'
import ctypes, errno, mmap, os, resource, threading
libc = ctypes.CDLL(None, use_errno=True)
def until_error(make, most):
    kept = []
    for _ in range(most):
        result = make()
        if result is None or result == -1: return errno.errorcode[ctypes.get_errno()]
        kept.append(result)
    return "no end"
def os_error(make, most):
    kept = []
    try:
        for _ in range(most): kept.append(make())
    except OSError as e: return errno.errorcode[e.errno]
    except (MemoryError, RuntimeError) as e: return type(e).__name__
    return "no end"
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
print("descriptors", os_error(lambda: os.open("/dev/null", 0), 1000), os_error(os.pipe, 1000), os_error(lambda: os.memfd_create("m"), 1000))
libc.mmap.restype = ctypes.c_long; libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
state = [0]
def one():
    state[0] ^= 1
    return libc.mmap(None, 4096, 1 + state[0], 0x22, -1, 0)
if os.fork() == 0: print("mappings", until_error(one, 100000), flush=True); os._exit(0)
os.wait()
resource.setrlimit(resource.RLIMIT_SIGPENDING, (64, 64))
timer = ctypes.c_int()
print("timers", until_error(lambda: libc.timer_create(1, None, ctypes.byref(timer)), 100000))
if os.fork() == 0:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    print("memory", os_error(lambda: bytearray(64 << 20), 100), "threads", os_error(lambda: threading.Thread(target=threading.Event().wait, daemon=True).start(), 10000), flush=True); os._exit(0)
os.wait()
if os.fork() == 0:
    os.setuid(4242); resource.setrlimit(resource.RLIMIT_NPROC, (20, 20))
    def child():
        pid = os.fork()
        if pid == 0:
            os.kill(os.getpid(), 19); os._exit(0)
        return pid
    kept = []
    try:
        while len(kept) < 100: kept.append(child())
        print("processes no end", flush=True)
    except OSError as e: print("processes", errno.errorcode[e.errno], flush=True)
    for pid in kept: os.kill(pid, 9)
    for pid in kept: os.waitpid(pid, 0)
    os._exit(0)
os.wait()
P
python3 e.py; echo "still here $?"
