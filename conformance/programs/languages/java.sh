# needs: javac java
# slow
cat > T.java <<'J'
import java.nio.file.*; import java.util.concurrent.*; import java.net.*; import java.io.*;
public class T { public static void main(String[] a) throws Exception {
  ExecutorService e = Executors.newFixedThreadPool(4); long s = 0; var l = new java.util.ArrayList<Future<Long>>();
  for (int i = 0; i < 20; i++) { int n = i; l.add(e.submit(() -> { long x = 0; for (int j = 0; j < 100000; j++) x += j % (n + 1); return x; })); }
  for (var f : l) s += f.get(); System.out.println(s);
  Path p = Files.createTempFile("x", "y"); Files.writeString(p, "hello"); System.out.println(Files.readString(p) + Files.size(p)); Files.delete(p);
  try (ServerSocket ss = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) { Future<String> r = e.submit(() -> { try (Socket c = ss.accept()) { return new BufferedReader(new InputStreamReader(c.getInputStream())).readLine(); } });
    try (Socket c = new Socket(ss.getInetAddress(), ss.getLocalPort())) { c.getOutputStream().write("line\n".getBytes()); } System.out.println(r.get()); }
  Process q = new ProcessBuilder("sh", "-c", "echo child; exit 3").inheritIO().start(); System.out.println(q.waitFor());
  WatchService w = FileSystems.getDefault().newWatchService(); Path d = Files.createTempDirectory("w"); d.register(w, StandardWatchEventKinds.ENTRY_CREATE); Files.createFile(d.resolve("n")); System.out.println(w.poll(10, TimeUnit.SECONDS).pollEvents().get(0).context());
  byte[][] m = new byte[50][]; for (int i = 0; i < 500; i++) m[i % 50] = new byte[1 << 20]; System.gc(); System.out.println("gc"); e.shutdown();
  Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("hook"))); new Thread(() -> { try { Thread.sleep(50); } catch (Exception x) { } System.exit(5); }).start(); Thread.sleep(10000);
} }
J
timeout 120 javac T.java && timeout 60 java -Xmx200m T; echo $?
