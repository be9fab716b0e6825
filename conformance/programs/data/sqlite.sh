# needs: sqlite3
sqlite3 x.db 'pragma journal_mode=wal; create table t(a, b); with recursive c(x) as (select 1 union all select x+1 from c where x < 5000) insert into t select x, hex(x) from c; select count(*), sum(a) from t; create index i on t(b); pragma integrity_check;'
for i in 1 2 3 4; do sqlite3 -cmd '.timeout 20000' x.db "insert into t values($i, 'p')" & done; wait; sqlite3 x.db "select count(*) from t where b = 'p'"
sqlite3 x.db .dump | wc -l; sqlite3 x.db 'vacuum; pragma wal_checkpoint(truncate);' ; sqlite3 mem.db 'begin; create table z(q); rollback; select count(*) from sqlite_master;'
