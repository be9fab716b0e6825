# Signals and traps.
trap 'echo got USR1' USR1
trap 'echo leaving' EXIT
kill -USR1 $$
(trap 'echo inner TERM; exit 9' TERM; kill -TERM $BASHPID; sleep 5); echo "inner $?"
# Until it is another program it is a copy of this shell, traps and all.
runs() { until grep -qx "$1" /proc/"$2"/comm; do :; done; }
sleep 30 & pid=$!; runs sleep $pid; kill $pid; wait $pid; echo "killed $?"
sleep 30 & pid=$!; runs sleep $pid; kill -9 $pid; wait $pid 2>/dev/null; echo "killed $?"
trap '' INT; kill -INT $$; echo "ignored INT"; trap - INT
timeout 0.2 sleep 5; echo "timeout $?"
timeout -s KILL 0.2 sleep 5; echo "timeout kill $?"
bash -c 'kill -SEGV $$'; echo "segv $?"
bash -c 'kill -ABRT $$'; echo "abrt $?"
(ulimit -c 0; bash -c 'kill -QUIT $$'); echo "quit $?"
trap 'reaped=yes' CHLD; (exit 0); /bin/true; trap - CHLD; echo "reaped $reaped"
kill -l 9 15
exit 7
