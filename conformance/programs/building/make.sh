# gcc and make -j2 of 50 files.
# needs: gcc make
for i in $(seq 1 50); do echo "int f$i(void) { return $i; }" > f$i.c; done
{ for i in $(seq 1 50); do echo "int f$i(void);"; done; echo '#include <stdio.h>'; echo 'int main(void) { int s = 0;'; for i in $(seq 1 50); do echo "s += f$i();"; done; echo 'printf("%d\n", s); return 0; }'; } > main.c
printf 'OBJS := $(patsubst %%.c,%%.o,$(wildcard *.c))\nprog: $(OBJS)\n\t@gcc -o $@ $^\n%%.o: %%.c\n\t@gcc -O1 -c -o $@ $<\n' > Makefile
make -s -j2 && ./prog; touch f1.c; make -s; make -q; echo $?; ar rcs lib.a f*.o; nm lib.a | grep -c ' T '; gcc -shared -fPIC -o libx.so f1.c; gcc -o dyn -xc - -xnone ./libx.so <<< 'int f1(void); int main(void) { return f1() + 6; }'; ./dyn; echo $?
