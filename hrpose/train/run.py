"""A training run from files to file: data, network, loop, export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from hrpose.device import choose_device
from hrpose.errors import OutputError, UsageError, WeightsError
from hrpose.media.store import Pictures
from hrpose.models.detection import DetectorConfig, load_trunk, person_detector
from hrpose.models.networks import PoseNet, initialise
from hrpose.skeleton import COCO17, Skeleton
from hrpose.train.detection import DetectionTask
from hrpose.train.export import export
from hrpose.train.loop import Task, train
from hrpose.train.pose import PoseTask
from hrpose.train.settings import PoseAugmentation, Settings
from hrpose.train.shards import Labels, mixed, read_labels
from hrpose.types import Size
from hrpose.zoo.checkpoint import read_checkpoint
from hrpose.zoo.convert import rename, unwrap
from hrpose.zoo.files import locate
from hrpose.zoo.specs import DEFAULT_DETECTOR, DEFAULT_POSE, find_spec


@dataclass(frozen=True, slots=True)
class Request:
    """What both trainers are asked for.

    Attributes:
        data: COCO annotations.
        images: Folders and ZIP files of the pictures.
        out: Folder of ``checkpoint.pt``, ``log.csv`` and ``model.safetensors``.
        mix: By source of pictures, how often these come in an epoch, see ``shards.mixed``.
        init: Weights file or model name to start from; None starts from scratch.
        resume: Go on from ``out/checkpoint.pt``.
        device: As in ``choose_device``.
        threads: CPU threads of the network; None leaves PyTorch's choice.
        settings: The loop's settings.
    """

    data: Path
    images: tuple[Path, ...]
    mix: tuple[tuple[str, float], ...]
    out: Path
    init: str | None
    resume: bool
    device: str
    threads: int | None
    settings: Settings


@dataclass(frozen=True, slots=True)
class Trained:
    """How a run ended: the exported file and the step, and whether all steps were done."""

    model: Path
    step: int
    finished: bool


def train_pose(
    request: Request,
    *,
    model: str | None = None,
    size: tuple[int, int] | None = None,
    augmentation: PoseAugmentation = PoseAugmentation(),  # noqa: B008 - frozen
) -> Trained:
    """Trains a pose network.

    Args:
        request: Data, place and settings.
        model: Row of the zoo whose network, codec and skeleton are trained; None: the embedded.
        size: Width and height of the network input instead of the row's, for low-resolution
            phases.
        augmentation: How crops vary.

    Raises:
        HrposeError: Bad data, weights, device or place.
    """
    spec = find_spec(model or DEFAULT_POSE)
    if spec.crop is None or spec.codec is None or spec.skeleton is None:
        raise UsageError(f"{spec.name} is no pose model", hint="see `hrpose models`")
    crop = spec.crop if size is None else replace(spec.crop, size=Size(*size))
    device = choose_device(request.device)
    network = PoseNet(spec.network, len(spec.skeleton))
    initialise(network, seed=request.settings.seed)
    if request.init is not None:
        _start(network, _weights(request.init, "pose"), request.init)
    task = PoseTask(
        network,
        _labels(request, spec.skeleton),
        Pictures(request.images),
        crop=crop,
        codec=spec.codec,
        skeleton=spec.skeleton,
        augmentation=augmentation,
        batch_size=request.settings.batch_size,
        seed=request.settings.seed,
        device=device,
    )
    about = {
        "model": spec.name,
        "input": list(crop.size),
        "people": len(task),
        "augmentation": asdict(augmentation),
    }
    return _run(task, request, device, about)


def train_detector(request: Request, *, canvas: tuple[int, int]) -> Trained:
    """Trains the embedded person detector.

    Args:
        request: Data, place and settings; ``init`` may be a detector, or a pose model whose trunk
            it starts from.
        canvas: Width and height of the training pictures, multiples of 32.

    Raises:
        HrposeError: Bad data, weights, device or place.
    """
    device = choose_device(request.device)
    network = person_detector(DetectorConfig())
    if request.init is not None:
        weights = _weights(request.init, "detect")
        if "final_layer.weight" in weights:
            load_trunk(network, weights)
        else:
            _start(network, weights, request.init)
    task = DetectionTask(
        network,
        _labels(request, COCO17),
        Pictures(request.images),
        canvas=Size(*canvas),
        batch_size=request.settings.batch_size,
        seed=request.settings.seed,
        device=device,
    )
    return _run(task, request, device, {"model": DEFAULT_DETECTOR, "canvas": list(canvas)})


def _labels(request: Request, skeleton: Skeleton) -> list[Labels]:
    labels = read_labels(request.data, skeleton)
    return mixed(labels, dict(request.mix), seed=request.settings.seed)


def _weights(init: str, task: str) -> dict[str, Tensor]:
    """Weights of a file, of one of our checkpoints (their average), or of a model by name."""
    path = Path(init)
    loaded = read_checkpoint(path if path.exists() else locate(find_spec(init)))
    if isinstance(loaded, Mapping) and "average" in loaded:
        loaded = loaded["average"]
    return rename(unwrap(loaded), task)


def _start(network: nn.Module, weights: Mapping[str, Tensor], init: str) -> None:
    """Copies weights, which must fit."""
    own = network.state_dict()
    misfits = [n for n, v in weights.items() if n not in own or own[n].shape != v.shape]
    misfits += own.keys() - weights.keys()
    if misfits:
        raise WeightsError(
            f"{init}: {len(misfits)} weights do not fit the network, first {misfits[0]!r}",
            hint="start from weights of the same network",
        )
    network.load_state_dict(weights)


def _run(
    task: Task, request: Request, device: torch.device, about: Mapping[str, object]
) -> Trained:
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    try:
        request.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{request.out}: {error.strerror}", hint="choose another --out"
        ) from error
    state = train(task, request.settings, request.out, device=device, resume=request.resume)
    model = request.out / "model.safetensors"
    about = {
        **about,
        "data": request.data.name,
        "mix": dict(request.mix),
        "init": Path(request.init or "").name,
        "steps": state.step,
        "settings": asdict(request.settings),
    }
    export(state.average, model, about=about)
    return Trained(model, state.step, state.step >= request.settings.steps)
