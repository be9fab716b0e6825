# needs: busybox
bb=$(command -v busybox)
$bb sh -c 'echo $((1+2)); for i in a b; do echo $i; done'
$bb seq 5 | $bb awk '{s+=$1} END {print s}'
$bb printf 'b\na\n' | $bb sort | $bb tr a-z A-Z
$bb mkdir -p d/e; $bb touch d/e/f; $bb find d | $bb sort
$bb tar cf - d | $bb tar tf -
$bb echo hello | $bb gzip | $bb gunzip
$bb echo hello | $bb sha256sum
$bb ls -1 d; $bb rm -r d; $bb test -d d; echo $?
$bb expr 6 \* 7; $bb dc -e '2 3 + p' ; $bb cal 1 2024 | $bb head -2
$bb vi --help >/dev/null 2>&1; $bb id -u; $bb uname -s
