"""How results on COCO are made and counted, as rows of data.

Everything here moves AP by tenths or by points while nothing looks broken, which is why numbers of
different projects so seldom agree. What belongs to a model is not here but in its row of the zoo:
``CropSpec`` (padding 1.25; blue before red for the SimpleBaseline family, whose pixels are BGR
under RGB means) and ``Codec`` (quarter offset and its gate, shift of the mirrored heatmap). What
all projects share is code: the pose score (``Poses.scores``: mean of the keypoint scores above
0.2, times the box score), category 1 only, and pycocotools.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NMS = ("oks", "soft", "none")
TRUTH_BOXES = ("shrunk", "clipped", "raw")


@dataclass(frozen=True, slots=True)
class Protocol:
    """One way of measuring keypoints on COCO.

    Attributes:
        apply_exif: Whether pictures are turned as their EXIF says. COCO labels the pixels as they
            are stored (cv2's ``IMREAD_IGNORE_ORIENTATION``, JointsDataset.py:126-128): a turned
            picture does not fit its labels, and those of its people are lost.
        truth_boxes: What becomes of ground-truth boxes. ``"shrunk"``: cut to the picture and one
            pixel smaller (coco.py:162-182). ``"clipped"``: cut alone. ``"raw"``: as in the file.
            The crops differ by a pixel; the number of people must not.
        clip_detections: Whether boxes of a detections file are cut to the picture. The official
            code crops around what the detector said (coco.py:259-272); cutting moves the centre
            of people at the border. (Boxes of hrpose's own detectors end there by themselves.)
        box_threshold: Least score of a box. The published detections hold unsure boxes, 0.0 keeps
            all; dropping those below 0.5 or so loses recall, and AP with it.
        flip_test: Whether people are seen mirrored, too, and the heatmaps averaged, as for all
            published numbers; without it the embedded model loses 1.8 AP on the dev pictures.
        nms: How poses that repeat a better one go: ``"oks"`` drops them; ``"soft"`` reorders and
            keeps the first ``most_people``; ``"none"`` keeps all, and doubles count as false.
        oks_threshold: Of two poses more alike than this the better stays; with ``"soft"``, how
            little likeness counts. Raising it keeps more.
        nms_area: Scale of that likeness: the ``"padded"`` box of the crop (function.py:176), which
            is generous, or the extent of the ``"keypoints"``, which drops fewer.
        most_people: People of a picture that soft suppression keeps. That COCO counts the best 20
            alone is pycocotools' own rule, whatever stands here.
    """

    apply_exif: bool = False
    truth_boxes: Literal["shrunk", "clipped", "raw"] = "shrunk"
    clip_detections: bool = False
    box_threshold: float = 0.0
    flip_test: bool = True
    nms: Literal["oks", "soft", "none"] = "oks"
    oks_threshold: float = 0.9
    nms_area: Literal["padded", "keypoints"] = "padded"
    most_people: int = 20

    def __post_init__(self) -> None:
        for name, allowed in (
            ("truth_boxes", TRUTH_BOXES), ("nms", NMS), ("nms_area", ("padded", "keypoints")),
        ):  # fmt: skip
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected one of {allowed}")
        if not 0 <= self.box_threshold <= 1:
            raise ValueError(f"box_threshold is {self.box_threshold}, expected 0 to 1")
        if not 0 < self.oks_threshold <= 1:
            raise ValueError(f"oks_threshold is {self.oks_threshold}, expected above 0, at most 1")
        if self.most_people < 1:
            raise ValueError(f"most_people is {self.most_people}, expected at least 1")


# leoxiaobin/deep-high-resolution-net.pytorch with its experiments/coco/hrnet/*.yaml, the source of
# the published numbers
OFFICIAL = Protocol()

# mmpose 1.x: base_coco_style_dataset.py cuts ground-truth boxes without taking a pixel off, and
# coco_metric.py takes the keypoints' extent unless it is given the scales of the boxes. Its decoder
# differs as well (a gate per axis), which belongs to the model.
MMPOSE = Protocol(truth_boxes="clipped", nms_area="keypoints")

PROTOCOLS: dict[str, Protocol] = {"official": OFFICIAL, "mmpose": MMPOSE}
