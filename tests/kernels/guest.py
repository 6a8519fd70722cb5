"""In the guest: runs pytest and reports on the second serial port, one TAP line a test (testanything.org)."""
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
PORT = "/dev/ttyS1"


class Tap:
    """The plugin.  A test whose set-up or tear-down fails has failed."""

    def __init__(self):
        self.port = open(PORT, "w", encoding="utf-8", buffering=1)
        self.count = 0
        self.seconds = 0.0
        self.told = ""

    def say(self, text):
        self.port.write(text + "\n")

    def _result(self, ok, report, directive=""):
        self.count += 1
        name = re.sub(r"^(?:.*/)?test_(\w+)\.py::(?:test_)?", r"\1: ", report.nodeid).replace("_", " ").replace("#", "")
        self.say(f"{'ok' if ok else 'not ok'} {self.count} - {name}{directive or f' # {self.seconds:.1f} s'}")

    def _why(self, report):
        """A set-up that many tests share fails many times for one reason."""
        if report.longreprtext == self.told:
            self.say("# as above")
            return
        self.told = report.longreprtext
        for line in self.told.splitlines()[-40:]:
            self.say(f"# {line[:300]}")
        for title, text in report.sections:
            self.say(f"# --- {title}")
            for line in text.splitlines()[-60:]:
                self.say(f"# {line[:300]}")

    def pytest_runtest_logreport(self, report):
        self.seconds = report.duration + (0 if report.when == "setup" else self.seconds)
        if report.failed:
            self._result(False, report)
            self._why(report)
        elif report.skipped:
            self._result(True, report, f" # SKIP {str(report.longrepr[2]).removeprefix('Skipped: ')}")
        elif report.when == "call":
            self._result(True, report)
            for line in report.capstdout.splitlines():
                self.say(f"# {line}")

    def pytest_collectreport(self, report):
        if report.failed:
            self._result(False, report)
            self._why(report)

    def pytest_sessionfinish(self):
        self.say(f"1..{self.count}")


def prepare():
    """There is no compiler here."""
    sys.path.insert(0, str(HERE.parent / "net"))
    import lab
    import steering
    objects = HERE.parent.parent / "objects"
    lab.Lab.compile = lambda self, name: objects / f"{name}.o"
    steering.SteerNet.cc = lambda self, name: objects / name


def main():
    import pytest
    prepare()
    arguments = (HERE.parent.parent / "arguments").read_text(encoding="utf-8").splitlines()
    return pytest.main(["-q", "--color=no", "-p", "no:cacheprovider", "--import-mode=importlib",
                        *arguments], plugins=[Tap()])


if __name__ == "__main__":
    sys.exit(main())
