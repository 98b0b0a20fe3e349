"""Several processes train as one: gloo on the CPU."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from hrpose.crop import CropSpec
from hrpose.errors import UsageError
from hrpose.media.store import Pictures
from hrpose.skeleton import COCO17
from hrpose.train import distributed
from hrpose.train.distributed import Rank
from hrpose.train.loop import train
from hrpose.train.pose import PoseTask
from hrpose.train.settings import Colour, PoseAugmentation, Settings
from hrpose.train.shards import read_labels
from hrpose.types import Codec, Size

REPO = Path(__file__).parents[2]


def learn(folder: Path, out: Path, rank: int = 0, of: int = 1, port: int = 0) -> None:
    """Trains in one of ``of`` processes, which torchrun would tell the same."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": of, "MASTER_PORT": port}
    if of > 1:
        os.environ.update({name: str(value) for name, value in place.items()})
        os.environ["MASTER_ADDR"] = "127.0.0.1"
    torch.set_num_threads(1)
    device = distributed.join(torch.device("cpu"))
    torch.manual_seed(3)
    # Without batch norms: their statistics are those of each process, as in published trainings.
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(8, 17, 1),
    )  # fmt: skip
    still = PoseAugmentation(
        scale=0, rotation=0, rotation_share=0, flip=0, half_body=0, shift=0,
        colour=Colour(brightness=0, contrast=0, saturation=0, tint=0, grey=0, erase=0),
    )  # fmt: skip
    task = PoseTask(
        network, read_labels(folder / "train.json", COCO17), Pictures([folder]),
        crop=CropSpec(Size(48, 64)), codec=Codec(), skeleton=COCO17, augmentation=still,
        batch_size=8,
    )  # fmt: skip
    settings = Settings(steps=12, batch_size=8, lr=0.01, warmup=2, log_steps=1, ema=0.5)
    state = train(task, settings, out, device=device, resume=False)
    torch.save(state.average.state_dict(), out / f"average{distributed.rank().number}.pt")
    distributed.leave()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of noise, and people with different numbers of labelled keypoints."""
    random = np.random.default_rng(4)
    images, annotations = [], []
    for number in range(16):
        pixels = random.integers(0, 256, (80, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 60, "height": 80})
        keypoints = np.zeros((17, 3))
        seen = 1 + number % 8
        keypoints[:seen] = [*random.uniform(10, 50, 2), 2]
        entry = {
            "id": number + 1,
            "image_id": number,
            "category_id": 1,
            "bbox": [2, 2, 56, 76],
            "area": 4000,
            "iscrowd": 0,
            "keypoints": keypoints.ravel().tolist(),
            "num_keypoints": seen,
        }
        annotations.append(entry)
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1}]}
    (tmp_path / "train.json").write_text(json.dumps(document))
    return tmp_path


def losses(out: Path) -> list[float]:
    with (out / "log.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def check(folder: Path, one: Path, two: Path) -> None:
    assert len(losses(one)) == len(losses(two)) == 12
    assert losses(one)[-1] < 0.9 * losses(one)[0]
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)  # float32 sums in another order
    whole = torch.load(one / "average0.pt")
    shares = [torch.load(two / f"average{rank}.pt") for rank in (0, 1)]
    for name, value in whole.items():
        assert torch.equal(shares[0][name], shares[1][name])
        torch.testing.assert_close(shares[0][name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.xdist_group("processes")
def test_two_processes_learn_as_one_with_the_whole_batch(
    folder: Path, processes: ForkServerContext
) -> None:
    one, two = folder / "one", folder / "two"
    one.mkdir()
    two.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [processes.Process(target=learn, args=(folder, one))]
    started += [processes.Process(target=learn, args=(folder, two, n, 2, port)) for n in (0, 1)]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
    assert [process.exitcode for process in started] == [0, 0, 0]
    check(folder, one, two)


@pytest.mark.slow
def test_torchrun_starts_them(folder: Path, processes: ForkServerContext) -> None:
    one, two = folder / "one", folder / "two"
    one.mkdir()
    two.mkdir()
    script = folder / "train.py"
    code = "from pathlib import Path; from tests.train.test_distributed import learn; import os"
    rank = "int(os.environ['RANK']), 2, int(os.environ['MASTER_PORT'])"
    script.write_text(f"{code}\nlearn(Path({str(folder)!r}), Path({str(two)!r}), {rank})\n")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)}
    done = subprocess.run(
        [*command, "--nproc-per-node=2", str(script)],
        env=environment, timeout=300, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    alone = processes.Process(target=learn, args=(folder, one))
    alone.start()
    alone.join(120)
    assert alone.exitcode == 0
    check(folder, one, two)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_shares_make_the_whole(count: int) -> None:
    items = list(range(24))
    shares = [Rank(number, count).share(items) for number in range(count)]
    assert sorted(item for share in shares for item in share) == items
    assert {len(share) for share in shares} == {24 // count}


def test_alone_nothing_is_distributed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    device = torch.device("cpu")
    assert distributed.join(device) == device
    assert distributed.rank() == Rank(0, 1)
    network = torch.nn.Linear(1, 1)
    assert distributed.wrap(network, device) is network
    assert distributed.mean(torch.tensor(3.0)) == 3
    assert distributed.gather("x") == ["x"]
    distributed.leave()


@pytest.mark.parametrize("name", ["mps", "cuda:1"])
def test_devices_that_cannot_be_shared(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match=name):
        distributed.join(torch.device(name))
