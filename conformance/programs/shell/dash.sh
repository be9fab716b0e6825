# needs: dash
dash -c 'x=1; while [ $x -le 5 ]; do printf "%s " $x; x=$((x+1)); done; echo'
dash -c 'set -- a b c; for i; do echo $i; done | tail -n 2'
dash -c 'trap "echo bye" 0; exit 4'; echo $?
echo 'read a b; echo "$b-$a"' > s.sh; echo "x y" | dash s.sh
dash -c 'cd /nonexistent' 2>/dev/null; echo $?
dash -c 'exec nonexistent' 2>/dev/null; echo $?
printf '#!/bin/dash\necho script $0 "$@"\n' > run.sh; chmod +x run.sh; ./run.sh 1 "2 3"
