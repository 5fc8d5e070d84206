"""Peak memory of one contestant, measured in a process of its own.

`measure` starts that process; this file, run as a script, is what it runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

from bench.contestants import OURS, THEIRS, Contestant, Ours, Task, Transformers, load_engine, model_path

PROMPT_IDS = list(range(5, 69))  # which ids does not matter here, only how many


def measure(name: str, model: str, dtype: str, threads: int | None, max_new_tokens: int) -> dict[str, float]:
    """Peak resident set in MiB of a process that loads the model and answers one prompt of 64 tokens.

    To be called before this process grows: on Linux a child's peak begins at what its parent held.
    """
    command = [sys.executable, __file__, name, model, dtype, str(threads or 0), str(max_new_tokens)]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    memory: dict[str, float] = json.loads(result.stdout)
    return memory


def report(options: argparse.Namespace) -> dict[str, float]:
    """Loads, answers, and tells the largest resident set: with torch alone, and in the end."""
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    torch_alone = peak_mib()
    contestant: Contestant
    if options.name == THEIRS:
        contestant = Transformers(model_path(options.model), options.dtype)
    else:
        contestant = Ours(load_engine(options.model, options.dtype), reference=False)
    contestant.answer(Task(PROMPT_IDS, 1, options.max_new_tokens))
    return {"peak_mib": peak_mib(), "torch_alone_mib": torch_alone}


def peak_mib() -> float:
    """The largest resident set of this process so far, in MiB; NaN on Windows, which keeps no such count."""
    if sys.platform == "win32":
        return float("nan")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=[THEIRS, OURS])
    parser.add_argument("model")
    parser.add_argument("dtype")
    parser.add_argument("threads", type=int)
    parser.add_argument("max_new_tokens", type=int)
    json.dump(report(parser.parse_args()), sys.stdout)


if __name__ == "__main__":
    main()
