# typist: runs a command on a pseudo-terminal as a person would, and prints all that it showed.
#
# usage: typist.py COLUMNS COMMAND... < STEPS. A step a line: `expect TEXT` (at most 60 s), `send TEXT`, `columns N`, `wait SECONDS`,
# `close` (the terminal goes away); TEXT is in Python's escapes. The last line is code=N, the exit code (128 + n of a signal).
# SPDX-License-Identifier: MIT
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

LIMIT = 60


def resize(fd, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def bytes_of(text):
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1")


class Terminal:
    def __init__(self, columns, command):
        self.shown, self.mark = b"", 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            resize(0, columns)
            for number in (signal.SIGINT, signal.SIGQUIT):       # who runs the specs in the background has them ignored
                signal.signal(number, signal.SIG_DFL)
            os.execvp(command[0], command)
        resize(self.fd, columns)

    def read(self, seconds):
        if self.fd is None or not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b""
        if not data:
            os.close(self.fd)
            self.fd = None
        self.shown += data
        return True

    def expect(self, text):
        limit = time.time() + LIMIT
        while self.shown.find(text, self.mark) < 0:
            if self.fd is None or time.time() > limit:
                self.shown += b"\n(never came: %r)\n" % text
                return False
            self.read(0.2)
        self.mark = self.shown.find(text, self.mark) + len(text)
        return True

    def step(self, word, text):
        if word == "expect":
            return self.expect(bytes_of(text))
        if word == "send":
            os.write(self.fd, bytes_of(text))
        elif word == "columns":
            resize(self.fd, int(text))
        elif word == "wait":
            until = time.time() + float(text)
            while self.fd is not None and time.time() < until:
                self.read(until - time.time())
        elif word == "close":
            os.close(self.fd)
            self.fd = None
        return True

    def end(self, well):
        limit = time.time() + (LIMIT if well else 0)
        while True:
            while self.read(0.02):
                pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.time() > limit:
                os.kill(self.pid, 9)
                limit = time.time() + LIMIT
            time.sleep(0.02)


def main():
    terminal = Terminal(int(sys.argv[1]), sys.argv[2:])
    well = True
    for line in sys.stdin.read().split("\n"):
        word, _, text = line.partition(" ")
        if word and well:
            well = terminal.step(word, text)
    code = terminal.end(well)
    sys.stdout.buffer.write(terminal.shown + b"\ncode=%d\n" % (code if code >= 0 else 128 - code))


main()
