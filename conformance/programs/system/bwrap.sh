# needs: bwrap root
bwrap --ro-bind / / --proc /proc --dev /dev --unshare-all sh -c 'echo in; ls /dev | sort | head -3; ps -e 2>/dev/null | wc -l; cat /proc/net/if_inet6 | wc -l; id -u'; echo $?
bwrap --ro-bind /usr /usr --symlink usr/lib64 /lib64 --symlink usr/lib /lib --symlink usr/bin /bin --tmpfs /tmp --dir /run/x --unshare-pid --die-with-parent --chdir /tmp sh -c 'ls /; pwd; touch /usr/x 2>&1 | grep -c Read-only; echo t > t; cat t'; echo $?
bwrap --ro-bind / / --tmpfs /home --bind . /home/w --setenv A b --uid 1000 --gid 1000 --unshare-user sh -c 'id -u; echo $A; echo new > /home/w/f; kill -9 $$'; echo $?; cat f
