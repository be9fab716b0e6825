# needs: python3
cat > m.py <<'P'
import multiprocessing as mp, sys
def sq(x): return x * x
def put(q): q.put("from child")
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        ctx = mp.get_context(method)
        with ctx.Pool(3) as pool: print(method, pool.map(sq, range(10)))
        q = ctx.Queue(); p = ctx.Process(target=put, args=(q,)); p.start(); print(q.get()); p.join(); print(p.exitcode)
    v = mp.Value("i", 0)
    def inc():
        for _ in range(100):
            with v.get_lock(): v.value += 1
    ps = [mp.get_context("fork").Process(target=inc) for _ in range(4)]; [p.start() for p in ps]; [p.join() for p in ps]; print(v.value)
    from multiprocessing import shared_memory
    s = shared_memory.SharedMemory(create=True, size=4096); s.buf[0] = 7; t = shared_memory.SharedMemory(name=s.name); print(t.buf[0]); t.close(); s.close(); s.unlink()
P
timeout 60 python3 m.py
cat > a.py <<'P'
import asyncio
async def main():
    r = await asyncio.gather(*[asyncio.sleep(0.01 * i, i) for i in range(10)]); print(r)
    p = await asyncio.create_subprocess_exec("sh", "-c", "echo out; echo err >&2; exit 2", stdout=-1, stderr=-1); print(await p.communicate(), p.returncode)
    async def h(r, w): w.write((await r.readline()).upper()); await w.drain(); w.close()
    s = await asyncio.start_unix_server(h, "sock"); r, w = await asyncio.open_unix_connection("sock"); w.write(b"hello\n"); print(await r.read()); s.close()
    loop = asyncio.get_running_loop(); print(await loop.run_in_executor(None, lambda: 5))
    try: await asyncio.wait_for(asyncio.sleep(5), 0.05)
    except asyncio.TimeoutError: print("timeout")
asyncio.run(main())
P
timeout 60 python3 a.py
