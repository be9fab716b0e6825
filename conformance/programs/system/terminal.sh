# needs: script tmux
script -qec 'tty | sed s/[0-9].*//; stty size; [ -t 0 ] && echo terminal' /dev/null < /dev/null | tr -d '\r'
export TMUX_TMPDIR=$PWD; unset TMUX; tmux -f /dev/null new-session -d -s s -x 80 -y 24 sh; tmux send-keys -t s 'echo in $((40+2)) tmux' Enter; for i in $(seq 1 200); do sleep 0.1; tmux capture-pane -p -t s | grep -q 'in 42 tmux' && break; done; tmux capture-pane -p -t s | grep -o 'in 42 tmux'; tmux list-sessions -F '#S #{session_windows}'; tmux kill-server; echo $?
python3 -c 'import pty, os; pid, fd = pty.fork()
if pid == 0: os.execvp("sh", ["sh", "-c", "stty -echo; read x; echo got $x"])
os.write(fd, b"line\n"); out = b""
try:
  while True:
    d = os.read(fd, 100)
    if not d: break
    out += d
except OSError: pass
print(out.replace(b"line\r\n", b"")); print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))'
