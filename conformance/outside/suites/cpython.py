"""CPython's own tests (Debian: libpython3.11-testsuite), those that touch the kernel; one unit per module."""

from pathlib import Path

from harness import Unit, marks

PACKAGES = ["libpython3.11-testsuite", "python3"]
PYTHON = "/usr/bin/python3.11"
GUEST = Path(__file__).parent.parent / "guests/cpython.py"
TEST_SECONDS = 150

MODULES = """
test_posix test_os test_posixpath test_genericpath test_fork1 test_wait3 test_wait4 test_mmap test_fcntl test_ioctl
test_select test_selectors test_poll test_epoll test_devpoll test_pty test_openpty test_tempfile test_shutil test_glob
test_pathlib test_fnmatch test_filecmp test_fileinput test_io test_fileio test_file test_bufio test_memoryio test_largefile
test_file_eintr test_eintr test_resource test_time test_timeout test_signal test_threadsignals test_thread test_threading
test_threading_local test_threadedtempfile test_sched test_queue test_subprocess test_popen test_pipes test_faulthandler
test_pwd test_grp test_spwd test_locale test_c_locale_coercion test_utf8_mode test_socket test_socketserver test_ftplib
test_poplib test_smtplib test_imaplib test_nntplib test_telnetlib test_asyncore test_asynchat test_ssl test_httplib
test_httpservers test_xmlrpc test_docxmlrpc test_urllib2_localnet test_wsgiref test_logging test_syslog test_sqlite3 test_dbm
test_dbm_dumb test_dbm_gnu test_dbm_ndbm test_shelve test_zipfile test_zipfile64 test_zipapp test_zipimport test_tarfile test_gzip
test_bz2 test_lzma test_zlib test_mailbox test_platform test_sysconfig test_sys test_site test_cmd_line test_cmd_line_script
test_script_helper test_runpy test_import test_importlib test_pkgutil test_pkg test_venv test_ensurepip test_uuid test_random
test_hashlib test_getpass test_readline test_curses test_ctypes test_gdb test_pdb test_tracemalloc test_gc test_atexit test_audit
test_embed test_finalization test_interpreters test__xxsubinterpreters test_capi test_crypt
test_strftime test_compileall test_py_compile test_distutils test_trace test_profile
test_regrtest test_linecache test_netrc test_mimetypes test_webbrowser
test_asyncio test_concurrent_futures test_multiprocessing_main_handling test_multiprocessing_fork
test_multiprocessing_forkserver test_multiprocessing_spawn
""".split()


def units(state: Path) -> list[Unit]:
    """One unit per module; a test that never ends costs its own time only."""
    return [unit(module) for module in MODULES]


def unit(module: str) -> Unit:
    command = [PYTHON, str(GUEST), module, str(TEST_SECONDS)]
    return Unit(module, command, marks, limit=900, resume=lambda finished: command + finished)
