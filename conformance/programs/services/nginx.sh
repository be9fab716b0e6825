# needs: nginx ab root
D=$(mktemp -d); chmod 755 $D; cd $D; mkdir www; seq 1 2000 > www/file
cat > conf <<C
daemon off; pid $D/pid; error_log $D/err; worker_processes 2; user nobody nogroup;
events { worker_connections 64; }
http { access_log off; client_body_temp_path $D/a; proxy_temp_path $D/b; fastcgi_temp_path $D/c; uwsgi_temp_path $D/d; scgi_temp_path $D/e;
 sendfile on; server { listen 127.0.0.1:18080; listen unix:$D/sock; root $D/www; location /up { proxy_pass http://unix:$D/sock:/file; } } }
C
nginx -c $D/conf & N=$!
for i in $(seq 100); do ab -n 1 http://127.0.0.1:18080/file >/dev/null 2>&1 && break; sleep 0.05; done
for u in file up none; do ab -q -n 200 -c 8 http://127.0.0.1:18080/$u 2>/dev/null | grep -E 'Complete requests|Failed|Non-2xx|Document Length'; done
ab -q -k -n 500 -c 4 http://127.0.0.1:18080/file 2>/dev/null | grep -E 'Complete|Failed|Keep-Alive requests'
kill -HUP $N; sleep 0.3; ab -q -n 10 http://127.0.0.1:18080/file 2>/dev/null | grep Complete
kill -QUIT $N; wait $N; echo $?
