"""on_terminal.py COMMAND...: runs it on a terminal of 80 columns and prints what
it wrote, with the control characters spelled out."""
import fcntl
import os
import pty
import struct
import sys
import termios

pid, screen = pty.fork()
if pid == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.execvp(sys.argv[1], sys.argv[1:])
text = b""
try:
    while chunk := os.read(screen, 65536):
        text += chunk
except OSError:
    pass  # how a terminal says that nobody writes any more
assert os.waitpid(pid, 0)[1] == 0
print(text.decode().replace("\r\n", "\n").replace("\x1b", "<ESC>").replace("\r", "<CR>"))
