"""How fast the app is, on a pseudo-terminal: `make bench-app`, or `python -m tests.bench.app_speed --help`.

Prints a table, and the same as JSON behind it. Nothing here fails for being slow: times depend on the machine and on
what else it does, and are for a person to read. CPU times are the program's own, and hardly depend on that.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from tests.tui.program import Terminal

ROOT: Final = Path(__file__).parents[2]
_ENDLESS = (sys.executable, "-m", "tests.bench.endless", "--model", "endless", "--watch")
_SYNC_QUERY, _SYNC_ANSWER, _FRAME = "\x1b[?2026$p", "\x1b[?2026;1$y", "\x1b[?2026h"
_RARE = [chr(code) for code in range(0x410, 0x450)]  # characters that nothing but the keyboard puts on the screen
_COMPOSER = "─" * 20  # the line above the composer
_BLOCK = re.compile(r"block (\d+)")


_SPY = """import sys
def spy(event, args):
    if event == "import" and args[0] == "torch" and not spied:
        spied.append(1)
        with open("/dev/tty", "wb", 0) as terminal:
            terminal.write(b"\\x1b]9;torch\\x07")
spied = []
sys.addaudithook(spy)
"""
_TORCH = "\x1b]9;torch\x07"  # what it writes: among what the app draws, at the moment when torch is imported


class Timed(Terminal):
    """A program on a terminal that knows frames, and how much of the processor the program took."""

    def __init__(
        self, command: Sequence[str], environment: dict[str, str], columns: int = 100, lines: int = 40
    ) -> None:
        self.began = time.perf_counter()
        super().__init__(command, environment, columns, lines)
        self.until(lambda output: _SYNC_QUERY in output)
        self.send(_SYNC_ANSWER)

    def sees(self, text: str) -> None:
        """Reads until `text` is there."""
        if text not in self.output:
            self.comes(text)

    def comes(self, text: str) -> None:
        """Reads until `text` is in what comes from now on. Looks at that only: the whole grows by megabytes."""
        tail = ""
        while text not in tail:
            tail = tail[len(tail) - len(text) + 1 :] if len(tail) >= len(text) else tail
            tail += self._next(1.0) or ""
            assert self.process.poll() is None, self.output[-2000:]

    def cpu(self) -> float:
        """Seconds of processor so far."""
        return _cpu_of(Path(f"/proc/{self.process.pid}/stat"))

    def main_cpu(self) -> float:
        """The same of the thread that draws."""
        return _cpu_of(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/stat"))

    def rss(self) -> float:
        """MiB of memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def kept_waiting(self) -> float:
        """Seconds in which this process, or a thread of the app that a key passes through, was ready but had no core.

        The engine's thread, which is the last one to be begun, is not counted.
        """
        threads = sorted(Path(f"/proc/{self.process.pid}/task").iterdir(), key=lambda path: int(path.name))[:-1]
        tables = [Path("/proc/thread-self/schedstat"), *(thread / "schedstat" for thread in threads)]
        return sum(int(table.read_text().split()[1]) for table in tables) / 1e9


def _cpu_of(stat: Path) -> float:
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def environment(folder: str, **more: str) -> dict[str, str]:
    """A user's who has never used dgchat, and who wants all steps to be shown."""
    homes = {f"XDG_{kind}_HOME": str(Path(folder) / kind.lower()) for kind in ("DATA", "STATE", "CONFIG")}
    path = os.pathsep.join(str(ROOT / part) for part in ("", "engine", "kernels"))
    rest = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": path, "DGCHAT_PACE": "0"}
    return {**os.environ, **homes, **rest, **more}


def process_times(command: Sequence[str], env: dict[str, str]) -> tuple[float, float]:
    """Seconds on the clock, and of processor."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, command
    process.returncode = 0
    return time.perf_counter() - began, used.ru_utime + used.ru_stime


def starts(repeat: int) -> dict[str, Any]:
    """Empty interpreter, --version and first frame, in turns."""
    clock: dict[str, list[float]] = {"empty": [], "version": [], "paint": []}
    cpu: dict[str, list[float]] = {"empty": [], "version": [], "paint": []}
    torch_after = []
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as folder:
            env = environment(folder)
            for name, args in (("empty", ["-c", "pass"]), ("version", ["-m", "dgchat", "--version"])):
                seconds, used = process_times([sys.executable, *args], env)
                clock[name].append(seconds)
                cpu[name].append(used)
            (Path(folder) / "sitecustomize.py").write_text(_SPY)
            env["PYTHONPATH"] += os.pathsep + folder
            chat = Timed([sys.executable, "-m", "dgchat", "--model", "pocket"], env)
            chat.sees(_COMPOSER)
            clock["paint"].append(time.perf_counter() - chat.began)
            cpu["paint"].append(chat.cpu())
            chat.sees(_TORCH)
            torch_after.append(chat.output.index(_COMPOSER) < chat.output.index(_TORCH))
            chat.kill()
    median = {name: statistics.median(values) for name, values in clock.items()}
    used_median = {name: statistics.median(values) for name, values in cpu.items()}
    return {
        **{f"{name}_s": round(value, 3) for name, value in median.items()},
        **{f"{name}_cpu_s": round(value, 3) for name, value in used_median.items()},
        "version_times_empty": round(median["version"] / median["empty"], 1),
        "torch_after_paint": all(torch_after),
    }


def running(rate: int, canvas: int, keys: int) -> dict[str, Any]:
    """The latency of keys, frames and bytes a second, while a canvas resolves."""
    with tempfile.TemporaryDirectory() as folder:
        env = environment(folder, ENDLESS=json.dumps({"canvas": canvas, "rate": rate, "steps": 0}))
        chat = Timed(_ENDLESS, env)
        chat.sees("ready")
        chat.send("go\r")
        chat.sees("step 100")
        waits = [latency(chat, number) for number in range(keys)]
        start, used, began = len(chat.output), chat.main_cpu(), time.perf_counter()
        chat.read_for(5.0)
        seconds = time.perf_counter() - began
        written = chat.output[start:]
        used = chat.main_cpu() - used
        step = max(map(int, re.findall(r"step (\d+)", written)))
        first = min(map(int, re.findall(r"step (\d+)", written)))
        chat.kill()
    return {
        **spread("key", [seconds for seconds, _ in waits]),
        **spread("key_alone", [max(0.0, seconds - waited) for seconds, waited in waits]),
        "frames_per_s": round(written.count(_FRAME) / seconds, 1),
        "steps_per_s": round((step - first) / seconds),
        "kib_per_s": round(len(written.encode()) / 1024 / seconds),
        "cpu_ms_a_frame": round(1000 * used / max(1, written.count(_FRAME)), 1),
        "cpu_share_drawing": round(used / seconds, 2),
    }


def spread(name: str, seconds: list[float]) -> dict[str, float]:
    """The middle, the slowest 20th and the worst."""
    ordered = [round(1000 * value, 1) for value in sorted(seconds)]
    last = len(ordered) - 1
    return {
        f"{name}_p50_ms": ordered[last // 2],
        f"{name}_p95_ms": ordered[round(0.95 * last)],
        f"{name}_max_ms": ordered[last],
    }


def latency(chat: Timed, number: int) -> tuple[float, float]:
    """Seconds from a key to its character on the screen, and how long of that other programs had the cores."""
    place = number % len(_RARE)
    if place == 0:
        chat.send("\x15")  # Ctrl+U: an empty line again
        chat.read_for(0.3)
    chat.read_for(0.05 + 0.013 * (number % 7))
    waited, began = chat.kept_waiting(), time.perf_counter()
    chat.send(_RARE[place])
    chat.comes(_RARE[place])
    return time.perf_counter() - began, chat.kept_waiting() - waited


def memory(canvas: int, rate: int, marks: Sequence[int]) -> dict[str, Any]:
    """MiB after so many blocks of one answer, of three steps each."""
    with tempfile.TemporaryDirectory() as folder:
        env = environment(folder, ENDLESS=json.dumps({"canvas": canvas, "rate": rate, "steps": 3}))
        chat = Timed(_ENDLESS, env)
        chat.sees("ready")
        found: dict[str, Any] = {"rss_start_mib": round(chat.rss())}
        chat.send("go\r")
        began = time.perf_counter()
        for mark in marks:
            while max([0, *map(int, _BLOCK.findall(chat.output[-20_000:]))]) < mark:
                chat.read_for(0.2)
            found[f"rss_{mark}_mib"] = round(chat.rss())
            found[f"to_{mark}_s"] = round(time.perf_counter() - began, 1)
            print(f"  {mark} blocks: {found[f'rss_{mark}_mib']} MiB", file=sys.stderr, flush=True)
        chat.kill()
    return found


PARTS: Final[dict[str, Callable[[argparse.Namespace], dict[str, Any]]]] = {
    "starts": lambda args: starts(args.repeat),
    "running": lambda args: running(600, 256, args.keys),
    "memory": lambda args: memory(64, 60, [100, 500, 1000]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; all by default")
    parser.add_argument("--repeat", type=int, default=7, help="starts of each kind (%(default)s)")
    parser.add_argument("--keys", type=int, default=200, help="keys that are timed (%(default)s)")
    args = parser.parse_args()
    result: dict[str, Any] = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    for name in args.parts or PARTS:
        result[name] = PARTS[name](args)
        for key, value in result[name].items():
            print(f"{name:<8} {key:<22} {value:>10}", flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
