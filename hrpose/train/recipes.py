"""How published models were trained, one literal row each. None of them was run in full here.

Taken from the configurations of the projects: leoxiaobin/deep-high-resolution-net.pytorch
(experiments/coco and experiments/mpii) and HRNet/HRNet-Facial-Landmark-Detection
(experiments/wflw), with what their code does beside them: Adam without its configured weight decay
(lib/utils/utils.py), no warm-up, no clipping, no weight average, no colour changes, no shift,
rotation of 60 % of the crops, pictures as they are stored (EXIF ignored).

What remains different: the loss is divided by the labelled keypoints instead of all, which Adam
hardly feels; half bodies are the upper ones in 50 % instead of 69 %; the published runs keep the
model of the epoch that was best on the validation set, ours the last; and batch norms are
synchronised neither here nor there, so that the number of GPUs matters a little.

Free of PyTorch, so that the command line shows names without importing it.
"""

from __future__ import annotations

from dataclasses import dataclass

from hrpose.train.settings import Colour, PoseAugmentation, Settings


@dataclass(frozen=True, slots=True)
class Recipe:
    """One published training.

    Attributes:
        name: For ``hrpose train pose --recipe``.
        model: Row of the zoo that it made, or whose network it trained.
        size: Width and height of the network input.
        init: Row of the zoo that it started from: a network trained on ImageNet.
        data: What it was trained on.
        gpus: Number of GPUs, each with its share of ``settings.batch_size``.
        sigma: Deviation of the Gaussian target in cells; the model's codec has the same.
        target: Kind of target.
        published: The result as published.
        settings: Of the loop.
        augmentation: Of the crops.
        source: The configuration.
    """

    name: str
    model: str
    size: tuple[int, int]
    init: str
    data: str
    gpus: int
    sigma: float
    published: str
    settings: Settings
    augmentation: PoseAugmentation
    source: str
    target: str = "gaussian"


def _settings(batch_size: int, lr: float, epochs: int, falls: tuple[int, int]) -> Settings:
    """Adam with the rate divided by ten at two epochs."""
    return Settings(
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        optimizer="adam",
        warmup=0,
        schedule="step",
        milestones=(falls[0] / epochs, falls[1] / epochs),
        weight_decay=0.0,
        ema=0.0,
        clip=0.0,
    )


_PLAIN = Colour(erase=0.0).times(0)
_COCO = PoseAugmentation(scale=0.35, rotation=45, half_body=0.3, shift=0, colour=_PLAIN)
_MPII = PoseAugmentation(scale=0.25, rotation=30, half_body=0, shift=0, colour=_PLAIN)
_FACE = PoseAugmentation(scale=0.25, rotation=30, half_body=0, shift=0, even=True, colour=_PLAIN)

_TRAIN2017 = "COCO train2017, person_keypoints_train2017.json"
_VAL2017 = "keypoint AP on COCO val2017, detections of AP 56.4, mirror test"
_POSE = "leoxiaobin/deep-high-resolution-net.pytorch, experiments/"
_BODY = _settings(128, 1e-3, 210, (170, 200))

RECIPES: dict[str, Recipe] = {
    row.name: row
    for row in (
        Recipe(
            name="w32-coco-256x192",
            model="hrnet_w32_256x192.official",
            size=(192, 256),
            init="cls_hrnet_w32_224x224.official",
            data=_TRAIN2017,
            gpus=4,
            sigma=2,
            published=f"74.4 {_VAL2017}",
            settings=_BODY,
            augmentation=_COCO,
            source=f"{_POSE}coco/hrnet/w32_256x192_adam_lr1e-3.yaml",
        ),
        Recipe(
            name="w32-coco-384x288",
            model="hrnet_w32_384x288.official",
            size=(288, 384),
            init="cls_hrnet_w32_224x224.official",
            data=_TRAIN2017,
            gpus=4,
            sigma=3,
            published=f"75.8 {_VAL2017}",
            settings=_BODY,
            augmentation=_COCO,
            source=f"{_POSE}coco/hrnet/w32_384x288_adam_lr1e-3.yaml",
        ),
        Recipe(
            name="w48-coco-256x192",
            model="hrnet_w48_256x192.official",
            size=(192, 256),
            init="cls_hrnet_w48_224x224.official",
            data=_TRAIN2017,
            gpus=4,
            sigma=2,
            published=f"75.1 {_VAL2017}",
            settings=_BODY,
            augmentation=_COCO,
            source=f"{_POSE}coco/hrnet/w48_256x192_adam_lr1e-3.yaml",
        ),
        Recipe(
            name="w48-coco-384x288",
            model="hrnet_w48_384x288.official",
            size=(288, 384),
            init="cls_hrnet_w48_224x224.official",
            data=_TRAIN2017,
            gpus=4,
            sigma=3,
            published=f"76.3 {_VAL2017}",
            settings=_settings(96, 1e-3, 210, (170, 200)),
            augmentation=_COCO,
            source=f"{_POSE}coco/hrnet/w48_384x288_adam_lr1e-3.yaml",
        ),
        Recipe(
            name="w32-mpii-256x256",
            model="hrnet_w32_mpii_256x256.official",
            size=(256, 256),
            init="cls_hrnet_w32_224x224.official",
            data="MPII, annot/train.json of the HRNet repository",
            gpus=4,
            sigma=2,
            published="90.3 PCKh@0.5 and 37.7 PCKh@0.1 on MPII valid, mirror test",
            settings=_BODY,
            augmentation=_MPII,
            source=f"{_POSE}mpii/hrnet/w32_256x256_adam_lr1e-3.yaml",
        ),
        Recipe(
            name="v2w18-wflw-256x256",
            model="face_hrnetv2_w18_wflw_256x256.official",
            size=(256, 256),
            init="cls_hrnet_w18_224x224.official",
            data="WFLW train as COCO annotations with 98 keypoints",
            gpus=1,
            sigma=1.5,
            published="4.60 NME on WFLW test",
            settings=_settings(16, 1e-4, 60, (30, 50)),
            augmentation=_FACE,
            source="HRNet/HRNet-Facial-Landmark-Detection, experiments/wflw/"
            "face_alignment_wflw_hrnet_w18.yaml",
        ),
    )
}
