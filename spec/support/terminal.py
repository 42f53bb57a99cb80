# terminal: talks to a command on a terminal of its own. Arguments: seconds, a file of steps, the command. A step is a line: "> TEXT" is typed
# (^X is control-X, \n return, nothing is added); "< TEXT" waits until that text comes. Prints all that came; exits with 1 at a wait in vain.
# SPDX-License-Identifier: MIT
import os
import pty
import re
import select
import signal
import sys
import time


def typed(text):
    return re.sub(r"\^([A-Z\\])", lambda m: chr(ord(m.group(1)) - 64), text.replace("\\n", "\n")).encode()


def main(seconds, steps, command):
    pid, terminal = pty.fork()
    if pid == 0:
        for number in (signal.SIGINT, signal.SIGQUIT):       # who runs the specs in the background has them ignored
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)
    end, seen, at = time.monotonic() + seconds, b"", 0
    missing = None
    for line in open(steps):
        kind, text = line[0], line.rstrip("\n")[2:]
        if kind == ">":
            os.write(terminal, typed(text))
            continue
        while seen.find(text.encode(), at) < 0 and missing is None:
            left = end - time.monotonic()
            if left < 0 or not select.select([terminal], [], [], left)[0]:
                missing = text
                break
            try:
                more = os.read(terminal, 4096)
            except OSError:
                more = b""
            if not more:
                missing = text
            seen += more
        if missing is not None:
            break
        at = seen.index(text.encode(), at) + len(text)
    os.kill(pid, signal.SIGHUP)
    os.close(terminal)
    sys.stdout.write(seen.decode(errors="replace").replace("\r\n", "\n"))
    if missing is not None:
        sys.stdout.write("\nwaited in vain for: " + missing + "\n")
    return missing is not None


sys.exit(main(float(sys.argv[1]), sys.argv[2], sys.argv[3:]))
