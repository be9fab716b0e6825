# needs: redis-server redis-cli
redis-server --port 0 --unixsocket $PWD/r.sock --save '' --daemonize no --logfile r.log --dir $PWD & pid=$!
for i in $(seq 1 100); do [ -S r.sock ] && break; sleep 0.05; done
c() { redis-cli -s r.sock "$@"; }
c ping; c set k v; c get k; c incrby n 5; c rpush l 1 2 3; c lrange l 0 -1; c eval 'return redis.call("get", "k")' 0
seq 1 1000 | sed 's/.*/set key& &/' | c | sort | uniq -c | sed 's/^ *//'; c dbsize; c save; ls dump.rdb; c bgrewriteaof >/dev/null; c shutdown nosave; wait $pid; echo "exit $?"
