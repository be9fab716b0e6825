# needs: python3
cat > t.py <<'P'
import os, sys, threading, subprocess, signal, mmap, sqlite3, ctypes, tempfile, time, socket, select
print(2**100)
out = []
lock = threading.Lock()
def work(i):
    for _ in range(100):
        with lock: out.append(i)
ts = [threading.Thread(target=work, args=(i,)) for i in range(8)]
[t.start() for t in ts]; [t.join() for t in ts]; print(len(out))
print(subprocess.run(["echo", "hi"], capture_output=True, text=True).stdout.strip())
print(subprocess.run("exit 3", shell=True).returncode)
p = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE); print(p.communicate(b"x" * 200000)[0].count(b"x"))
try: subprocess.run(["sleep", "5"], timeout=0.2)
except subprocess.TimeoutExpired: print("timeout")
try: subprocess.run(["/nonexistent"])
except FileNotFoundError as e: print(e.errno)
got = []
signal.signal(signal.SIGUSR1, lambda s, f: got.append(s)); os.kill(os.getpid(), signal.SIGUSR1); print(got)
signal.signal(signal.SIGALRM, lambda s, f: got.append(s)); signal.setitimer(signal.ITIMER_REAL, 0.05); time.sleep(0.2); print(got)
with tempfile.TemporaryFile() as f:
    f.write(b"\0" * 8192); f.flush(); m = mmap.mmap(f.fileno(), 8192); m[100:105] = b"hello"; m.flush(); f.seek(100); print(f.read(5)); m.close()
m = mmap.mmap(-1, 4096)
if os.fork() == 0: m[0:5] = b"child"; os._exit(0)
os.wait(); print(m[0:5])
db = sqlite3.connect("t.db"); db.execute("create table t(a)"); db.executemany("insert into t values(?)", [(i,) for i in range(1000)]); db.commit(); print(db.execute("select sum(a) from t").fetchone())
libc = ctypes.CDLL(None); print(libc.abs(-5), ctypes.sizeof(ctypes.c_long)); print(libc.getpid() == os.getpid())
r, w = os.pipe(); os.write(w, b"a"); print(select.select([r], [], [], 1)[0] == [r])
a, b = socket.socketpair(); a.send(b"sock"); print(b.recv(10))
ep = select.epoll(); ep.register(b, select.EPOLLIN); a.send(b"z"); print(len(ep.poll(1)))
pid = os.fork()
if pid == 0: os._exit(42)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(os.getcwd() == os.path.realpath("."), sorted(os.listdir("."))); os.makedirs("a/b/c"); print([x[0] for x in os.walk("a")])
st = os.stat("t.py"); print(st.st_size > 0, st.st_nlink); os.rename("a", "z"); print(os.path.exists("z/b/c"))
print(os.memfd_create("x") > 0, os.cpu_count() > 0, len(os.urandom(16)), os.sched_getaffinity(0) != set())
P
python3 t.py
