# Background jobs, wait -n, job control.
sleep 0.3 & a=$!
sleep 0.1 & b=$!
wait -n; echo "first $?"
wait $a $b; echo "both $?"
(exit 5) & wait $!; echo "status $?"
pids=; for i in 1 2 3 4 5 6 7 8; do (sleep 0.05; exit $i) & pids="$pids $!"; done
sum=0; for pid in $pids; do wait $pid; sum=$((sum + $?)); done; echo "sum $sum"
set -m
sleep 20 & kill -STOP %1; sleep 0.1; jobs | sed 's/ *$//'
kill -CONT %1; kill %1; wait %1; echo "stopped and killed $?"
sleep 0.1 & fg %% >/dev/null; echo "fg $?"
set +m
ps -o stat= -p $$ | cut -c1
wait 99999 2>/dev/null; echo "no child $?"
