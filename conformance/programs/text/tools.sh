# findutils, grep, sed, gawk, diff, file, less.
# needs: gawk file
mkdir -p tree/{a,b}/{x,y}; for f in tree/*/*; do echo "$f content" > $f/file.txt; done
find tree -type f | sort; find tree -name '*.txt' -exec grep -l 'a/x' {} +; find tree -type d -empty; find tree -newer tree/a -type f | wc -l
find tree -type f -print0 | sort -z | xargs -0 -n 2 echo; find tree -delete; ls
printf 'alpha\nbeta\ngamma\n' > t; grep -n a t; grep -c '^b' t; grep -E '(al|ga)' t; grep -r beta . ; grep -q zzz t; echo $?; grep -P '\bg' t
sed -n '2p;$p' t; sed -i 's/a/A/g' t; cat t; sed 's/\(.\)\(.\)/\2\1/' t
gawk '{n += length($0)} END {print n, NR}' t; gawk 'BEGIN {while (("echo sub" | getline l) > 0) print l; system("echo sys")}'
gawk '{print | "sort -r"}' t
printf 'alpha\nBETA\n' > u; diff t u; diff -u t u | tail -n +3; echo $?; cmp t u; diff -r . . ; sdiff t u | wc -l; diff3 t u t >/dev/null; echo $?
file /bin/true | grep -o ELF; file t u; less -FX t; more t | cat
updatedb --version >/dev/null 2>&1; xargs -P 4 -I{} sh -c 'echo {}' < t | sort
