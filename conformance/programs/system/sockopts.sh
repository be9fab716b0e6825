# needs: python3
python3 - <<'P'
import errno, socket
def get(s, level, name, room=64):
    try: return s.getsockopt(level, name, room).hex()
    except OSError as e: return errno.errorcode[e.errno]
def put(s, level, name, value):
    try: s.setsockopt(level, name, value); return "ok"
    except OSError as e: return errno.errorcode[e.errno]
# Settings of the machine, times, structures: congestion control, TCP_INFO, IP_OPTIONS, IP_MSFILTER.
varies = {(0, 4), (0, 41), (6, 11), (6, 13), (6, 24), (6, 26)}
for name, family, kind in (("tcp4", 2, 1), ("udp4", 2, 2), ("tcp6", 10, 1), ("udp6", 10, 2)):
    for level, names in ((0, range(1, 52)), (6, range(1, 38)), (41, range(1, 79))):
        if level == 6 and kind == 2 or level == 41 and family == 2 or level == 0 and family == 10: continue
        for option in names:
            if (level, option) in varies: continue
            s = socket.socket(family, kind); row = [get(s, level, option)]
            for value in (1, 0, -1, 16):
                s.close(); s = socket.socket(family, kind); row += [put(s, level, option, value), get(s, level, option)]
            print(name, level, option, *row); s.close()
s = socket.socket(10, 1); s.bind(("::1", 0)); print(s.getsockopt(41, 26)); s.close()
s = socket.socket(); print([get(s, 1, n) for n in (9, 15, 18, 28, 34, 41, 44, 49, 55, 59, 62, 69, 72, 74, 77)])
P
