#!/usr/bin/env python3
"""Runs the commands of a page and compares what they print with the page.

    run_console.py PAGE.md [--only-run] [--update]

Every ```console block is run, in order, in the current folder: a line that
begins with "$ " is a command for bash, goes on in lines that begin with "> ", and
the lines below are what it prints, standard error included. A command may fail only if the page shows an "error:".

On the page, "…" alone on a line stands for any lines, and within a line for any
text. Other text must be equal, up to the number of spaces. Numbers:

* exact, if whole, such as parameters, FLOPs and tokens;
* within 2 %, if they have a decimal point or an exponent, such as losses;
* any, if a unit of time, rate or memory follows or a word for one precedes
  (MEASURED below), and dates.

--only-run runs the commands and compares nothing but whether they fail.
--update writes what was printed into the page; blocks with "…" are left alone
where they still match and shown where they do not.
"""
import argparse
import re
import subprocess
import sys

NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?"
MEASURED_AFTER = re.compile(r"\s*(ms|s|min|h|kB|MB|GB|TB|KiB|MiB|GiB|GF/s|[TG]FLOP/s|%|bytes/s|GB/s)\b|\s*%")
MEASURED_BEFORE = re.compile(r"(Time|MFU|Tokens/s|tok/s|Achieved|Peak|ETA|left)\s*:?\s*$")
DATE = re.compile(r"\d{8}_\d{6}(_\d+)?|\b\d+:\d\d:\d\d\b|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*")


def blocks(text):
    """(start, end) of the inside of every ```console block."""
    return [m.span(1) for m in re.finditer(r"^```console\n(.*?)^```", text, flags=re.M | re.S)]


def commands(block):
    """[(command, [lines shown])]"""
    out = []
    for line in block.splitlines():
        if line.startswith("$ "):
            out.append([line[2:], []])
            continue
        assert out, "output before a command: " + line
        command, shown = out[-1]
        if line.startswith("> ") and not shown:
            out[-1][0] = command + "\n" + line[2:]
        else:
            shown.append(line)
    return out


def line_matches(shown, printed):
    shown, printed = DATE.sub("DATE", shown), DATE.sub("DATE", printed)
    pattern, numbers = "", []
    pieces = re.split("(…|%s)" % NUMBER, shown.strip())
    for i, piece in enumerate(pieces):
        if piece == "…":
            pattern += ".*?"
        elif i % 2:
            pattern += "(%s)" % NUMBER
            before = "".join(pieces[:i])
            after = "".join(pieces[i + 1:])
            measured = MEASURED_AFTER.match(after) or MEASURED_BEFORE.search(before)
            numbers.append((piece, bool(measured)))
        else:
            text = r"\s+".join(re.escape(word) for word in re.split(r"\s+", piece))
            # A rate's unit goes with its size.
            if numbers and numbers[-1][1]:
                text = re.sub(r"^(\\s\+)[kMGT](F\b)", r"\1[kMGT]?\2", text)
            pattern += text
    found = re.fullmatch(pattern, printed.strip())
    if not found:
        return False
    for (expected, measured), actual in zip(numbers, found.groups()):
        if measured or expected == actual:
            continue
        if not re.search("[.eE]", expected):
            return False
        a, b = (float(text.replace(",", "")) for text in (expected, actual))
        if abs(a - b) > 0.02 * abs(a):
            return False
    return True


def mismatch(shown, printed):
    """None, or the first line of the page that was not printed where it belongs."""
    at, loose = 0, False
    chunks, chunk = [], []
    for line in shown + [None]:
        if line is None or line.strip() == "…":
            chunks.append(chunk)
            chunk = []
        else:
            chunk.append(line)
    for i, chunk in enumerate(chunks):
        last = i + 1 == len(chunks)
        if last and not loose and at + len(chunk) != len(printed):
            for j, line in enumerate(chunk):
                if at + j >= len(printed) or not line_matches(line, printed[at + j]):
                    return line
            return "(the end)"
        starts = [at]
        if loose:
            starts = [len(printed) - len(chunk)] if last and chunk else range(at, len(printed) - len(chunk) + 1)
        best = 0
        for start in starts:
            equal = 0
            while equal < len(chunk) and 0 <= start + equal < len(printed) and \
                    line_matches(chunk[equal], printed[start + equal]):
                equal += 1
            if equal == len(chunk):
                at = start + equal
                break
            best = max(best, equal)
        else:
            return chunk[best]
        loose = True
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("page")
    parser.add_argument("--only-run", action="store_true")
    parser.add_argument("--update", action="store_true")
    options = parser.parse_args()
    page = open(options.page, encoding="utf-8").read()
    out, end_of_last, bad, count = "", 0, 0, 0
    for start, end in blocks(page):
        out += page[end_of_last:start]
        end_of_last = end
        for command, shown in commands(page[start:end]):
            count += 1
            done = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, encoding="utf-8")
            printed = done.stdout.rstrip("\n").splitlines()
            while shown and not shown[-1]:
                shown.pop()
            may_fail = any("error:" in line for line in shown)
            problem = None
            if done.returncode and not may_fail:
                problem = "exit code %d" % done.returncode
            elif not options.only_run:
                line = mismatch(shown, printed)
                problem = line and "not printed: " + line
            if problem:
                show = options.update and not any("…" in line for line in shown)
                if not show:
                    bad += 1
                    print("$ %s\n%s\n--- printed:\n%s\n--- the page has:\n%s\n" %
                          (command, problem, "\n".join(printed), "\n".join(shown)))
                else:
                    shown = printed
            out += "$ " + command.replace("\n", "\n> ") + "\n" + "".join(line + "\n" for line in shown)
    out += page[end_of_last:]
    if options.update:
        open(options.page, "w", encoding="utf-8").write(out)
    print("%d commands, %d not as the page says" % (count, bad))
    return 1 if bad or not count else 0


if __name__ == "__main__":
    sys.exit(main())
