"""Runs one module of CPython's test suite and reports each test as it begins and ends.

Usage: cpython.py MODULE LIMIT [FINISHED-TEST ...]

A test that takes more than LIMIT seconds ends the process; the caller starts it again with the names of the
tests that are finished, which are left out then. Lines of the report begin with `@@`; everything else is the
tests' own output.
"""

import faulthandler
import gc
import os
import sys
import unittest

REPORT = os.dup(1)


def report(*words):
    """Writes one line, in one call, beside whatever the tests print."""
    os.write(REPORT, ("\n@@ " + " ".join(words) + "\n").encode())


class Result(unittest.TestResult):
    """Outcomes as they come; a test with several failures has failed once."""

    def __init__(self, limit):
        super().__init__()
        self.limit, self.outcome = limit, "pass"

    def startTest(self, test):
        super().startTest(test)
        self.outcome = "pass"
        report("begin", test.id())
        faulthandler.dump_traceback_later(self.limit, exit=True, file=sys.__stderr__)

    def stopTest(self, test):
        faulthandler.cancel_dump_traceback_later()
        report("end", test.id(), self.outcome)
        super().stopTest(test)

    def failed(self, test, error):
        self.outcome = "fail"
        print(f"FAILED {test.id()}\n{self._exc_info_to_string(error, test)}", file=sys.__stderr__, flush=True)
        if not hasattr(test, "_testMethodName"):  # a class's or module's set-up
            report("end", test.id().replace(" ", "_"), "fail")

    def addFailure(self, test, error):
        self.failed(test, error)

    def addError(self, test, error):
        self.failed(test, error)

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.failed(test, error)

    def addSkip(self, test, reason):
        self.outcome = "skip"
        if not hasattr(test, "_testMethodName"):
            report("end", test.id().replace(" ", "_"), "skip")

    def addUnexpectedSuccess(self, test):
        self.outcome = "fail"


def leaves(suite):
    """The single tests below a suite."""
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from leaves(item)
        else:
            yield item


def without(suite, finished):
    """The suite less the tests of these names, with the order and the fixtures of classes kept."""
    kept = [test for test in leaves(suite) if test.id() not in finished]
    return unittest.TestSuite(kept)


def main(module, limit, *finished):
    from test import support
    from test.support import os_helper, threading_helper

    support.use_resources = ["subprocess", "largefile", "decimal", "cpu", "walltime"]
    support.verbose = False
    threads = threading_helper.threading_setup()
    with os_helper.temp_cwd("work"):
        try:
            suite = unittest.defaultTestLoader.loadTestsFromName("test." + module)
        except unittest.SkipTest as why:
            print(f"{module}: {why}", file=sys.stderr)
            report("end", module, "skip")
            return
        without(suite, set(finished)).run(Result(int(limit)))
        threading_helper.threading_cleanup(*threads)
        support.reap_children()
        gc.collect()
    report("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
