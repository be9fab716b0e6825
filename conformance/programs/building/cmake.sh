# needs: cmake gcc make
printf 'cmake_minimum_required(VERSION 3.10)\nproject(p C)\nadd_library(l STATIC l.c)\nadd_executable(e e.c)\ntarget_link_libraries(e l)\nenable_testing()\nadd_test(t e)\n' > CMakeLists.txt
echo 'int l(void) { return 0; }' > l.c; echo 'int l(void); int main(void) { return l(); }' > e.c
cmake -S . -B b >/dev/null && cmake --build b >/dev/null && b/e; echo $?; (cd b && ctest 2>&1 | grep 'tests passed')
