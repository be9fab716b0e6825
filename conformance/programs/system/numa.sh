# needs: python3
python3 - <<'P'
import ctypes, errno, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
m = mmap.mmap(-1, 4 * 4096); m[:] = b"x" * len(m)
base = ctypes.addressof(ctypes.c_char.from_buffer(m))
pages = (ctypes.c_void_p * 5)(*[base + 4096 * i for i in range(4)], 16)
def call(number, *words):
    r = libc.syscall(number, *words); return r if r >= 0 else errno.errorcode[ctypes.get_errno()]
status = (ctypes.c_int * 5)(*[99] * 5)
print(call(279, 0, 5, pages, None, status, 2), list(status))
nodes = (ctypes.c_int * 5)(); print(call(279, 0, 4, pages, nodes, status, 2), list(status)[:4])
nodes[1] = 1000; print(call(279, 0, 4, pages, nodes, status, 2)); print(call(279, 0, 4, pages, None, status, 64), call(279, 0, 4, None, None, status, 2))
mask = ctypes.c_ulong(1); print(call(256, 0, 64, ctypes.byref(mask), ctypes.byref(mask)), call(256, 0, 64, None, ctypes.byref(mask)))
P
