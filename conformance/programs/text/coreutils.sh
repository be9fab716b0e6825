# Every program of coreutils once.
printf 'b 2\na 1\nc 3\n' > t
cat t | tac; nl t; od -c t | head -2; base32 t; base64 t; basenc --base16 t
fmt -w 10 t; pr -t t | head -3; fold -w 2 t | head -3
head -1 t; tail -1 t; split -l 1 t part.; ls part.*; csplit -s t 2; ls xx*
wc t; sum t; cksum t; b2sum t; md5sum t; sha1sum t; sha224sum t; sha256sum t; sha384sum t; sha512sum t
sort t; shuf -n 3 t | sort; uniq t; comm t t; ptx t | wc -l; printf 'a b\nb c\n' | tsort
cut -d' ' -f2 t; paste t t; join <(sort t) <(sort t)
tr a-c x-z < t; printf 'a\tb\n' | expand; printf '        b\n' | unexpand
ls -la t | cut -c1-10; dir t; vdir t | cut -c1-10; dircolors -b | head -c 9; echo
cp t u; dd if=t of=v status=none; install -m 640 t w; mv u u2; rm v; shred -u w; stat -c '%s %a %F' t
link t hl; ln -s t sl; ln t hl2; mkdir d; mkfifo f; mknod g p; readlink sl; rmdir d; unlink hl; stat -c %h t
chgrp 0 t 2>/dev/null; chmod 600 t; chown 0:0 t 2>/dev/null; touch -d 2020-01-02T03:04:05Z t; stat -c %Y t; test -p f; echo $?
df . >/dev/null; du -b t; truncate -s 10000 t; stat -c %s t; sync t
echo e; printf '%05d\n' 42; yes | head -2; false; echo $?; true; expr 3 + 4; tee x < xx00 >/dev/null; cmp x xx00; [ 1 = 1 ]; echo $?
basename /a/b.c .c; dirname /a/b; pathchk a/b; mktemp -u XXXXXX | wc -c; realpath --relative-to=/ /usr/../etc
pwd | sed 's/.*/cwd/'; stty -a 2>&1 </dev/null | head -1; printenv NOPE; echo $?; tty </dev/null
id -u >/dev/null; logname 2>/dev/null >/dev/null; whoami >/dev/null; groups >/dev/null; users >/dev/null; who >/dev/null; echo ids
date -u -d @0 +%F; arch; nproc >/dev/null; uname -sm; hostname >/dev/null 2>&1; hostid >/dev/null; uptime >/dev/null; echo system
chroot --version | head -1; env -i A=1 env; nice -n 5 nice; nohup echo hup 2>/dev/null; stdbuf -oL echo buf; timeout 1 echo to
kill -l | head -1; sleep 0.01; factor 1234567; numfmt --to=iec 123456; seq -s, 5; runcon --version >/dev/null; chcon --version >/dev/null; pinky >/dev/null; echo done
