# needs: memcached python3
S=$(mktemp -d)/sock; memcached -s $S -t 2 -u root & M=$!
python3 - $S <<'P'
import socket, sys, time
for _ in range(200):
    try: s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); break
    except OSError: time.sleep(0.02)
f = s.makefile("rwb")
def cmd(line, n=1):
    f.write(line + b"\r\n"); f.flush(); return [f.readline().strip() for _ in range(n)]
print(cmd(b"set a 0 0 5\r\nhello"), cmd(b"get a", 3), cmd(b"get b"), cmd(b"set n 0 0 1\r\n5"), cmd(b"incr n 37"))
for i in range(2000): cmd(b"set k%d 0 0 4\r\n%04d" % (i, i))
print(cmd(b"get k1999", 3), cmd(b"delete a"), cmd(b"get a"))
P
kill $M; wait $M; echo $?
