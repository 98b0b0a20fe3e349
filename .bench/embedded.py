"""What the embedded pose networks cost: milliseconds a crop of each, in turns, and their ratio.

python .bench/embedded.py --threads 2
"""

import argparse
import statistics
import time

import torch

from hrpose.models.folding import fold_batch_norms
from hrpose.zoo.load import load
from hrpose.zoo.specs import SPECS

CROPS = 8


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    names = [name for name, spec in SPECS.items() if spec.embedded and spec.task == "pose"]
    networks = {
        name: fold_batch_norms(load(name).network).to(memory_format=torch.channels_last)
        for name in names
    }
    crops = torch.randn(CROPS, 3, 256, 192).to(memory_format=torch.channels_last)
    took = {name: [] for name in names}
    with torch.inference_mode():
        for _ in range(given.rounds):
            for name, network in networks.items():
                start = time.perf_counter()
                network(crops)
                took[name].append((time.perf_counter() - start) / CROPS * 1000)
    middle = {name: statistics.median(times[2:]) for name, times in took.items()}
    least = min(middle.values())
    for name, value in middle.items():
        print(f"{name}: {value:.1f} ms a crop, {value / least:.2f} times the fastest")


if __name__ == "__main__":
    main()
