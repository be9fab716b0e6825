# needs: /usr/lib/postgresql/15/bin/initdb root
# slow
B=/usr/lib/postgresql/15/bin; D=$(mktemp -d); chown nobody $D; cd $D
as() { setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=$D "$@"; }
as $B/initdb -D $D/data -U pg --no-sync >/dev/null && echo made
as $B/pg_ctl -D $D/data -o "-c listen_addresses='' -k $D" -l $D/log -w start >/dev/null && echo started
q() { as $B/psql -h $D -U pg -At -c "$1" ${2:-postgres}; }
q 'create table t(id serial primary key, v text)'; q "insert into t(v) select 'row' || g from generate_series(1,1000) g"
q 'select count(*), sum(id) from t'; q 'begin; update t set v = upper(v) where id <= 10; select v from t where id = 7; rollback'; q 'vacuum t'
as $B/createdb -h $D -U pg bench; as $B/pgbench -h $D -U pg -i -q bench >/dev/null 2>&1; echo init $?
as $B/pgbench -h $D -U pg -c 4 -j 2 -t 25 bench 2>/dev/null | grep -E 'actually processed|failed'
q 'select sum(abalance) = (select sum(bbalance) from pgbench_branches) from pgbench_accounts' bench
as $B/pg_dump -h $D -U pg -t t postgres | grep -c row; as $B/pg_ctl -D $D/data -m fast stop >/dev/null && echo stopped
