"""The person detector: torchvision's Faster R-CNN over a small HRNet with the V2p pyramid.

Ignore regions (crowds, uncertain people) travel in the training targets as boxes with the label
``IGNORE``: they are in torchvision's own form, so its transform scales them with the rest.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign

from hrpose.models.heads import HRNetV2p
from hrpose.models.hrnet import HRNet, HRNetConfig
from hrpose.models.networks import initialise

PERSON = 1  # also the label of torchvision's COCO models
IGNORE = -1  # torchvision's samplers take 0 and above only
IGNORED_SHARE = 0.5
TRUNK = "backbone.trunk."  # what the names of the trunk's weights begin with

Targets = list[dict[str, Tensor]]


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """The numbers of a person detector.

    Attributes:
        trunk: The HRNet; by default that of the narrower embedded pose network, so that either
            can start from the other's weights.
        channels: Channels of the pyramid.
        strides: Of the pyramid's maps, finest first.
        anchor_sizes: Square roots of the anchors' areas in pixels, one tuple a stride.
        anchor_aspects: Height divided by width; people are tall.
        box_units: Width of the two fully connected layers of the box head.
        min_size: Shorter side of a picture in pixels at inference; training pictures keep theirs.
        max_size: Longer side at most, in pixels, at inference.
        train_proposals: Proposals before (per map) and after suppression in training.
        test_proposals: The same at inference. The box head's time is proportional to the second.
        least_score: Boxes below this are not given at inference. Raising it saves time and loses
            people; torchvision has 0.05.
        overlap: Of two boxes of a greater IoU the better one stays.
        mean: Of red, green and blue, 0 to 1.
        std: Of red, green and blue, 0 to 1.
    """

    trunk: HRNetConfig = HRNetConfig(  # noqa: RUF009 (frozen)
        width=16, stem=32, planes=16, bottlenecks=1, modules=(1, 2, 1), blocks=2
    )
    channels: int = 64
    strides: tuple[int, ...] = (8, 16, 32, 64)
    anchor_sizes: tuple[tuple[int, ...], ...] = ((16, 25), (40, 63), (100, 150), (225, 340))
    anchor_aspects: tuple[float, ...] = (1.0, 2.0, 3.2)
    box_units: int = 256
    min_size: int = 480
    max_size: int = 800
    train_proposals: tuple[int, int] = (300, 300)
    test_proposals: tuple[int, int] = (1000, 300)
    least_score: float = 0.01
    overlap: float = 0.5
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


class PyramidBackbone(nn.Module):
    """Trunk and pyramid in the form that torchvision's detectors take."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.trunk = HRNet(config.trunk)
        self.pyramid = HRNetV2p(config.trunk.channels, config.channels, config.strides)
        self.out_channels = config.channels

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        """(B, 3, H, W) normalised, sides multiples of 32 -> maps by stride, finest first."""
        maps: OrderedDict[str, Tensor] = self.pyramid(self.trunk(x))
        return maps


def person_detector(config: DetectorConfig = DetectorConfig()) -> FasterRCNN:
    """Builds the detector with random weights.

    Args:
        config: Its numbers.

    Returns:
        A torchvision detector with the classes background and person. In training it takes
        pictures of any one size as they are, and targets ``boxes`` (N, 4) xyxy px with ``labels``
        (N,) ``PERSON`` or ``IGNORE``.
    """
    backbone = PyramidBackbone(config)
    initialise(backbone)
    anchors = AnchorGenerator(config.anchor_sizes, (config.anchor_aspects,) * len(config.strides))
    network = FasterRCNN(
        backbone,
        rpn_anchor_generator=anchors,
        rpn_head=RPNHead(config.channels, anchors.num_anchors_per_location()[0]),
        box_roi_pool=_roi_pool(config),
        box_head=TwoMLPHead(config.channels * 7 * 7, config.box_units),
        box_predictor=FastRCNNPredictor(config.box_units, num_classes=2),
        rpn_pre_nms_top_n_train=config.train_proposals[0],
        rpn_post_nms_top_n_train=config.train_proposals[1],
        rpn_pre_nms_top_n_test=config.test_proposals[0],
        rpn_post_nms_top_n_test=config.test_proposals[1],
        rpn_fg_iou_thresh=0.6,  # three aspects leave few anchors above torchvision's 0.7
        rpn_batch_size_per_image=128,
        box_batch_size_per_image=64,
        box_score_thresh=config.least_score,
        box_nms_thresh=config.overlap,
        image_mean=list(config.mean),
        image_std=list(config.std),
    )
    # Subclasses that add methods only. Their constructors take all of FasterRCNN's defaults, so
    # the class is changed instead of repeating those here.
    network.rpn.__class__ = _IgnoringRPN
    network.roi_heads.__class__ = _IgnoringRoIHeads
    network.transform = _Transform(
        config.min_size, config.max_size, list(config.mean), list(config.std)
    )
    _initialise_box_head(network.roi_heads)
    return network


def trunk_weights(detector: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those weights of a detector that are its trunk's, by the names of an HRNet."""
    return {n.removeprefix(TRUNK): v for n, v in detector.items() if n.startswith(TRUNK)}


def load_trunk(network: FasterRCNN, pose: Mapping[str, Tensor]) -> list[str]:
    """Copies the weights of a pose network with the same trunk into the detector.

    Args:
        network: From :func:`person_detector`.
        pose: ``state_dict`` of a ``PoseNet``; its final layer is left out.

    Returns:
        Names of the trunk that stay as they were: a pose network lacks the last module's paths to
        the coarser maps.

    Raises:
        ValueError: The pose network has other names or shapes than the trunk.
    """
    trunk = network.backbone.trunk
    kept = {name: value for name, value in pose.items() if not name.startswith("final_layer.")}
    own = trunk.state_dict()
    wrong = [n for n, v in kept.items() if n not in own or own[n].shape != v.shape]
    if wrong:
        raise ValueError(
            f"{len(wrong)} weights do not fit the detector's trunk, first {wrong[0]!r}"
        )
    return list(trunk.load_state_dict(kept, strict=False).missing_keys)


def _roi_pool(config: DetectorConfig) -> MultiScaleRoIAlign:
    # Of the three finest maps; a person of 112 px lies on the stride-16 map, where 7 x 7 bins are
    # one cell each.
    names = [str(stride) for stride in config.strides[:3]]
    return MultiScaleRoIAlign(names, 7, 2, canonical_scale=112, canonical_level=4)


def _initialise_box_head(heads: RoIHeads) -> None:
    for layer in (heads.box_head.fc6, heads.box_head.fc7):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    predictor = heads.box_predictor
    for layer, std in ((predictor.cls_score, 0.01), (predictor.bbox_pred, 0.001)):
        nn.init.normal_(layer.weight, std=std)
        nn.init.zeros_(layer.bias)


class _Transform(GeneralizedRCNNTransform):
    """Resizes at inference only: training crops come at the size that they are trained at."""

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        if self.training:
            return image, target
        return super().resize(image, target)


def _inside(boxes: Tensor, regions: Tensor) -> Tensor:
    """(N,) whether more than half of each box's area lies in one of the regions (M, 4)."""
    corner = torch.maximum(boxes[:, None, :2], regions[None, :, :2])
    sides = (torch.minimum(boxes[:, None, 2:], regions[None, :, 2:]) - corner).clamp_min(0)
    area = (boxes[:, 2:] - boxes[:, :2]).clamp_min(0).prod(dim=1)
    return (sides.prod(dim=2) > IGNORED_SHARE * area[:, None]).any(dim=1)


# An ignore region holds people nobody has boxed. An anchor or proposal there that matches no
# labelled person is not known to be background, so it must not be sampled as such: it gets the
# label -1, which torchvision's samplers skip. One that matches a labelled person stays positive:
# regions and labelled people overlap, and the person is certain. Nothing matches a region itself.


class _IgnoringRPN(RegionProposalNetwork):
    """Anchors in ignore regions are not background."""

    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: Targets
    ) -> tuple[list[Tensor], list[Tensor]]:
        people = [{"boxes": t["boxes"][t["labels"] != IGNORE]} for t in targets]
        labels, matched = super().assign_targets_to_anchors(anchors, people)
        for boxes, label, target in zip(anchors, labels, targets, strict=True):
            regions = target["boxes"][target["labels"] == IGNORE]
            label[(label == 0) & _inside(boxes, regions)] = -1.0
        return labels, matched


class _IgnoringRoIHeads(RoIHeads):
    """Proposals in ignore regions are not background."""

    def assign_targets_to_proposals(
        self, proposals: list[Tensor], gt_boxes: list[Tensor], gt_labels: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        # the caller indexes all targets with the result, so indices of people are mapped back
        people = [torch.where(labels != IGNORE)[0] for labels in gt_labels]
        matched, labels = super().assign_targets_to_proposals(
            proposals,
            [boxes[chosen] for boxes, chosen in zip(gt_boxes, people, strict=True)],
            [targets[chosen] for targets, chosen in zip(gt_labels, people, strict=True)],
        )
        for i, (boxes, label) in enumerate(zip(proposals, labels, strict=True)):
            regions = gt_boxes[i][gt_labels[i] == IGNORE]
            label[(label == 0) & _inside(boxes, regions)] = -1
            if len(people[i]):
                matched[i] = people[i][matched[i]]
        return matched, labels
