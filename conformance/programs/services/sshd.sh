# needs: /usr/sbin/sshd ssh ssh-keygen root
D=$(mktemp -d); cd $D; mkdir -p /run/sshd; ssh-keygen -q -t ed25519 -N '' -f host; ssh-keygen -q -t ed25519 -N '' -f key; chmod 755 $D
/usr/sbin/sshd -D -p 18022 -h $D/host -o ListenAddress=127.0.0.1 -o AuthorizedKeysFile=$D/key.pub -o StrictModes=no -o UsePAM=no -o PermitRootLogin=yes -o PidFile=none -E $D/log & P=$!
s() { timeout 20 ssh -F none -p 18022 -i $D/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR root@127.0.0.1 "$@"; }
for i in $(seq 100); do s true && break; sleep 0.1; done
s 'echo hello; exit 4'; echo $?; seq 100000 | s cat | md5sum; s -tt 'tty; stty size; echo $TERM' < /dev/null | tr -d '\r'; kill $P; wait $P; echo done
