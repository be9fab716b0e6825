# needs: stress-ng
# slow
for s in cpu fork vm pipe switch timer; do extra=; [ $s = vm ] && extra='--vm-bytes 32m'; stress-ng --$s 2 $extra -t 2 --quiet >/dev/null 2>&1; echo "$s $?"; done
