# needs: strace gdb gcc
# Debuggers: strace follows children, gdb sets breakpoints.
strace -f -o trace sh -c 'ls / >/dev/null; (echo x | cat)'; echo "status $?"; grep -c '+++ exited with 0 +++' trace
strace -f -e trace=write,exit_group -e signal=none -o trace sh -c 'echo one; (echo two; exit 2); exit 3'; echo "status $?"
sed 's/^[0-9]* *//; s/ *= /= /' trace | sort
strace -c -o counts true; echo "counted $?"; grep -c 'exit_group\|execve' counts
strace -o /dev/null sh -c 'kill -9 $$' 2>/dev/null; echo "killed $?"
strace -e inject=getppid:retval=42 -o /dev/null sh -c 'echo parent $PPID'
sh -c 'sleep 0.6; exit 4' & strace -q -e trace=exit_group -e signal=none -o attached -p $!; wait $!; echo "attached $?"; cat attached
cat >t.c <<'END'
#include <signal.h>
static int add(int a, int b) { return a + b; }
int main(void) {
    int x = add(2, 3);
    signal(SIGUSR1, SIG_IGN);
    raise(SIGUSR1);
    return x - 5;
}
END
gcc -g -O0 -no-pie t.c -o t
cat >commands <<'END'
set pagination off
set print thread-events off
break main
run
bt
next
print x
info registers rip
stepi
print add(20, 22)
set var x = 9
continue
continue
END
gdb -q -batch -x commands ./t 2>&1 | grep -v libthread_db | sed 's/process [0-9]*/process N/'
cat >w.c <<'END'
#include <stdio.h>
int total;
static void bump(int by) { total += by; }
int main(void) {
    for (int i = 0; i < 3; i++) bump(i * i);
    printf("%d\n", total);
    return 0;
}
END
gcc -g -O0 -no-pie w.c -o w
gdb -q -batch -ex 'break main' -ex run -ex 'watch total' -ex 'hbreak bump' -ex continue -ex continue -ex continue -ex 'bt 1' -ex delete -ex continue ./w 2>&1 | grep -v libthread_db | sed 's/process [0-9]*/process N/'
gdb -q -batch -ex run -ex bt --args sh -c 'kill -SEGV $$' 2>&1 | grep -c 'SIGSEGV'
sleep 5 & gdb -q -batch -p $! -ex 'print $_siginfo.si_signo' -ex detach 2>&1 | sed -n 's/ (process.*//; /^\$1/p'; kill $!; wait $! 2>/dev/null; echo "detached $?"
