"""A training run from files to file: data, network, loop, export."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torchvision.models.detection import FasterRCNN

from hrpose.crop import CropSpec
from hrpose.device import choose_device
from hrpose.errors import InputError, OutputError, UsageError
from hrpose.formats.coco import read_detections
from hrpose.media.store import Pictures
from hrpose.models.detection import DetectorConfig, person_detector
from hrpose.models.hrnet import HRNetConfig
from hrpose.models.networks import NETWORKS, initialise
from hrpose.skeleton import COCO17, Skeleton
from hrpose.train import distributed
from hrpose.train.detection import DetectionTask
from hrpose.train.export import export
from hrpose.train.loop import Task, train
from hrpose.train.losses import PoseLoss, Teacher
from hrpose.train.mpii import is_mpii
from hrpose.train.negatives import Negative, find_negatives
from hrpose.train.pose import PoseTask
from hrpose.train.settings import Loss, PoseAugmentation, Settings
from hrpose.train.shards import Labels, mixed
from hrpose.train.sources import Source, labels_of, read_skeleton, read_sources, skeleton_of
from hrpose.train.start import grown, read_start, start_detector, start_pose
from hrpose.types import Codec, Size
from hrpose.zoo.load import load
from hrpose.zoo.own import description, find_model
from hrpose.zoo.specs import DEFAULT_DETECTOR, DEFAULT_POSE, ModelSpec, find_spec


def _quiet(_: str) -> None:
    """Says nothing."""


@dataclass(frozen=True, slots=True)
class Request:
    """What both trainers are asked for.

    Attributes:
        data: Files of labels: COCO, or MPII as the HRNet repository has it.
        images: Folders and ZIP files of the pictures.
        out: Folder of ``checkpoint.pt``, ``log.csv`` and ``model.safetensors``.
        mix: By source of pictures, how often these come in an epoch, see ``shards.mixed``.
        init: Weights file or model name to start from; None starts from scratch.
        grow: Whether the weights to start from may be those of a narrower network.
        resume: Go on from ``out/checkpoint.pt``.
        device: As in ``choose_device``.
        threads: CPU threads of the network; None leaves PyTorch's choice.
        settings: The loop's settings.
        ignore_exif: Whether pictures are taken as they are stored; labels of COCO are for that.
        recipe: Name of the recipe that was followed, if one was; written to the model.
        tell: Called with what a person should know before the first step, a line each.
    """

    data: tuple[Path, ...]
    images: tuple[Path, ...]
    mix: tuple[tuple[str, float], ...]
    out: Path
    init: str | None
    resume: bool
    device: str
    threads: int | None
    settings: Settings
    grow: bool = False
    ignore_exif: bool = False
    recipe: str = ""
    tell: Callable[[str], None] = _quiet


@dataclass(frozen=True, slots=True)
class Trained:
    """How a run ended.

    Attributes:
        model: The exported file.
        step: The last step.
        finished: Whether all steps were done.
        first: Whether this process wrote the files: the only one, or the first of several.
    """

    model: Path
    step: int
    finished: bool
    first: bool = True


@dataclass(frozen=True, slots=True)
class PoseChoice:
    """Which pose network is trained, and on what terms.

    Attributes:
        model: Row of the zoo whose network, codec and skeleton are trained.
        size: Width and height of the network input instead of the row's, for low-resolution
            phases.
        skeleton: File of a skeleton instead of the row's; None takes what the labels name.
        teacher: Model, by name or file, whose heatmaps are soft targets.
        loss: How heatmaps are compared.
        augmentation: How crops vary.
        negatives: COCO detections on the training pictures, by image_id or file name; those that
            fit nobody are shown as such.
    """

    model: str = DEFAULT_POSE
    size: tuple[int, int] | None = None
    skeleton: Path | None = None
    teacher: str | None = None
    loss: Loss = Loss()  # noqa: RUF009 - frozen
    augmentation: PoseAugmentation = PoseAugmentation()  # noqa: RUF009 - frozen
    negatives: Path | None = None


def train_pose(request: Request, choice: PoseChoice = PoseChoice()) -> Trained:
    """Trains a pose network.

    Args:
        request: Data, place and settings.
        choice: What is trained.

    Raises:
        HrposeError: Bad data, weights, device or place.
    """
    spec, crop, codec = _row(choice)
    device = distributed.join(choose_device(request.device))
    sources = read_sources(request.data)
    skeleton = _skeleton(choice, sources, spec)
    network = _network(spec, skeleton, request)
    teacher = None
    if choice.teacher is not None:
        teacher = _teacher(choice.teacher, skeleton, crop, codec, device)
    labels = _labels(request, sources, skeleton)
    task = PoseTask(
        network,
        labels,
        _pictures(request),
        crop=crop,
        codec=codec,
        skeleton=skeleton,
        augmentation=choice.augmentation,
        loss=PoseLoss(choice.loss, teacher),
        negatives=_negatives(choice, labels, request),
        batch_size=request.settings.batch_size,
        seed=request.settings.seed,
        device=device,
    )
    about = {
        "model": spec.name,
        **description(crop, codec, skeleton),
        "people": len(task),
        "recipe": request.recipe,
        "loss": {**asdict(choice.loss), "teacher": Path(choice.teacher or "").name},
        "augmentation": asdict(choice.augmentation),
        "negatives": "" if choice.negatives is None else choice.negatives.name,
    }
    return _run(task, _resolved(request, len(task)), device, about)


def _negatives(choice: PoseChoice, labels: Sequence[Labels], request: Request) -> list[Negative]:
    if choice.negatives is None:
        return []
    negatives = find_negatives(labels, read_detections(choice.negatives))
    if not negatives:
        raise InputError(
            f"{choice.negatives}: no box of the pictures of --data that fits nobody",
            hint="write boxes by 'hrpose evaluate --task boxes --predictions FILE'",
        )
    _tell(request, f"{len(negatives)} boxes of {choice.negatives.name} fit nobody")
    return negatives


def _row(choice: PoseChoice) -> tuple[ModelSpec, CropSpec, Codec]:
    spec = find_spec(choice.model)
    if spec.crop is None or spec.codec is None or spec.skeleton is None:
        raise UsageError(f"{spec.name} is no pose model", hint="see `hrpose models`")
    if choice.size is None:
        return spec, spec.crop, spec.codec
    if min(choice.size) < 32 or any(side % 32 for side in choice.size):
        raise UsageError(
            f"the size {choice.size[0]}x{choice.size[1]} does not suit the network",
            hint="width and height are multiples of 32",
        )
    return spec, replace(spec.crop, size=Size(*choice.size)), spec.codec


def _skeleton(choice: PoseChoice, sources: list[Source], spec: ModelSpec) -> Skeleton:
    if choice.skeleton is not None:
        return read_skeleton(choice.skeleton)
    assert spec.skeleton is not None
    return skeleton_of(sources, spec.skeleton)


def _network(spec: ModelSpec, skeleton: Skeleton, request: Request) -> nn.Module:
    """With random weights, or those to start from."""
    assert isinstance(spec.network, HRNetConfig)
    network = NETWORKS[spec.task](spec.network, len(skeleton))
    initialise(network, seed=request.settings.seed)
    if spec.skeleton is None or skeleton.keypoints != spec.skeleton.keypoints:
        pairs = sum(i < k for i, k in enumerate(skeleton.mirror))
        text = f"{len(skeleton)} keypoints, {pairs} pairs of left and right"
        _tell(request, f"skeleton {skeleton.name}: {text}")
    if request.init is not None:
        begin = read_start(request.init)
        if request.grow:
            begin = grown(network, begin)
        replaced = start_pose(network, begin, skeleton)
        if replaced:
            _tell(request, replaced)
    return network


def _tell(request: Request, text: str) -> None:
    if distributed.rank().number == 0:
        request.tell(text)


def _teacher(
    name: str, skeleton: Skeleton, crop: CropSpec, codec: Codec, device: torch.device
) -> Teacher:
    loaded = load(name)
    spec = loaded.spec
    if spec.crop is None or spec.codec is None or spec.skeleton is None:
        raise UsageError(f"{name} is no pose model", hint="--teacher takes one of `hrpose models`")
    if spec.skeleton.keypoints != skeleton.keypoints:
        raise UsageError(
            f"the teacher {name} finds {spec.skeleton.name}, not {skeleton.name}",
            hint="use a teacher of the same keypoints",
        )
    network = loaded.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Teacher(network, theirs=spec.crop, their_codec=spec.codec, ours=crop, our_codec=codec)


def train_detector(
    request: Request, *, canvas: tuple[int, int], trunk: str | None = None
) -> Trained:
    """Trains a person detector of the embedded one's kind.

    Args:
        request: Data, place and settings; ``init`` may be a detector, or a pose model whose trunk
            it starts from.
        canvas: Width and height of the training pictures, multiples of 32.
        trunk: Pose model, by name or file, that has the trunk it is to have; None takes that of
            ``init``, or the embedded detector's.

    Raises:
        HrposeError: Bad data, weights, device or place.
    """
    device = distributed.join(choose_device(request.device))
    sources = read_sources(request.data)
    if unsized := next((s for s in sources if is_mpii(s.document)), None):
        raise UsageError(
            f"{unsized.path}: MPII has no boxes, and not everybody is labelled",
            hint="train the detector on COCO annotations",
        )
    network = _detector(request, trunk)
    task = DetectionTask(
        network,
        _labels(request, sources, skeleton_of(sources, COCO17)),
        _pictures(request),
        canvas=Size(*canvas),
        batch_size=request.settings.batch_size,
        seed=request.settings.seed,
        device=device,
    )
    about = {"model": DEFAULT_DETECTOR, "canvas": list(canvas)}
    return _run(task, _resolved(request, len(task)), device, about)


def _detector(request: Request, trunk: str | None) -> FasterRCNN:
    """With random weights, or those to start from."""
    begin = None if request.init is None else read_start(request.init)
    config = DetectorConfig()
    if trunk is not None:
        config = replace(config, trunk=_trunk_of(trunk))
    elif begin is not None:
        config = replace(config, trunk=begin.trunk())
    network = person_detector(config)
    if begin is not None:
        start_detector(network, begin, grow=request.grow)
    return network


def _trunk_of(name: str) -> HRNetConfig:
    spec, _ = find_model(name)
    if spec.task != "pose" or not isinstance(spec.network, HRNetConfig):
        raise UsageError(
            f"{name} is no pose model", hint="--trunk takes a pose model of `hrpose models`"
        )
    return spec.network


def _labels(request: Request, sources: list[Source], skeleton: Skeleton) -> list[Labels]:
    labels = labels_of(sources, skeleton)
    return mixed(labels, dict(request.mix), seed=request.settings.seed)


def _pictures(request: Request) -> Pictures:
    return Pictures(request.images, upright=not request.ignore_exif)


def _resolved(request: Request, samples: int) -> Request:
    return replace(request, settings=request.settings.resolved(samples))


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
    try:
        state = train(task, request.settings, request.out, device=device, resume=request.resume)
        rank = distributed.rank()
    finally:
        distributed.leave()
    model = request.out / "model.safetensors"
    finished = state.step >= request.settings.steps
    trained = Trained(model, state.step, finished, first=rank.number == 0)
    if not trained.first:
        return trained
    about = {
        **about,
        "data": [path.name for path in request.data],
        "mix": dict(request.mix),
        "init": Path(request.init or "").name,
        "steps": state.step,
        "settings": asdict(request.settings),
    }
    export(state.average, model, about=about)
    return trained
