# needs: socat
socat UNIX-LISTEN:a.sock,fork EXEC:'tr a-z A-Z' & pid=$!
for i in $(seq 1 100); do [ -S a.sock ] && break; sleep 0.05; done
echo hello | socat - UNIX-CONNECT:a.sock; echo again | socat - UNIX-CONNECT:a.sock; head -c 300000 /dev/zero | tr '\0' x | socat -t 5 - UNIX-CONNECT:a.sock | wc -c; kill $pid; wait $pid; echo $?
socat -u OPEN:/etc/hostname PIPE:p & sleep 0.2; timeout 2 cat p > /dev/null; echo "pipe $?"; wait
