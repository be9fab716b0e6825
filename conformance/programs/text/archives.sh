# tar, gzip, bzip2, xz, zstd, rsync round trips.
# needs: zstd xz rsync
mkdir -p src/dir; seq 1 5000 > src/numbers; ln -s numbers src/link; ln src/numbers src/dir/hard; head -c 100000 /dev/zero > src/zeros; chmod 751 src/dir; touch -d 2021-01-01 src/numbers
for c in gzip bzip2 xz zstd; do tar -C src -cf - . | $c -q > a.$c; rm -rf out; mkdir out; $c -dc a.$c | tar -C out -xf -; diff -r src out && echo "$c same"; stat -c '%a %h %Y' out/dir out/numbers | head -2 | tail -1; readlink out/link; done
tar -czf all.tgz src; tar -tzf all.tgz | sort; tar --sparse -cf s.tar src/zeros && tar -tf s.tar
cp src/numbers n; gzip -k n; zcat n.gz | tail -1; gzip -t n.gz; echo $?
rsync -a src/ copy/; diff -r src copy && echo rsynced; echo more >> src/numbers; rsync -ai src/ copy/; rsync -a --delete --exclude zeros src/ copy2/; ls copy2
cpio --version >/dev/null 2>&1; (cd src; find . | sort | cpio -o 2>/dev/null | wc -c >/dev/null); cp -a src again; diff -r src again; cp -r --reflink=auto src third && echo copied; cp --sparse=always src/zeros z2; stat -c %s z2
