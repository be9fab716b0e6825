# What the dynamic linker finds out about the processor, from the first start on. (One register says which core it is on.)
for i in $(seq 12); do /lib64/ld-linux-x86-64.so.2 --list-diagnostics | grep '^x86' | grep -v 'features\[0x0\].cpuid\[0x1\]'; done | sort | uniq -c
