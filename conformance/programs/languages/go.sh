# needs: go
# slow
export HOME=$PWD GOFLAGS=-mod=mod GOCACHE=$PWD/cache GO111MODULE=off
cat > m.go <<'G'
package main
import ("fmt"; "os"; "os/exec"; "os/signal"; "sync"; "syscall"; "time"; "runtime")
func main() {
	var wg sync.WaitGroup; var mu sync.Mutex; n := 0
	for i := 0; i < 1000; i++ { wg.Add(1); go func() { defer wg.Done(); runtime.Gosched(); mu.Lock(); n++; mu.Unlock() }() }
	wg.Wait(); fmt.Println(n)
	out, err := exec.Command("sh", "-c", "echo go-exec; exit 3").CombinedOutput(); fmt.Printf("%s%v\n", out, err)
	c := make(chan os.Signal, 1); signal.Notify(c, syscall.SIGUSR1); syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	select { case s := <-c: fmt.Println(s); case <-time.After(5 * time.Second): fmt.Println("lost") }
	t := time.NewTimer(20 * time.Millisecond); <-t.C; fmt.Println("timer")
	os.WriteFile("x", []byte("abc"), 0644); b, _ := os.ReadFile("x"); fmt.Println(string(b)); runtime.GC(); r, w, _ := os.Pipe(); go w.Write([]byte("pipe")); buf := make([]byte, 4); r.Read(buf); fmt.Println(string(buf))
}
G
go build -o m m.go && ./m
