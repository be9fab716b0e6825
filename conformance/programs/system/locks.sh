# needs: python3 lslocks flock
cat > l.py <<'P'
import fcntl, os, struct, subprocess
f = open("f", "w+b"); f.write(b"x" * 100); f.flush()
fcntl.lockf(f, fcntl.LOCK_EX, 10, 5); fcntl.flock(f, fcntl.LOCK_SH)
fcntl.fcntl(f, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 50, 0, 0))
st = os.fstat(f.fileno())
def own(lines):
    for line in lines:
        words = line.split()
        if words and words[-3].endswith(f":{st.st_ino}"): yield " ".join(words[1:4] + [str(int(words[4] == str(os.getpid())))] + words[-2:])
print(*sorted(own(open("/proc/locks"))), sep="\n")
print(*sorted(own(l[5:] for l in open(f"/proc/self/fdinfo/{f.fileno()}") if l.startswith("lock:"))), sep="\n")
fcntl.lockf(f, fcntl.LOCK_UN); fcntl.flock(f, fcntl.LOCK_UN); print(*own(open("/proc/locks")))
P
python3 l.py; exec 9>g; flock 9; lslocks -n -o TYPE,MODE,START,END -p $$ | sed 's/  */ /g'
