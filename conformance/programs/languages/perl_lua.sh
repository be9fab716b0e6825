# needs: perl lua5.4
perl -e 'print join(",", map { $_ ** 2 } 1..5), "\n"; open(P, "-|", "echo piped") or die; print <P>; my $p = fork; if (!$p) { exit 3 } waitpid $p, 0; print $? >> 8, "\n"; $SIG{ALRM} = sub { print "alarm\n" }; alarm 1; select(undef, undef, undef, 1.5); print -s "/etc/passwd" > 0 ? "size\n" : "none\n"; printf "%s\n", (stat "/")[2] & 040000 ? "dir" : "no";'
perl -MPOSIX -MSocket -MIO::Handle -e 'socketpair(A,B,AF_UNIX,SOCK_STREAM,PF_UNSPEC); A->autoflush(1); print A "line\n"; print scalar <B>; print POSIX::strftime("%Y", gmtime 0), "\n"; print `ls / | grep -c etc`;'
lua5.4 -e 'print(2^53, ("x"):rep(5)); local f = io.popen("echo lua"); print(f:read("a")); local t = {} for i = 1, 1e5 do t[i] = i end print(#t); print(os.getenv("HOME") ~= nil, os.execute("exit 3"))'
