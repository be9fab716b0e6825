# ulimit: limits that bite.
ulimit -n 64; ulimit -n
python3 - <<'P'
import os
n = 0
try:
    while True: os.dup(0); n += 1
except OSError as e: print("dup", e.errno, n > 50)
P
(ulimit -f 8; dd if=/dev/zero of=big bs=1024 count=100 2>/dev/null; echo "fsize $?"); stat -c %s big
(ulimit -v 200000; python3 -c 'x = bytearray(400 << 20)' 2>&1 | tail -1)
(ulimit -t 1; bash -c 'while :; do :; done'; echo "cpu $?") 2>/dev/null
(ulimit -s 256; bash -c 'f() { f; }; f' >/dev/null 2>&1; echo "stack $?")
ulimit -u >/dev/null && echo processes
umask 027; touch masked; mkdir maskdir; stat -c '%a %n' masked maskdir
