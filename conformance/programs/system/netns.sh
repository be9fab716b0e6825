# needs: ip ss unshare python3 root
unshare -n sh -c 'ip -br link; ip addr add 127.0.0.1/8 dev lo; ip addr add 127.0.0.1/8 dev lo 2>/dev/null || echo twice $?; ip link set lo up; ip -o addr | awk "{ print \$2, \$3, \$4 }"
 ip addr del 127.0.0.1/8 dev lo; ip -o addr | awk "{ print \$2, \$3, \$4 }"; ip link set lo down; ip -br link'
unshare -n python3 - <<'P'
import errno, socket
def attempt(name, family, act, where):
    with socket.socket(family) as s:
        try: getattr(s, act)(where); print(name, "ok")
        except OSError as e: print(name, errno.errorcode[e.errno])
attempt("connect", socket.AF_INET, "connect", ("127.0.0.1", 9))
attempt("connect", socket.AF_INET6, "connect", ("::1", 9))
attempt("bind", socket.AF_INET, "bind", ("127.0.0.1", 0))
attempt("bind", socket.AF_INET6, "bind", ("::1", 0))
P
unshare -n bash -c 'ip link set lo up; python3 -c "
import socket, subprocess, tempfile, os
os.chdir(tempfile.mkdtemp())
l = socket.socket(); l.bind((\"127.0.0.1\", 7777)); l.listen(7)
c = socket.create_connection((\"127.0.0.1\", 7777)); a, _ = l.accept()
u = socket.socket(socket.AF_UNIX); u.bind(\"name\"); u.listen(3)
d = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); d.bind((\"::1\", 5353))
sh = lambda line: print(subprocess.run(line, shell=True, capture_output=True, text=True).stdout, end=\"\", flush=True)
sh(\"ss -Htln\"); sh(\"ss -Htn state established | wc -l\"); sh(\"ss -Huan\"); sh(\"ss -Hxl | grep -c name\"); sh(\"ss -Htn sport = :7777 | wc -l\")
"' | sed 's/  */ /g'
